"""Blocks of one matrix: their grids within ranges, and sums over them."""

import jax.numpy as jnp

from jaxcompress.core.formats.cuts import cut
from jaxcompress.core.formats.grids import Grid, covered, grid, stored
from jaxcompress.core.observers import Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.rounding.matrices import MATRIX
from jaxcompress.quantize.scales.blockwise import under


def grid_within(found: Range, start: Grid, shape: tuple[int, ...], spec: QuantSpec) -> Grid:
    """The grid of a matrix whose codes cover a range, one entry per block.

    Args:
      found: two of (row blocks, column blocks), as `range_of` gives them.
      start: a grid of the matrix, whose second scale is held.
      shape: of the matrix, (outputs, inputs).
      spec: the format.

    Example:
      >>> spec = jc.quantize.int4(group_size=2)
      >>> end = jnp.full((3, 2), 14.0)
      >>> start = Grid(end)
      >>> grid_within(Range(-end, end), start, (3, 4), spec).scale.tolist()
      [[2.0, 2.0], [2.0, 2.0], [2.0, 2.0]]
    """
    parts = cut(shape, spec.sharing, MATRIX)
    low, high = (jnp.expand_dims(end, parts.entries) for end in found)
    on = stored(grid(covered(Range(low, high), spec), spec, parts), parts, MATRIX)
    return under(on, covered(found, spec), start, spec)


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
