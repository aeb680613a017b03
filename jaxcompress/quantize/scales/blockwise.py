"""Grids as ranges and back, and the better of two for each block."""

import jax.numpy as jnp

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.scales import E4M3, Codes
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


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


def under(on: Grid, cover: Range, start: Grid, spec: QuantSpec) -> Grid:
    """The grid of a range, under the second scale of another grid.

    A second scale follows the largest scale of the blocks that share it. Where it is
    held, each block can be chosen for itself.

    Args:
      on: the grid of `cover` by itself; what is given for a storage without second
        scales.
      cover: of its blocks, as `covered` gives it.
      start: the other grid.
      spec: the format of both.

    Example:
      >>> spec = jc.quantize.formats.nvfp4()
      >>> start = Grid(jnp.uint8([126]), second_scale=jnp.float32([1 / 448]))
      >>> half = Range(jnp.float32([-3.0]), jnp.float32([3.0]))
      >>> under(start, half, start, spec).steps(spec)
      Array([0.5], dtype=float32)
    """
    if start.second_scale is None or not isinstance(spec.scales, E4M3 | Codes):
        return on
    lowest, highest = spec.levels.ends
    steps = (cover.high * 0.5 - cover.low * 0.5) * (2 / (highest - lowest))
    scale = spec.scales.under(steps, start.second_scale)
    on = on._replace(scale=scale, second_scale=start.second_scale)
    if on.zero_point is None:
        return on
    zero_point = jnp.clip(
        spec.lowest - jnp.round(cover.low / on.steps(spec)), spec.lowest, spec.highest
    )
    return on._replace(zero_point=zero_point.astype(jnp.int32))


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
