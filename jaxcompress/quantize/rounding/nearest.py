"""Rounding to nearest: each weight gets the code closest to it."""

import jax.numpy as jnp

from jaxcompress.core.axes import to_canonical
from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.cuts import as_before, cut, in_blocks
from jaxcompress.core.formats.grids import stored
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.ranges.grids import Ranges, found_grid


def nearest(x: Array, choice: Assignment, ranges: Ranges) -> QTensor:
    """Quantizes one array by rounding to nearest; `quantize` without its checks.

    Also known as: RTN, round-to-nearest.
    """
    spec, axes = choice
    parts = cut(x.shape, spec.sharing, axes)
    blocks = in_blocks(x.astype(jnp.float32), parts)
    on = found_grid(ranges, blocks, parts, spec)
    codes = as_before(encode(blocks, on, spec).astype(jnp.int32), x)
    codes, on = to_canonical(codes, axes), stored(on, parts, axes)
    return QTensor.from_rounded(codes, on, spec=spec, dtype=x.dtype, axes=axes)
