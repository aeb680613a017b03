"""Layer-by-layer solving of a trained model, each layer on its own inputs.

What solves one matrix comes from the methods: pruning, quantization, low rank.
"""

from jaxcompress.core import exports
from jaxcompress.layerwise.correction import held_out as held_out
from jaxcompress.layerwise.driver import solve as solve
from jaxcompress.layerwise.solver import Solver as Solver
from jaxcompress.layerwise.solver import weight_solver as weight_solver

exports.list_imports(globals())
