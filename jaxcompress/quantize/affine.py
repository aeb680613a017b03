"""The maths of uniform grids on one array: from range to grid, from values to codes.

Back from codes to values is `core.qtensor.dequantize_array`. Weights, activations and
training all go through here, so that they agree bit for bit.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array

SMALLEST_SCALE = float(2 * np.finfo(np.float32).tiny)
"""Below it a value of one step is subnormal, which XLA flushes to zero."""

LARGEST_END = 3.1e38
"""Above it the outermost code, half a step beyond its range, may overflow float32."""


class Grid(NamedTuple):
    """Where codes lie on the real line: value = (code - zero_point) · scale.

    Fields:
      scale: float32, at least `SMALLEST_SCALE`.
      zero_point: int32 of the scale's shape within the spec's codes;
        None when symmetric.
    """

    scale: Array
    zero_point: Array | None


def covered(found: Range, spec: QuantSpec) -> Range:
    """The smallest range that holds `found` and zero and that a grid can cover.

    Args:
      found: what an estimator or an observer gave.
      spec: the grid. A symmetric one covers as many steps of `high / highest` below
        zero as it has codes there.

    Returns:
      Range of the same shapes, -`LARGEST_END` <= low <= 0 <= high <= `LARGEST_END`;
      both ends NaN where one that was found is not finite.

    Example:
      >>> one_sided = Range(jnp.float32(1.0), jnp.float32(3.0))
      >>> [float(end) for end in covered(one_sided, jc.quantize.formats.uint8())]
      [0.0, 3.0]
      >>> [float(end) for end in covered(one_sided, jc.quantize.int8())]
      [-3.0, 3.0]
    """
    if spec.odd:
        # Few operations: compilers repeat them for each weight, not for each block.
        end = jnp.maximum(-found.low, found.high)
        end = jnp.where(jnp.isfinite(end), jnp.minimum(end, LARGEST_END), jnp.nan)
        return Range(-end, end)
    low, high = jnp.minimum(found.low, 0.0), jnp.maximum(found.high, 0.0)
    if spec.symmetric:
        mirror = spec.lowest / spec.highest
        low, high = jnp.minimum(low, high * mirror), jnp.maximum(high, low / mirror)
    finite = jnp.isfinite(found.low) & jnp.isfinite(found.high)
    low, high = jnp.maximum(low, -LARGEST_END), jnp.minimum(high, LARGEST_END)
    return Range(jnp.where(finite, low, jnp.nan), jnp.where(finite, high, jnp.nan))


def grid(cover: Range, spec: QuantSpec) -> Grid:
    """The grid whose first and last code are the ends of a range.

        scale = (high - low) / (highest - lowest)
        zero_point = lowest - round(low / scale)

    Args:
      cover: what `covered` gave. Where it is the point zero the scale is 1; a scale
        never falls below `SMALLEST_SCALE`, so what is smaller than half
        of it becomes zero. Where it is NaN the scale is too, so that a block with
        entries that are not finite stays not finite, though no code says so.
      spec: the codes.

    Returns:
      Grid of the range's shape.

    Example:
      >>> grid(Range(jnp.float32(-1.0), jnp.float32(2.0)), jc.quantize.formats.uint4())
      Grid(scale=Array(0.2, dtype=float32), zero_point=Array(5, dtype=int32))

    Source: Jacob et al. 2018, arXiv:1712.05877, section 2.1.
    """
    # Halves, since the difference of two huge ends overflows. One rounded product,
    # since compilers differ in how they divide by a constant or fuse two operations.
    half = cover.high if spec.odd else cover.high * 0.5 - cover.low * 0.5
    scale = half * (2 / (spec.highest - spec.lowest))
    scale = jnp.where(half == 0, 1.0, jnp.maximum(scale, SMALLEST_SCALE))
    if spec.symmetric:
        return Grid(scale, None)
    zero_point = spec.lowest - jnp.round(cover.low / scale)
    return Grid(scale, jnp.clip(zero_point, spec.lowest, spec.highest).astype(jnp.int32))


def within(x: Array, cover: Range) -> Array:
    """Where a value lies inside the range; true where either is NaN.

    Where the gradient of a rounded value passes. What is not a number is not clipped,
    so its gradient is not cut off either.

    Example:
      >>> cover = Range(jnp.float32(-1.0), jnp.float32(1.0))
      >>> within(jnp.array([0.5, 2.0, jnp.nan]), cover)
      Array([ True, False,  True], dtype=bool)
    """
    return ~((x < cover.low) | (x > cover.high))


def quantize_array(x: Array, on: Grid, spec: QuantSpec) -> Array:
    """The code nearest to each value, halves to even, clipped to the spec's codes.

        code = clip(round(x / scale) + zero_point, lowest, highest)

    Args:
      x: (...) float32.
      on: a grid whose shape broadcasts to that of `x`.
      spec: the codes.

    Returns:
      (...) float32 whole numbers in [lowest, highest].

    Example:
      >>> on = Grid(jnp.float32(0.5), None)
      >>> quantize_array(jnp.array([0.4, -9.0]), on, jc.quantize.int4())
      Array([ 1., -7.], dtype=float32)
    """
    steps = jnp.round(x / on.scale)
    if on.zero_point is not None:
        steps = steps + on.zero_point.astype(jnp.float32)
    return jnp.clip(steps, spec.lowest, spec.highest)
