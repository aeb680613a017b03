"""Fewer bits: formats, ranges, quantization of weights and data, integer execution."""

from jaxcompress.quantize.activations import Activations as Activations
from jaxcompress.quantize.activations import dynamic as dynamic
from jaxcompress.quantize.activations import (
    fake_quantize_activations as fake_quantize_activations,
)
from jaxcompress.quantize.activations import static as static
from jaxcompress.quantize.choices import Choice as Choice
from jaxcompress.quantize.choices import Plan as Plan
from jaxcompress.quantize.formats import int4 as int4
from jaxcompress.quantize.formats import int8 as int8
from jaxcompress.quantize.formats import uint4 as uint4
from jaxcompress.quantize.formats import uint8 as uint8
from jaxcompress.quantize.on_codes import fake_quantized as fake_quantized
from jaxcompress.quantize.plan import plan as plan
from jaxcompress.quantize.ranges import min_max as min_max
from jaxcompress.quantize.run import run as run
from jaxcompress.quantize.training import fake_quantize as fake_quantize
from jaxcompress.quantize.weights import explain as explain
from jaxcompress.quantize.weights import quantize as quantize
