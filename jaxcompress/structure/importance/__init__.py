"""Importance scores of units, residual blocks and layers.

Each factory gives a function from a model to scores: how much the loss rises without
the unit, or an estimate of that. How many units are then removed is decided in
`amounts`.
"""

from jaxcompress.core import exports
from jaxcompress.structure.importance.ablation import exact as exact
from jaxcompress.structure.importance.activations import activation as activation
from jaxcompress.structure.importance.activations import nonzero as nonzero
from jaxcompress.structure.importance.batches import BatchLoss as BatchLoss
from jaxcompress.structure.importance.controls import random as random
from jaxcompress.structure.importance.depth import DepthImportance as DepthImportance
from jaxcompress.structure.importance.depth import exact_blocks as exact_blocks
from jaxcompress.structure.importance.depth import exact_layers as exact_layers
from jaxcompress.structure.importance.derivatives import second_order as second_order
from jaxcompress.structure.importance.derivatives import taylor as taylor
from jaxcompress.structure.importance.derivatives import taylor_squared as taylor_squared
from jaxcompress.structure.importance.gauss_newton import linearized as linearized
from jaxcompress.structure.importance.scores import Importance as Importance
from jaxcompress.structure.importance.scores import normalized as normalized
from jaxcompress.structure.importance.weights import magnitude as magnitude
from jaxcompress.structure.importance.weights import norm_scale as norm_scale

exports.list_imports(globals())
