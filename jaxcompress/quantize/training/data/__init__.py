"""Data in training: how the range of what meets a weight is learned, or given."""

from jaxcompress.core import exports
from jaxcompress.quantize.training.data.clips import fixed_range as fixed_range
from jaxcompress.quantize.training.data.clips import learned_clip as learned_clip
from jaxcompress.quantize.training.data.method import RangeMethod as RangeMethod
from jaxcompress.quantize.training.data.scales import SignScale as SignScale
from jaxcompress.quantize.training.data.scales import mean_magnitude as mean_magnitude
from jaxcompress.quantize.training.data.scales import unscaled as unscaled
from jaxcompress.quantize.training.data.steps import learned_step as learned_step
from jaxcompress.quantize.training.data.steps import (
    learned_step_and_offset as learned_step_and_offset,
)

exports.list_imports(globals())
