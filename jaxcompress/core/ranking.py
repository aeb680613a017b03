"""The lowest entries of an array, an exact number of them, found by counting alone.

A threshold is bisected bit by bit, so nothing is sorted or gathered, and arrays sharded
over a mesh stay where they are. What to do with the lowest entries
is decided elsewhere.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array

_SIGN = np.uint32(0x80000000)
_INFINITY = np.uint32(0x7F800000)


# Compiled once per shape: a tree repeats its shapes, and an eager loop compiles at
# every call.
@functools.partial(jax.jit, static_argnames="axis")
def lowest(x: Array, count: Array | int, *, axis: tuple[int, ...]) -> Array:
    """Marks exactly `count` of the lowest entries of every group.

    Among equal entries the earlier index goes first. -0 equals +0; subnormal and
    infinite entries have their place; NaN is below everything.

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
    bound = cut(lambda bound: count_true(keys < bound, axis), count)
    below, tied = keys < bound, keys == bound
    missing = count - count_true(below, axis)

    def earliest() -> Array:
        position = positions(x.shape, axis)
        bits = math.prod(x.shape[i] for i in axis).bit_length()
        last = cut(lambda last: count_true(tied & (position < last), axis), missing, bits=bits)
        return tied & (position < last)

    return below | jax.lax.cond(jnp.any(missing > 0), earliest, lambda: tied & (missing > 0))


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
    ordered = jnp.where((bits & _SIGN) == 0, bits | _SIGN, _SIGN - magnitude)
    return jnp.where(magnitude > _INFINITY, np.uint32(0), ordered)


def cut(count_below: Callable[[Array], Array], count: Array | int, *, bits: int = 32) -> Array:
    """The largest bound with at most `count` entries below it.

    Args:
      count_below: uint32 bound to the integer number of entries below it, which grows
        with the bound; () or any shape, one bound per entry.
      count: integer that broadcasts against it.
      bits: of the bound, at most 32.

    Returns:
      uint32 in [0, 2**bits), of the shape that `count_below` gives.

    Example:
      >>> keys = jnp.array([7, 3, 9], jnp.uint32)
      >>> int(cut(lambda bound: jnp.sum(keys < bound), 1))
      7
    """

    def decide(step, bound):
        candidate = bound | (jnp.uint32(1) << (bits - 1 - step).astype(jnp.uint32))
        return jnp.where(count_below(candidate) <= count, candidate, bound)

    nothing = jnp.zeros_like(count_below(jnp.zeros((), jnp.uint32)), jnp.uint32)
    return jax.lax.fori_loop(0, bits, decide, nothing)


def count_true(marked: Array, axis: tuple[int, ...]) -> Array:
    """How many entries of each group are true, int32 of size 1 along `axis`."""
    return jnp.sum(marked, axis=axis, dtype=jnp.int32, keepdims=True)


def positions(shape: tuple[int, ...], axis: tuple[int, ...]) -> Array:
    """The row-major position of every entry in its group, uint32 of `shape`."""
    position = jnp.zeros(shape, jnp.uint32)
    stride = 1
    for i in sorted(axis, reverse=True):
        position += jax.lax.broadcasted_iota(jnp.uint32, shape, i) * np.uint32(stride)
        stride *= shape[i]
    return position
