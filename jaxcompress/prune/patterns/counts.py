"""How many weights go from each slice along the batch axes, so that the total is right.

A slice is a layer of a scan, an expert, or a channel of a depthwise kernel.
"""

import math

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.ranking import lowest, positions
from jaxcompress.core.types import Array

# A share is a float32: it tells no more of the count that it stands for.
_RESOLUTION = np.float32(2.0**-22)


def counts_of_slices(sparsity: Array | float, size: int, slices: tuple[int, ...]) -> Array | int:
    """How many of `size` units go from every slice: whole numbers of the right total.

        quota_i = sparsity_i · size
        total   = round_half_even(sum of quota_i)
        count_i = floor(quota_i), and one more where the remainder is largest

    Of equal remainders the earlier slice gives one more. A slice loses its last unit
    only when its sparsity is 1, or the others with a remainder have given one more.
    With one sparsity for all slices the total is exact as long as it is below 2**31;
    with one for each it is that of float32 products, in which a half may be one only by
    rounding, and a quota that is a whole number but for rounding is that number.

    Args:
      sparsity: in [0, 1]; () or of the shape `slices`.
      size: units in a slice.
      slices: sizes of the leaf's axes, 1 for all that are not batch axes.

    Returns:
      Counts in [0, size]: an int, or int32 of () or of the shape `slices`.

    Example:
      >>> counts_of_slices(0.5, 3, (4, 1))
      Array([[2],
             [2],
             [1],
             [1]], dtype=int32)
      >>> counts_of_slices(jnp.array([[0.1], [0.9]]), 5, (2, 1))
      Array([[1],
             [4]], dtype=int32)

    Source: the method of largest remainders (Hamilton), as of seats of a parliament.
    """
    number = math.prod(slices)
    if number <= 1:
        return round_to_count(sparsity, size)
    if np.ndim(sparsity) == 0 and number * size < 2**31:
        total = round_to_count(sparsity, number * size)
        earlier = positions(slices, tuple(range(len(slices)))) < total % number
        return total // number + earlier.astype(jnp.int32)
    return _largest_remainders(jnp.broadcast_to(jnp.float32(sparsity), slices), size)


def _largest_remainders(sparsity: Array, size: int) -> Array:
    """The counts of slices with shares of their own, int32 of the shares' shape."""
    nearest = jnp.asarray(round_to_count(sparsity, size))
    quota = sparsity * np.float32(size)
    off = quota - nearest.astype(jnp.float32)
    off = jnp.where(jnp.abs(off) <= _RESOLUTION * quota, 0.0, off)
    below = nearest - (off < 0)
    remainder = off + (off < 0)
    # Halves go to the even total.
    odd = jnp.sum(below) % 2
    extra = jnp.round(jnp.sum(remainder) + odd).astype(jnp.int32) - odd
    worth = jnp.where(remainder > 0, remainder - (below == size - 1), -1.0)
    return below + lowest(-worth, extra, axis=tuple(range(worth.ndim))).astype(jnp.int32)
