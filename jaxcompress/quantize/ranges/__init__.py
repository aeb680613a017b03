"""Range estimators: which interval of the real line the codes of a block cover.

Each is a function (spec, axis) to an observer, so that one family serves weights
(`quantize(..., ranges=min_max)`, where a block is one batch) and data
(`graph.calibrate(fn, params, batches, min_max())`, merged over batches and devices).
"""

from jaxcompress.core import exports
from jaxcompress.quantize.ranges.averages import moving_average as moving_average
from jaxcompress.quantize.ranges.extremes import min_max as min_max

exports.list_imports(globals())
