"""The lowest entries of an array, an exact number of them, found by counting alone.

In a small group every entry is compared with every other. In a larger one a threshold
is found digit by digit, so nothing is sorted or gathered, and arrays sharded over a
mesh stay where they are. What to do with the lowest entries is decided elsewhere.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.order import inverse
from jaxcompress.core.sharding import is_split
from jaxcompress.core.types import Array

_SIGN = np.uint32(0x80000000)
_INFINITY = np.uint32(0x7F800000)

# On a CPU of two cores, 16.8 million entries: groups of 16 take 0.05 s by comparison
# and 0.09 s by counting, groups of 32 take 0.14 s and 0.05 s.
_COMPARED = 16


# Compiled once per shape: a tree repeats its shapes, and an eager loop compiles at
# every call.
@functools.partial(jax.jit, static_argnames="axis")
def lowest(x: Array, count: Array | int, *, axis: tuple[int, ...]) -> Array:
    """Marks exactly `count` of the lowest entries of every group.

    Among equal entries of a group the earlier index goes first. -0 equals +0; subnormal
    and infinite entries have their place; NaN is below everything.

    Args:
      x: (...) float, at most 32 bits.
      count: integer in [0, size of a group]; () or of x's rank, 1 along `axis`.
      axis: axes that a group spans; the others tell groups apart.

    Returns:
      (...) bool of x's shape and sharding.

    Example:
      >>> lowest(jnp.array([3.0, 1.0, 2.0, 1.0]), 2, axis=(0,))
      Array([False,  True, False,  True], dtype=bool)
    """
    keys = order_keys(x)
    if len(axis) == 1 and x.shape[axis[0]] <= _COMPARED and not is_split(x, axis[0]):
        return _ranks(keys, axis[0]) < count
    bound = _bound(lambda keys, bound, axis: keys < bound, keys, count, axis)
    below, tied = keys < bound, keys == bound
    # What equals the bound fills up the count, earliest index first. Where entries
    # differ nothing is missing, and the second search is skipped.
    missing = count - count_true(below, axis)

    def earliest() -> Array:
        bits = math.prod(x.shape[i] for i in axis).bit_length()
        return _are_before(tied, _bound(_are_before, tied, missing, axis, bits=bits), axis)

    return below | jax.lax.cond(jnp.any(missing > 0), earliest, lambda: tied & (missing > 0))


def _are_before(marked: Array, last: Array, axis: tuple[int, ...]) -> Array:
    """Which marked entries lie before a position in their group."""
    return marked & (positions(marked.shape, axis) < last)


def _bound(
    below: Callable[[Array, Array, tuple[int, ...]], Array],
    x: Array,
    count: Array | int,
    axis: tuple[int, ...],
    *,
    bits: int = 32,
) -> Array:
    """The `cut` of every group at which `below(x, bound, axis)` marks `count` entries.

    Groups are laid along the last axes for it: a pass takes half the time then.
    """
    order = tuple(range(x.ndim))
    if axis and x.ndim - 1 not in axis:
        order = (*(i for i in order if i not in axis), *sorted(axis))
    x = jnp.transpose(x, order)
    count = jnp.transpose(count, order) if jnp.ndim(count) else count
    inside = tuple(place for place, i in enumerate(order) if i in axis)

    def counts(bounds: tuple[Array, ...]) -> list[Array]:
        return count_each([below(x, bound, inside) for bound in bounds], inside)

    return jnp.transpose(cut(counts, count, bits=bits), inverse(order))


def _ranks(keys: Array, axis: int) -> Array:
    """How many entries of its group come before each, int32."""
    size = keys.shape[axis]
    if axis < keys.ndim - 1:
        first, second = jnp.expand_dims(keys, axis + 1), jnp.expand_dims(keys, axis)
        earlier = np.arange(size)[:, None] < np.arange(size)
        earlier = earlier.reshape(*(1,) * axis, size, size, *(1,) * (keys.ndim - axis - 1))
        before = (first < second) | ((first == second) & earlier)  # (…, size, size, …)
        return jnp.sum(before, axis=axis, dtype=jnp.int32)
    # Loops along so short a last axis are slow: one array for each place in a group.
    entries = [keys[..., place] for place in range(size)]
    ranks = [
        sum((earlier <= entry).astype(jnp.int32) for earlier in entries[:place])
        + sum((later < entry).astype(jnp.int32) for later in entries[place + 1 :])
        for place, entry in enumerate(entries)
    ]
    return jnp.stack([jnp.broadcast_to(rank, keys.shape[:-1]) for rank in ranks], axis)


def order_keys(x: Array) -> Array:
    """Unsigned integers in the order of the floats: equal for equal floats, 0 for NaN.

    Args:
      x: (...) float, at most 32 bits.

    Returns:
      (...) uint32.

    Example:
      >>> keys = order_keys(jnp.array([-jnp.inf, -1.0, -0.0, 0.0, jnp.nan]))
      >>> [int(keys[i] < keys[i + 1]) for i in range(4)], int(keys[4])
      ([1, 1, 0, 0], 0)
    """
    # By bits throughout: comparisons of floats may take subnormal numbers for zero.
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    magnitude = bits & ~_SIGN
    # Bits of positive floats grow with the float; with the sign bit set they lie above
    # those of negative ones, which count down from it. -0 and +0 meet at the sign bit.
    ordered = jnp.where((bits & _SIGN) == 0, bits | _SIGN, _SIGN - magnitude)
    return jnp.where(magnitude > _INFINITY, np.uint32(0), ordered)


def cut(
    counts_below: Callable[[tuple[Array, ...]], Sequence[Array]],
    count: Array | int,
    *,
    bits: int = 32,
) -> Array:
    """The largest bound with at most `count` entries below it.

    Two bits are found at a time, so that one pass over the entries serves three
    candidates.

    Args:
      counts_below: three uint32 bounds to the integer number of entries below each,
        which grows with the bound; () or any shape, one bound per entry.
      count: integer that broadcasts against them.
      bits: of the bound, at most 32.

    Returns:
      uint32 in [0, 2**bits), of the shape that `counts_below` gives.

    Example:
      >>> keys = jnp.array([7, 3, 9], jnp.uint32)
      >>> int(cut(lambda bounds: [jnp.sum(keys < bound) for bound in bounds], 1))
      7
    """
    largest = np.uint32(2**bits - 1)

    def decide(step, bound):
        shift = (2 * (digits - 1 - step)).astype(jnp.uint32)
        candidates = tuple(bound | (jnp.uint32(digit) << shift) for digit in (1, 2, 3))
        found = zip(candidates, counts_below(candidates), strict=True)
        # Of an odd number of bits the first digit is 0 or 1.
        return bound | (
            sum(((few <= count) & (each <= largest)).astype(jnp.uint32) for each, few in found)
            << shift
        )

    digits = (bits + 1) // 2
    none, *_ = counts_below((jnp.zeros((), jnp.uint32),) * 3)
    return jax.lax.fori_loop(0, digits, decide, jnp.zeros_like(none, jnp.uint32))


def count_each(marked: Iterable[Array], axis: tuple[int, ...]) -> list[Array]:
    """How many entries of each group are true, in several arrays at once.

    Args:
      marked: bool arrays of one shape.
      axis: that a group spans.

    Returns:
      int32 of size 1 along `axis`, one for each array.

    Example:
      >>> x = jnp.array([1, 2, 3])
      >>> [int(count[0]) for count in count_each([x > 1, x > 2], (0,))]
      [2, 1]
    """
    ones = tuple(each.astype(jnp.int32) for each in marked)
    # One reduction of several arrays is one pass; several reductions are as many.
    sums = jax.lax.reduce(
        ones,
        (np.int32(0),) * len(ones),
        lambda total, more: tuple(map(jnp.add, total, more)),
        axis,
    )
    return [jnp.expand_dims(each, axis) for each in sums]


def count_true(marked: Array, axis: tuple[int, ...]) -> Array:
    """How many entries of each group are true, int32 of size 1 along `axis`.

    A reduction of one array along its last axis takes several times as long on a CPU as
    one of two, and an array of int32 besides.
    """
    if marked.ndim - 1 in axis:
        count, others = count_each([marked, ~marked], axis)
        # Adds 0: a result that is not read would be left out of the reduction.
        return count + jnp.minimum(others, 0)
    return jnp.sum(marked, axis=axis, dtype=jnp.int32, keepdims=True)


def positions(shape: tuple[int, ...], axis: tuple[int, ...]) -> Array:
    """The row-major position of every entry in its group, uint32 of `shape`."""
    position = jnp.zeros(shape, jnp.uint32)
    stride = 1
    for i in sorted(axis, reverse=True):
        position += jax.lax.broadcasted_iota(jnp.uint32, shape, i) * np.uint32(stride)
        stride *= shape[i]
    return position
