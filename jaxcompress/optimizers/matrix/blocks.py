"""Large matrices cut into a batch of smaller ones of one shape, and joined again."""

import jax.numpy as jnp

from jaxcompress.core.types import Array

Shape = tuple[int, ...]


def blocks_shape(shape: Shape, largest: int) -> Shape:
    """(blocks, m, n) of the blocks of a (batch, rows, columns) array.

    A side of at most `largest` stays whole. A longer one is cut into as few blocks as
    will do, as equal as can be; the last ones are filled up with zeros.

    Example:
      >>> blocks_shape((2, 1025, 64), 1024)
      (4, 513, 64)
    """
    batch, *sides = shape
    (rows, m), (columns, n) = (_cut(side, largest) for side in sides)
    return batch * rows * columns, m, n


def as_blocks(x: Array, largest: int) -> Array:
    """The blocks of each matrix, row by row, as one batch.

    Args:
      x: (batch, rows, columns).
      largest: the longest side of a block, at least 1.

    Returns:
      (blocks, m, n), see `blocks_shape`.

    Example:
      >>> as_blocks(jnp.arange(6).reshape(1, 2, 3), 2)[1]
      Array([[2, 0],
             [5, 0]], dtype=int32)
    """
    (rows, m), (columns, n) = (_cut(side, largest) for side in x.shape[1:])
    padding = ((0, 0), (0, rows * m - x.shape[1]), (0, columns * n - x.shape[2]))
    cut = jnp.pad(x, padding).reshape(-1, rows, m, columns, n)
    return cut.swapaxes(2, 3).reshape(-1, m, n)  # (batch · rows · columns, m, n)


def from_blocks(blocks: Array, shape: Shape, largest: int) -> Array:
    """The inverse of `as_blocks` for matrices of `shape`."""
    (rows, m), (columns, n) = (_cut(side, largest) for side in shape[1:])
    cut = blocks.reshape(-1, rows, columns, m, n).swapaxes(2, 3)
    return cut.reshape(-1, rows * m, columns * n)[:, : shape[1], : shape[2]]


def _cut(side: int, largest: int) -> tuple[int, int]:
    """(how many blocks, how long each)."""
    count = -(-side // largest)
    return count, -(-side // count)
