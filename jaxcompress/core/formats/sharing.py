"""What shares a scale: how many entries along each axis of a leaf.

A sharing is one function from a shape to block sizes. All else follows from them: how
an array is cut into blocks (`cuts`), and the shape of the scales that a leaf stores.
"""

import dataclasses
import itertools
import math
import operator
from typing import ClassVar

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.choices import set_whole
from jaxcompress.core.sharding import explicit_sharding
from jaxcompress.core.types import Array


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One scale for the whole leaf; stacked axes never share."""

    kind: ClassVar[str] = "tensor"

    def sizes(self, shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
        """How many entries share a scale along each axis of a leaf of this shape."""
        return _whole(shape, axes.output + axes.contracting)

    def fits(self, counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether so many scales can be those of stored sizes, whatever axes do."""
        return _one_or_each(counts, sizes)

    def __str__(self) -> str:
        return "per tensor"


@dataclasses.dataclass(frozen=True)
class Channel:
    """One scale for each output: all contracting axes share."""

    kind: ClassVar[str] = "channel"

    def sizes(self, shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
        """How many entries share a scale along each axis of a leaf of this shape."""
        return _whole(shape, axes.contracting)

    def fits(self, counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether so many scales can be those of stored sizes, whatever axes do."""
        return _one_or_each(counts, sizes)

    def __str__(self) -> str:
        return "per channel"


@dataclasses.dataclass(frozen=True)
class Group:
    """One scale for each run of `size` entries along the contracting axes.

    A run lies along these axes as one, the last fastest: it is a part of the last axis,
    or several whole indices of the one before. Of a kernel that contracts 8 heads of 16
    a group of 32 spans two heads.
    """

    kind: ClassVar[str] = "group"

    size: int

    def __post_init__(self) -> None:
        set_whole(self, "size")
        if self.size < 1:
            raise ValueError(f"Group(size={self.size}) must be at least 1.")

    def sizes(self, shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
        """How many entries share a scale along each axis of a leaf of this shape."""
        return _run(shape, axes.contracting, self.size)

    def fits(self, counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether so many scales can be those of stored sizes, whatever axes do."""
        run = _run(sizes, tuple(range(len(sizes))), self.size)
        return _times(counts, run) == sizes

    def __str__(self) -> str:
        return f"in groups of {self.size}"


@dataclasses.dataclass(frozen=True)
class Block:
    """One scale for each tile of `rows` outputs by `columns` contracting entries.

    Several axes of one role count as one, the last fastest, as those of a `Group`.
    """

    kind: ClassVar[str] = "block"

    rows: int
    columns: int

    def __post_init__(self) -> None:
        set_whole(self, "rows", "columns")
        if self.rows < 1 or self.columns < 1:
            raise ValueError(
                f"Block(rows={self.rows}, columns={self.columns}) must be at least 1 each."
            )

    def sizes(self, shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
        """How many entries share a scale along each axis of a leaf of this shape."""
        rows = _run(shape, axes.output, self.rows)
        return _times(rows, _run(shape, axes.contracting, self.columns))

    def fits(self, counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether so many scales can be those of stored sizes, whatever axes do."""
        run = _run(sizes, tuple(range(len(sizes))), self.columns)
        tiles = _times(counts, run)  # as far as columns go
        rows = [size // tile for size, tile in zip(sizes, tiles, strict=False) if tile]
        return _times(tiles, tuple(rows)) == sizes and math.prod(rows) == self.rows

    def __str__(self) -> str:
        return f"in blocks of {self.rows} by {self.columns}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One scale for each row along the last contracting axis.

    Of a batch of data each row of features; of a matrix the same as each channel; of a
    convolution each place of the window apart.
    """

    kind: ClassVar[str] = "row"

    def sizes(self, shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
        """How many entries share a scale along each axis of a leaf of this shape."""
        return _whole(shape, axes.contracting[-1:])

    def fits(self, counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether so many scales can be those of stored sizes, whatever axes do."""
        return counts == (*sizes[:-1], 1)

    def __str__(self) -> str:
        return "per row"


Sharing = Tensor | Channel | Group | Block | Row
"""What shares a scale."""

SHARINGS = (Tensor, Channel, Group, Block, Row)


def scale_shape(shape: tuple[int, ...], sharing: Sharing, axes: LeafAxes) -> tuple[int, ...]:
    """Sizes of the scale of a canonical array: one entry per block, of the same rank.

    Args:
      shape: sizes of (batch…, output…, contracting…), which the blocks divide.
      sharing: what shares a scale.
      axes: how many of the axes are batch, output and contracting.

    Example:
      >>> dense = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> scale_shape((3, 8), Group(4), dense)
      (3, 2)
    """
    sizes = sharing.sizes(shape, _canonical(axes))
    return tuple(length // size if size else 1 for length, size in zip(shape, sizes, strict=True))


def spread(blocks: Array, shape: tuple[int, ...]) -> Array:
    """Every entry repeated over the block it stands for, broadcasting to `shape`.

    Args:
      blocks: one entry per block; each size divides that of `shape`.
      shape: the sizes to cover.

    Returns:
      Array whose sizes are 1 or those of `shape`.
    """
    for axis, (count, size) in enumerate(zip(blocks.shape, shape, strict=True)):
        if count not in (1, size):
            sharding = explicit_sharding(blocks)
            blocks = jnp.repeat(blocks, size // count, axis=axis, out_sharding=sharding)
    return blocks


def _canonical(axes: LeafAxes) -> LeafAxes:
    """The same roles for an array whose axes are (batch…, output…, contracting…)."""
    batch, output, ndim = len(axes.batch), len(axes.output), len(axes.order)
    ends = (0, batch, batch + output, ndim)
    roles = [tuple(range(*pair)) for pair in itertools.pairwise(ends)]
    return LeafAxes(roles[2], roles[1], roles[0])


def _run(shape: tuple[int, ...], axes: tuple[int, ...], size: int) -> tuple[int, ...]:
    """How much of each axis a run of `size` entries takes, whose last axis is fastest.

    Where runs cannot be cut from whole indices, some axis is not divided by its share.
    """
    taken = [1] * len(shape)
    for axis in reversed(axes):
        whole = shape[axis] > 0 and size % shape[axis] == 0
        taken[axis] = shape[axis] if whole else size
        size = size // shape[axis] if whole else 1
    if axes:
        taken[axes[0]] *= size
    return tuple(taken)


def _times(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(operator.mul, one, other))


def _whole(shape: tuple[int, ...], together: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length if axis in together else 1 for axis, length in enumerate(shape))


def _one_or_each(counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    return len(counts) == len(sizes) and all(
        count in (1, size) for count, size in zip(counts, sizes, strict=True)
    )
