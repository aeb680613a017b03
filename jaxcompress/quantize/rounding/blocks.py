"""Blocks of one matrix: ranges of their grids, sums over them, the better of two."""

import jax.numpy as jnp

from jaxcompress.core.formats.cuts import cut
from jaxcompress.core.formats.grids import Grid, covered, grid, stored
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.rounding.matrices import MATRIX


def range_of(on: Grid, spec: QuantSpec) -> Range:
    """The values of the lowest and the highest code of each block.

    Example:
      >>> on = Grid(jnp.full((2, 1), 0.5))
      >>> range_of(on, jc.quantize.int4()).high.tolist()
      [[3.5], [3.5]]
    """
    lowest, highest = spec.levels.ends
    zero = 0.0 if on.zero_point is None else on.zero_point.astype(jnp.float32)
    steps = on.steps(spec)
    return Range((lowest - zero) * steps, (highest - zero) * steps)


def grid_within(found: Range, shape: tuple[int, ...], spec: QuantSpec) -> Grid:
    """The grid of a matrix whose codes cover a range, one entry per block.

    Args:
      found: two of (row blocks, column blocks), as `range_of` gives them.
      shape: of the matrix, (outputs, inputs).
      spec: the format.

    Example:
      >>> spec = jc.quantize.int4(group_size=2)
      >>> end = jnp.full((3, 2), 14.0)
      >>> grid_within(Range(-end, end), (3, 4), spec).scale.tolist()
      [[2.0, 2.0], [2.0, 2.0], [2.0, 2.0]]
    """
    parts = cut(shape, spec.sharing, MATRIX)
    low, high = (jnp.expand_dims(end, parts.entries) for end in found)
    return stored(grid(covered(Range(low, high), spec), spec, parts), parts, MATRIX)


def block_sums(x: Array, blocks: tuple[int, ...]) -> Array:
    """Sums over each block of a matrix.

    Args:
      x: (outputs, inputs).
      blocks: (row blocks, column blocks), which divide it.

    Example:
      >>> block_sums(jnp.ones((2, 6)), (1, 3))
      Array([[4., 4., 4.]], dtype=float32)
    """
    rows, columns = blocks
    outputs, inputs = x.shape
    apart = x.reshape(rows, outputs // rows, columns, inputs // columns)
    return jnp.sum(apart, axis=(1, 3))


def under(found: Range, start: Grid, spec: QuantSpec) -> Range:
    """Ranges that leave the second scale of a grid as it is.

    A second scale follows the largest scale of the blocks that share it. Here that one
    stays, and no other becomes larger, so that each block can be chosen for itself.

    Args:
      found: two of (row blocks, column blocks).
      start: the grid.
      spec: its format.

    Returns:
      `found` itself for a storage without second scales.

    Example:
      >>> spec = jc.quantize.formats.nvfp4()
      >>> weight = jnp.repeat(jnp.array([[6.0, 3.0]]), 16, axis=1)
      >>> from jaxcompress.quantize.rounding.matrices import grid_of
      >>> start = grid_of(weight, spec, jc.quantize.ranges.min_max)
      >>> under(Range(jnp.full((1, 2), -2.0), jnp.full((1, 2), 2.0)), start, spec).high
      Array([[6., 2.]], dtype=float32)
    """
    if start.second_scale is None:
        return found
    lowest, highest = spec.levels.ends
    alone = start.second_scale.shape
    together = tuple(axis for axis, size in enumerate(alone) if size == 1)
    steps, own = start.steps(spec), range_of(start, spec)
    largest = jnp.max(steps, together, keepdims=True)
    wide = (found.high - found.low) / (highest - lowest)
    least = jnp.where(wide > largest, largest / jnp.where(wide > 0, wide, 1.0), 1.0)
    low, high = (
        jnp.where(steps >= largest, before, after * least)
        for before, after in zip(own, found, strict=True)
    )
    return Range(low, high)


def where_better(better: Array, new: Grid, old: Grid) -> Grid:
    """The entries of one grid where it is better, and of another where it is not.

    Args:
      better: bool, broadcasts to (row blocks, column blocks).
      new: with the second scale (see `under`) and the levels of `old`.
      old: the other.
    """
    kept = {
        field: None if before is None else jnp.where(better, getattr(new, field), before)
        for field in ("scale", "zero_point")
        for before in (getattr(old, field),)
    }
    return old._replace(**kept)
