"""Roundings: which code each weight of a matrix gets.

Each function gives a `Rounding`, for `quantize(params, spec, rounding=…)` without data
and for `reconstruct(fn, params, batches, spec, rounding)` with them.
"""

from jaxcompress.core import exports
from jaxcompress.quantize.rounding import orders as orders
from jaxcompress.quantize.rounding.ada_round import ada_round as ada_round
from jaxcompress.quantize.rounding.gptq import gptq as gptq
from jaxcompress.quantize.rounding.hqq import hqq as hqq
from jaxcompress.quantize.rounding.low_rank import from_error as from_error
from jaxcompress.quantize.rounding.low_rank import from_weight as from_weight
from jaxcompress.quantize.rounding.low_rank import low_rank as low_rank
from jaxcompress.quantize.rounding.nearest import nearest as nearest
from jaxcompress.quantize.rounding.rate_distortion import rate_distortion as rate_distortion
from jaxcompress.quantize.rounding.roots import diagonal_root as diagonal_root
from jaxcompress.quantize.rounding.roots import exact_root as exact_root
from jaxcompress.quantize.rounding.rotated import rotated as rotated
from jaxcompress.quantize.rounding.rounding import Rounded as Rounded
from jaxcompress.quantize.rounding.rounding import Rounding as Rounding
from jaxcompress.quantize.rounding.rounding import coded as coded
from jaxcompress.quantize.rounding.sign_round import sign_round as sign_round
from jaxcompress.quantize.rounding.sparse import sparse as sparse
from jaxcompress.quantize.rounding.stochastic import stochastic as stochastic
from jaxcompress.quantize.rounding.trellis import trellis as trellis
from jaxcompress.quantize.rounding.tuning import block_tuning as block_tuning

exports.list_imports(globals())
