"""Exact counts, casts that keep numbers finite, and the gradient rule of views."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.checks import check_share
from jaxcompress.core.types import Array


@jax.custom_jvp
def straight_through(value: Array, x: Array, passes: Array) -> Array:
    """`value`, whose gradient is that of `x` where `passes` and zero elsewhere.

    The one gradient rule of every view: forward bit-exact, backward the identity
    inside a range.

    Args:
      value: (...) float, what the forward pass uses.
      x: (...) float, what the gradient goes to.
      passes: (...) bool, where it goes.

    Returns:
      `value`, unchanged.

    Example:
      >>> rounded = lambda x: straight_through(jnp.round(x), x, x < 2)
      >>> jax.grad(lambda x: rounded(x).sum())(jnp.array([0.4, 2.6]))
      Array([1., 0.], dtype=float32)

    Source: Bengio et al. 2013, arXiv:1308.3432, section 4.
    """
    del x, passes
    return value


@straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    value, _, passes = primals
    _, tangent, _ = tangents
    return value, jnp.where(passes, tangent, jnp.zeros_like(tangent)).astype(value.dtype)


def narrowed(x: Array, dtype) -> Array:
    """`x` in another dtype; what is finite stays finite.

    Args:
      x: (…) float32.
      dtype: of the result, real floating.

    Returns:
      Array of the shape of `x`. A number beyond the range of `dtype` becomes the
      largest of its sign; infinities and NaN stay, so that a guard sees them.

    Example:
      >>> narrowed(jnp.float32([1e6, -jnp.inf]), jnp.float16).tolist()
      [65504.0, -inf]
    """
    largest = float(jnp.finfo(dtype).max)
    if largest >= float(jnp.finfo(x.dtype).max):
        return x.astype(dtype)
    return jnp.where(jnp.isfinite(x), jnp.clip(x, -largest, largest), x).astype(dtype)


def known_extremes(x: Array) -> tuple[float, float] | None:
    """The least and the largest entry of what this process holds of an array.

    None for an array without entries and for a traced one, whose values are not known.

    Example:
      >>> known_extremes(jnp.array([3, -1])), known_extremes(jnp.zeros(0))
      ((-1, 3), None)
    """
    if isinstance(x, Tracer):
        return None
    parts = [shard.data for shard in x.addressable_shards] if isinstance(x, jax.Array) else [x]
    ends = [(part.min().item(), part.max().item()) for part in map(np.asarray, parts) if part.size]
    if not ends:
        return None
    low, high = zip(*ends, strict=True)
    return np.min(low).item(), np.max(high).item()  # which keep a NaN, as `min` may not


def round_to_count(fraction: Array | float, size: int) -> Array | int:
    """`fraction` of `size` as a whole number, exact, halves to even.

    The fraction is taken as float32; its product with the integer is formed without
    rounding, so the count is right for arrays of any size, where float arithmetic is
    off by one from 2**24 on.

    Args:
      fraction: () in [0, 1]; a Python number, or a scalar that may be traced.
      size: entries, at most 2**31 - 1.

    Returns:
      An int for a Python number, else () int32, in [0, size].

    Raises:
      ValueError: a Python number is outside [0, 1].

    Example:
      >>> round_to_count(0.5, 5), int(round_to_count(jnp.float32(0.5), 7))
      (2, 4)
    """
    if isinstance(fraction, (int, float)):
        check_share("round_to_count", "fraction", fraction)
        return round(Fraction(float(np.float32(fraction))) * size)
    mantissa, exponent = jnp.frexp(fraction.astype(jnp.float32))
    high, low = _wide_product((mantissa * 2**24).astype(jnp.uint32), size)
    return _shifted_to_even(high, low, jnp.clip(24 - exponent, 0, 63).astype(jnp.uint32)).astype(
        jnp.int32
    )


def _wide_product(a: Array, b: int) -> tuple[Array, Array]:
    """The (high, low) uint32 words of a · b, for a < 2**25 and b < 2**31."""
    low_a, high_a = a & 0xFFFF, a >> 16
    low_b, high_b = jnp.uint32(b & 0xFFFF), jnp.uint32(b >> 16)
    lowest, cross_1, cross_2, highest = (
        low_a * low_b,
        low_a * high_b,
        high_a * low_b,
        high_a * high_b,
    )
    middle = (lowest >> 16) + (cross_1 & 0xFFFF) + (cross_2 & 0xFFFF)
    high = (middle >> 16) + (cross_1 >> 16) + (cross_2 >> 16) + highest
    return high, (middle << 16) | (lowest & 0xFFFF)


def _shifted_to_even(high: Array, low: Array, shift: Array) -> Array:
    """(high · 2**32 + low) / 2**shift, halves to even, for 1 <= shift < 64."""
    one = jnp.uint32(1)
    small = shift < 32
    within = jnp.where(small, shift, shift - 32)
    below = (one << within) - one
    quotient = jnp.where(
        small, (low >> within) | jnp.where(within > 0, high << (32 - within), 0), high >> within
    )
    rest_high = jnp.where(small, 0, high & below)
    rest_low = jnp.where(small, low & below, low)
    half_high = jnp.where(small | (within == 0), 0, one << (within - one))
    half_low = jnp.where(small, one << (within - one), jnp.where(within == 0, one << 31, 0))
    over = (rest_high > half_high) | ((rest_high == half_high) & (rest_low > half_low))
    tie = (rest_high == half_high) & (rest_low == half_low)
    return quotient + (over | (tie & (quotient % 2 == 1))).astype(jnp.uint32)
