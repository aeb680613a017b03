"""Rate models: how many bits an entropy coder spends on codes, and slopes for budgets.

A rate model is a function `(codes, candidates) -> bits`, which
`rounding.rate_distortion` asks.
"""

from jaxcompress.core import exports
from jaxcompress.core.rates import Rate as Rate
from jaxcompress.core.rates import by_lines as by_lines
from jaxcompress.core.rates import order_0 as order_0
from jaxcompress.quantize.rates.budgets import slope_for as slope_for

exports.list_imports(globals())
