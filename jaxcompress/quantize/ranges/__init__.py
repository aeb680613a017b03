"""Range estimators: which interval of the real line the codes of a block cover."""

from jaxcompress.quantize.ranges.extremes import min_max as min_max
