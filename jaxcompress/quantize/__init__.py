"""Quantization: low-bit weights and activations, after training, in training and run.

    weights      quantize, explain
    data         reconstruct: layer by layer, on calibration data; post_training tries
                 what is good and keeps what is best
    training     fake_quantize, fake_quantize_activations, fake_quantize_model; and
                 learned steps and ranges, binary weights, schedules, 8-bit products
    companions   weights trained for what a file will take
    execution    plan_execution, run, with execution.dynamic or execution.static
    diagnosis    diagnose: where the signal is lost, site by site
    formats      what a code stands for; int8 and int4 stand here, too
    ranges       which interval the codes cover
    scales       which stored scale each block gets, where few can be stored
    sharing      which few numbers the weights of a leaf share
    equivalent   transforms that leave the function unchanged, before rounding
    rounding     which code each weight gets
    rates        how many bits an entropy coder spends on codes

The spec that weights are quantized by is the one that they are trained with.
"""

from jaxcompress.core import exports
from jaxcompress.quantize import companions as companions
from jaxcompress.quantize import diagnosis as diagnosis
from jaxcompress.quantize import equivalent as equivalent
from jaxcompress.quantize import execution as execution
from jaxcompress.quantize import formats as formats
from jaxcompress.quantize import ranges as ranges
from jaxcompress.quantize import rates as rates
from jaxcompress.quantize import rounding as rounding
from jaxcompress.quantize import scales as scales
from jaxcompress.quantize import sharing as sharing
from jaxcompress.quantize import shortcut as shortcut
from jaxcompress.quantize import training as training
from jaxcompress.quantize.block_reconstruction import reconstruct_blocks as reconstruct_blocks
from jaxcompress.quantize.diagnosis.diagnose import diagnose as diagnose
from jaxcompress.quantize.execution.choices import ExecutionPlan as ExecutionPlan
from jaxcompress.quantize.execution.plan import plan_execution as plan_execution
from jaxcompress.quantize.execution.run import run as run
from jaxcompress.quantize.formats.integers import int4 as int4
from jaxcompress.quantize.formats.integers import int8 as int8
from jaxcompress.quantize.reconstruction import reconstruct as reconstruct
from jaxcompress.quantize.shortcut.post_training import post_training as post_training
from jaxcompress.quantize.training.activations import (
    fake_quantize_activations as fake_quantize_activations,
)
from jaxcompress.quantize.training.products import fake_quantize_model as fake_quantize_model
from jaxcompress.quantize.training.view import fake_quantize as fake_quantize
from jaxcompress.quantize.weights import explain as explain
from jaxcompress.quantize.weights import quantize as quantize

exports.list_imports(globals())
