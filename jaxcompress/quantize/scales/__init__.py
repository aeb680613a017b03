"""Scale searches: which stored scale each block gets, for formats of few stored scales.

A search goes wherever `ranges=` goes: into `rounding.nearest` and other roundings, and
into the views of training.
"""

from jaxcompress.core import exports
from jaxcompress.quantize.scales.e4m3 import four_over_six as four_over_six
from jaxcompress.quantize.scales.e4m3 import sweep as sweep
from jaxcompress.quantize.scales.e4m3 import weighted_sweep as weighted_sweep
from jaxcompress.quantize.scales.exponents import best_exponent as best_exponent
from jaxcompress.quantize.scales.exponents import rounded_exponent as rounded_exponent
from jaxcompress.quantize.scales.search import ScaleSearch as ScaleSearch
from jaxcompress.quantize.scales.weighted import weighted as weighted
from jaxcompress.quantize.scales.weighted import weighted_by as weighted_by

exports.list_imports(globals())
