"""From the range that the codes of a block shall cover to the grid they lie on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.scales import SMALLEST_SCALE, Fixed, PowerOfTwo
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array

LARGEST_END = 3.1e38
"""Above it the outermost code, half a step beyond its range, may overflow float32."""


class Grid(NamedTuple):
    """What codes are read with: value = (code - zero_point) · scale.

    Attributes:
      scale: as `spec.scales` stores it, one entry per block.
      second_scale: float32 that the stored scale is a multiple of; None where
        `spec.scales` has one level alone.
      zero_point: int32 of the scale's shape within the spec's codes;
        None when symmetric.
      codebook: float32 levels that the leaf stores itself; None where the spec knows
        them.
    """

    scale: Array
    second_scale: Array | None = None
    zero_point: Array | None = None
    codebook: Array | None = None

    def steps(self, spec: QuantSpec) -> Array:
        """The scales that are multiplied with, float32."""
        return spec.scales.read(self.scale, self.second_scale)


def covered(found: Range, spec: QuantSpec) -> Range:
    """The smallest range that holds `found` and zero and that a grid can cover.

    Args:
      found: what an estimator or an observer gave.
      spec: the format. A symmetric one covers as many steps of `high / highest` below
        zero as its lowest level lies there.

    Returns:
      Range of the same shapes, -`LARGEST_END` <= low <= 0 <= high <= `LARGEST_END`;
      both ends NaN where one that was found is not finite. That of fixed steps whatever
      was found.

    Example:
      >>> one_sided = Range(jnp.float32(1.0), jnp.float32(3.0))
      >>> [float(end) for end in covered(one_sided, jc.quantize.formats.uint8())]
      [0.0, 3.0]
      >>> [float(end) for end in covered(one_sided, jc.quantize.int8())]
      [-3.0, 3.0]
    """
    if isinstance(spec.scales, Fixed):
        finite = jnp.isfinite(found.low) & jnp.isfinite(found.high)
        low, high = (jnp.where(finite, end * spec.scales.step, jnp.nan) for end in spec.levels.ends)
        return Range(low, high)
    most = _largest_end(spec)
    if spec.odd:
        # Few operations: compilers repeat them for each weight, not for each block.
        end = jnp.maximum(-found.low, found.high)
        end = jnp.where(jnp.isfinite(end), jnp.minimum(end, most), jnp.nan)
        return Range(-end, end)
    low, high = jnp.minimum(found.low, 0.0), jnp.maximum(found.high, 0.0)
    if spec.symmetric:
        lowest, highest = spec.levels.ends
        mirror = lowest / highest
        low, high = jnp.minimum(low, high * mirror), jnp.maximum(high, low / mirror)
    finite = jnp.isfinite(found.low) & jnp.isfinite(found.high)
    low, high = jnp.maximum(low, -most), jnp.minimum(high, most)
    return Range(jnp.where(finite, low, jnp.nan), jnp.where(finite, high, jnp.nan))


def _largest_end(spec: QuantSpec) -> float:
    """The largest end of a range whose grid neither overflows nor has a huge scale."""
    lowest, highest = spec.levels.ends
    span = highest - lowest
    # A zero point may push the outermost code half a step beyond the end. XLA divides
    # by the reciprocal, which for scales above 2**126 is subnormal and taken for zero.
    most = min(LARGEST_END, 3.4e38 / (1 + 1 / span), 2.0**126 * span / 2)
    return min(most, LARGEST_END / 2) if isinstance(spec.scales, PowerOfTwo) else most


def grid(cover: Range, spec: QuantSpec, parts: Cut | None = None) -> Grid:
    """The grid whose first and last code are the ends of a range.

        scale = (high - low) / (highest - lowest)
        zero_point = lowest - round(low / scale)

    Args:
      cover: what `covered` gave. Where it is the point zero the scale is 1, or
        `SMALLEST_SCALE` in a format without a zero; a scale never falls below that, so
        what is smaller than half of it becomes zero. Where it is NaN the scale is too,
        so that a block with entries that are not finite stays not finite, though no
        code says so.
      spec: the format.
      parts: how the array was cut into the blocks of the range; None for one that was
        not, all of which shares what blocks share.

    Returns:
      Grid of the range's shape; its second scale and codebook broadcast to that.

    Example:
      >>> wide = Range(jnp.float32(-1.0), jnp.float32(2.0))
      >>> on = grid(wide, jc.quantize.formats.uint4())
      >>> on.scale, on.zero_point
      (Array(0.2, dtype=float32), Array(5, dtype=int32))

    Source: Jacob et al. 2018, arXiv:1712.05877, section 2.1.
    """
    lowest, highest = spec.levels.ends
    # Halves, since the difference of two huge ends overflows. One rounded product,
    # since compilers differ in how they divide by a constant or fuse two operations.
    half = cover.high if spec.odd else cover.high * 0.5 - cover.low * 0.5
    # XLA flushes a tiny scale to zero, which would stand for a block of zeros. In a
    # format without a zero even that has no scale of 1: its codes would be ones.
    smallest = jnp.where(half == 0, 0.0, SMALLEST_SCALE) if spec.has_zero else SMALLEST_SCALE
    scale = jnp.maximum(half * (2 / (highest - lowest)), smallest)
    on = Grid(*spec.scales.write(scale, parts))
    if isinstance(spec.levels, Codebook):
        apart = [
            1 if parts is None or axis in parts.leaf else size
            for axis, size in enumerate(on.scale.shape)
        ]
        levels = jnp.broadcast_to(spec.levels.start, (*apart, len(spec.levels.start)))
        return on._replace(codebook=levels)
    if spec.symmetric:
        return on
    zero_point = spec.lowest - jnp.round(cover.low / on.steps(spec))
    zero_point = jnp.clip(zero_point, spec.lowest, spec.highest).astype(jnp.int32)
    return on._replace(zero_point=zero_point)


def stored(on: Grid, parts: Cut, axes: LeafAxes) -> Grid:
    """The grid of an array that was cut, for codes in (batch…, output…, contracting…).

    Args:
      on: what `grid` gave for the parts.
      parts: the cut of the array.
      axes: what the axes of the whole array do.
    """

    def moved(each: Array) -> Array:
        each = jnp.squeeze(each, parts.entries)
        order = (*axes.order, *range(len(axes.order), each.ndim))  # a codebook has one axis more
        return jnp.transpose(each, order)

    return jax.tree.map(moved, on)


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
