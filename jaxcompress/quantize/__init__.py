"""Quantization: low-bit weights and activations, after training, in training and run.

Families: `formats` (what a code stands for), `ranges` (which interval the codes cover)
and `execution` (how activations become codes). The verbs stand here.
"""

from jaxcompress.core import exports
from jaxcompress.quantize import execution as execution
from jaxcompress.quantize import formats as formats
from jaxcompress.quantize import ranges as ranges
from jaxcompress.quantize.execution.choices import ExecutionPlan as ExecutionPlan
from jaxcompress.quantize.execution.plan import plan_execution as plan_execution
from jaxcompress.quantize.execution.run import run as run
from jaxcompress.quantize.formats.integers import int4 as int4
from jaxcompress.quantize.formats.integers import int8 as int8
from jaxcompress.quantize.training.activations import (
    fake_quantize_activations as fake_quantize_activations,
)
from jaxcompress.quantize.training.products import fake_quantize_model as fake_quantize_model
from jaxcompress.quantize.training.view import fake_quantize as fake_quantize
from jaxcompress.quantize.weights import explain as explain
from jaxcompress.quantize.weights import quantize as quantize

exports.list_imports(globals())
