"""Range estimators: which interval of the real line the codes of a block cover.

Each is a function (spec, axis) to an observer, so that one family serves weights
(`quantize(..., ranges=min_max)`, where a block is one batch) and data
(`graph.calibrate(fn, params, batches, min_max())`, merged over batches and devices).
"""

from jaxcompress.core import exports
from jaxcompress.quantize.ranges.averages import moving_average as moving_average
from jaxcompress.quantize.ranges.entropies import entropy as entropy
from jaxcompress.quantize.ranges.errors import mean_squared_error as mean_squared_error
from jaxcompress.quantize.ranges.errors import p_norm as p_norm
from jaxcompress.quantize.ranges.errors import signal_to_noise as signal_to_noise
from jaxcompress.quantize.ranges.extremes import min_max as min_max
from jaxcompress.quantize.ranges.percentiles import percentile as percentile

exports.list_imports(globals())
