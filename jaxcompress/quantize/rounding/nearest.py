"""Rounding to nearest: each weight gets the code closest to it."""

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import to_canonical
from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.cuts import as_before, cut, in_blocks
from jaxcompress.core.formats.grids import stored
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.ranges.grids import Ranges, check_ranges, found_grid
from jaxcompress.quantize.rounding.matrices import encoded, grid_of
from jaxcompress.quantize.rounding.rounding import Rounded, Rounding, coded


def nearest(ranges: Ranges = min_max) -> Rounding:
    """Gives each weight the code of the level nearest to it.

    Not for: 4 bits and fewer where data are at hand; `gptq` and its like lose less.

    Also known as: RTN, round-to-nearest.

    Without data a leaf is rounded as it lies, in its own sharding.

    Args:
      ranges: which range the codes of a block cover, one of `ranges`; or a search of
        `scales`, which weighs errors with the second moment where there are data.

    Returns:
      Rounding.

    Raises:
      TypeError: `ranges` is no estimator and no search.

    Example:
      >>> params = {"kernel": jnp.array([[1.0, 0.3], [-0.6, 0.0]])}
      >>> rounding, int4 = jc.quantize.rounding.nearest(), jc.quantize.int4()
      >>> quantized, _ = jc.quantize.quantize(params, int4, rounding=rounding)
      >>> quantized["kernel"].unpacked_codes
      Array([[ 7, -4],
             [ 7,  0]], dtype=int8)
    """
    check_ranges("nearest", ranges)

    def round(weight: Array, second_moment: Array, spec: QuantSpec) -> Rounded:
        on = grid_of(weight, spec, ranges, second_moment)
        return Rounded(encoded(weight, on, spec), on)

    def array(x: Array, choice: Assignment) -> QTensor:
        return _as_it_lies(x, choice, ranges)

    # One program for leaves of one shape and assignment, not one for each operation.
    return Rounding(coded(round).solver, jax.jit(array, static_argnums=1, inline=True))


def _as_it_lies(x: Array, choice: Assignment, ranges: Ranges) -> QTensor:
    """Quantizes an array whose axes are not moved before its codes are."""
    spec, axes = choice
    parts = cut(x.shape, spec.sharing, axes)
    blocks = in_blocks(x.astype(jnp.float32), parts)
    on = found_grid(ranges, blocks, parts, spec)
    codes = as_before(encode(blocks, on, spec).astype(jnp.int32), x)
    codes, on = to_canonical(codes, axes), stored(on, parts, axes)
    return QTensor.from_rounded(codes, on, spec=spec, dtype=x.dtype, axes=axes)
