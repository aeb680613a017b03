"""Starts: the levels that k-means begins with.

Each function gives a `Start`, for `sharing.k_means(start=…)`.
"""

from jaxcompress.core import exports
from jaxcompress.quantize.sharing.starts.drawn import k_means_plus_plus as k_means_plus_plus
from jaxcompress.quantize.sharing.starts.drawn import random as random
from jaxcompress.quantize.sharing.starts.optimal import optimal as optimal
from jaxcompress.quantize.sharing.starts.spread import density as density
from jaxcompress.quantize.sharing.starts.spread import linear as linear
from jaxcompress.quantize.sharing.starts.start import Start as Start

exports.list_imports(globals())
