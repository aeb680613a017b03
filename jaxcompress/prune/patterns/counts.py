"""How many weights each slice along the batch axes loses, so that the total is right.

A slice is a layer of a scan, an expert, or a channel of a depthwise kernel.
"""

import math

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.fixed import Fixed, exact_product, exact_sum, rounded_to_even
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.types import Array
from jaxcompress.prune.ranking import lowest, positions

_RESOLUTION_BITS = 22
"""Bits of a share that hold, where a division made it: a float32 has 24."""


def counts_of_slices(sparsity: Array | float, size: int, slices: tuple[int, ...]) -> Array | int:
    """How many of `size` units every slice loses: whole numbers of the right total.

        quota_i = sparsity_i · size
        total   = round_half_even(sum of quota_i)
        count_i = floor(quota_i), and one more where the remainder is largest

    Of remainders equal in 24 bits the earlier slice gives one more. A slice loses its
    last unit only when its sparsity is 1, or the others with a remainder have given one
    more. Quotas and their sum are exact, in whole numbers of 2**-64, but that with one
    sparsity for each slice, which a division may have made, a quota that is a whole
    number to 22 bits is that number.

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
    quota = _as_meant(exact_product(sparsity, size))
    below = quota.whole
    extra = rounded_to_even(exact_sum(quota)) - jnp.sum(below, dtype=jnp.uint32)
    # The first 24 bits of a remainder, as many as a float32 holds.
    remainder = (quota.high >> 8).astype(jnp.float32) * np.float32(2.0**-24)
    left = (quota.high | quota.low) > 0
    worth = jnp.where(left, remainder - (below == size - 1), -2.0)
    more = lowest(-worth, extra.astype(jnp.int32), axis=tuple(range(worth.ndim)))
    return below.astype(jnp.int32) + more.astype(jnp.int32)


def _as_meant(quota: Fixed) -> Fixed:
    """The quotas, made whole where they differ from a whole number only by rounding.

    A share is a float32, which resolves the count that it stands for no further.
    """
    above = (quota.high >> 31) > 0
    nearest = quota.whole + above.astype(jnp.uint32)
    off = jnp.where(above, ~quota.high, quota.high)  # of 2**32
    # From 2**21 on the resolution of a share is half a unit.
    meant = off < jnp.minimum(nearest, 1 << 21) << (32 - _RESOLUTION_BITS)
    return Fixed(
        jnp.where(meant, nearest, quota.whole),
        jnp.where(meant, jnp.uint32(0), quota.high),
        jnp.where(meant, jnp.uint32(0), quota.low),
    )
