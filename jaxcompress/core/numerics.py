"""Exact counts, casts that keep numbers finite, and the gradient rule of views."""

import functools
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcompress.core.checks import check_share
from jaxcompress.core.fixed import exact_product, rounded_to_even
from jaxcompress.core.types import Array

_reduction = functools.partial(jax.jit, static_argnames=("axis", "keepdims"), inline=True)
"""One program for each shape and axes, not one for each operation."""


@jax.custom_jvp
def straight_through(value: Array, x: Array, passes: Array) -> Array:
    """Gives `value` the gradient of `x` where `passes`, and zero elsewhere.

    Also known as: straight-through estimator (STE).

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
    # Through `straight_through` itself; else a second derivative sees a constant.
    by_x = jnp.where(passes, tangent, jnp.zeros_like(tangent)).astype(value.dtype)
    return straight_through(*primals), by_x


def narrowed(x: Array, dtype: Any) -> Array:
    """Casts `x` to another dtype so that finite numbers stay finite.

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


@_reduction
def not_finite(x: Array, axis=None, *, keepdims: bool = False) -> Array:
    """Gives NaN where an entry along axes is NaN or infinite, and 0 where none is.

    To be added to a maximum or minimum: what XLA compiles for a CPU may lose a NaN
    among a few thousand floats (jax 0.10 to 0.12), and a sum never does. In one pass
    with the maximum it costs a few percent; a maximum of bits or of bools costs half.

    Args:
      x: real floating, any shape.
      axis: what is reduced, all axes by default.
      keepdims: as in `jnp.sum`.

    Returns:
      float32.

    Example:
      >>> not_finite(jnp.array([[1.0, -3.0], [2.0, jnp.inf]]), axis=1)
      Array([ 0., nan], dtype=float32)
    """
    return jnp.sum(x.astype(jnp.float32) * 0.0, axis, keepdims=keepdims)


@_reduction
def largest_magnitude(x: Array, axis=None, *, keepdims: bool = False) -> Array:
    """Finds the largest |x| along axes; NaN where an entry is NaN or infinite.

    Args:
      x: real floating, any shape.
      axis: what is reduced, all axes by default.
      keepdims: as in `jnp.max`.

    Returns:
      float32; 0 where there are no entries.

    Example:
      >>> largest_magnitude(jnp.array([[1.0, -3.0], [2.0, jnp.nan]]), axis=1)
      Array([ 3., nan], dtype=float32)
    """
    values = x.astype(jnp.float32)
    largest = jnp.max(jnp.abs(values), axis, keepdims=keepdims, initial=0.0)
    return largest + not_finite(values, axis, keepdims=keepdims)


def known_extremes(x: Array) -> tuple[float, float] | None:
    """Finds the extremes of the part of an array that this process holds.

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
    """Rounds `fraction` of `size` to a whole number, exactly, halves to even.

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
    return rounded_to_even(exact_product(fraction, size)).astype(jnp.int32)
