"""Low-bit training: ways to train weights and data that a model sees as codes.

    weights    nearest, stochastic, fixed_ranges, learned_steps (LSQ),
               learned_steps_and_zero_points (LSQ+), dorefa_weights, binary_connect,
               stochastic_binary_connect, binary_weights (XNOR), ternary_weights (TWN),
               trained_ternary (TTQ); sharing.learned_codebooks beside them
    data       learned_activations, by a method of `training.data`: learned_step (LSQ),
               learned_step_and_offset (LSQ+), learned_clip (PACT), fixed_range
               (DoReFa); binary_activations (XNOR)
    norms      folded_norms: the view that folds them into weights before rounding
    when       delayed, gradual
    products   low_precision: all three products of a layer on low-bit operands, by a
               precision; dynamic_scaling, delayed_scaling; round_nearest,
               round_stochastic. quantized_gradients (DoReFa)
    optimizer  proximal_grid: no view, the update draws weights to their levels

A way for weights is a `Companion`: `init`, `view` in the loss, `freeze` to ship. One
for data has `model` in the place of the view.
"""

from jaxcompress.core import exports
from jaxcompress.quantize.training import data as data
from jaxcompress.quantize.training.coded_products import Precision as Precision
from jaxcompress.quantize.training.data.binary import BinaryActivations as BinaryActivations
from jaxcompress.quantize.training.data.binary import binary_activations as binary_activations
from jaxcompress.quantize.training.data.learned import LearnedActivations as LearnedActivations
from jaxcompress.quantize.training.data.learned import learned_activations as learned_activations
from jaxcompress.quantize.training.gradients import quantized_gradients as quantized_gradients
from jaxcompress.quantize.training.low_precision import LowPrecision as LowPrecision
from jaxcompress.quantize.training.low_precision import low_precision as low_precision
from jaxcompress.quantize.training.norms import folded_norms as folded_norms
from jaxcompress.quantize.training.operands import OperandRounding as OperandRounding
from jaxcompress.quantize.training.operands import round_nearest as round_nearest
from jaxcompress.quantize.training.operands import round_stochastic as round_stochastic
from jaxcompress.quantize.training.precision import precision as precision
from jaxcompress.quantize.training.scaling import Histories as Histories
from jaxcompress.quantize.training.scaling import Scaling as Scaling
from jaxcompress.quantize.training.scaling import delayed_scaling as delayed_scaling
from jaxcompress.quantize.training.scaling import dynamic_scaling as dynamic_scaling
from jaxcompress.quantize.training.schedules import delayed as delayed
from jaxcompress.quantize.training.schedules import gradual as gradual
from jaxcompress.quantize.training.towards_grid import proximal_grid as proximal_grid
from jaxcompress.quantize.training.weights.binary import binary_connect as binary_connect
from jaxcompress.quantize.training.weights.binary import binary_weights as binary_weights
from jaxcompress.quantize.training.weights.binary import (
    stochastic_binary_connect as stochastic_binary_connect,
)
from jaxcompress.quantize.training.weights.dorefa import dorefa_weights as dorefa_weights
from jaxcompress.quantize.training.weights.nearest import fixed_ranges as fixed_ranges
from jaxcompress.quantize.training.weights.nearest import nearest as nearest
from jaxcompress.quantize.training.weights.nearest import stochastic as stochastic
from jaxcompress.quantize.training.weights.steps import learned_steps as learned_steps
from jaxcompress.quantize.training.weights.steps import (
    learned_steps_and_zero_points as learned_steps_and_zero_points,
)
from jaxcompress.quantize.training.weights.ternary import ternary_weights as ternary_weights
from jaxcompress.quantize.training.weights.ternary import trained_ternary as trained_ternary

exports.list_imports(globals())
