"""A trained model solved layer by layer, each on the inputs that it meets.

What solves one matrix comes from the methods: pruning, quantization, low rank.
"""

from jaxcompress.layerwise.driver import Solved as Solved
from jaxcompress.layerwise.driver import solve as solve
from jaxcompress.layerwise.solver import Solver as Solver
from jaxcompress.layerwise.solver import weight_solver as weight_solver
