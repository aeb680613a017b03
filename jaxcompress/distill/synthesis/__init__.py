"""Inputs made from a model alone, where the training data are gone.

synthesize, with an Inversion     inputs of given classes, by statistics of batch norms
its parts                         statistics_distance, total_variation
"""

from jaxcompress.core import exports
from jaxcompress.distill.synthesis.distances import statistics_distance as statistics_distance
from jaxcompress.distill.synthesis.distances import total_variation as total_variation
from jaxcompress.distill.synthesis.inversion import Inversion as Inversion
from jaxcompress.distill.synthesis.inversion import Synthetic as Synthetic
from jaxcompress.distill.synthesis.inversion import synthesize as synthesize

exports.list_imports(globals())
