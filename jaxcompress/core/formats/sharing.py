"""What shares a scale: how many entries along each axis of a leaf.

A sharing is one function from a shape to block sizes. All else follows from them: the
array cut into blocks as it lies (nothing is transposed, which on a CPU would cost more
than all that is done with a weight), and the shape of the scales that a leaf stores.
"""

import dataclasses
import itertools
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.choices import set_whole
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
    """One scale for each `size` entries along the last contracting axis."""

    kind: ClassVar[str] = "group"

    size: int

    def __post_init__(self):
        set_whole(self, "size")
        if self.size < 1:
            raise ValueError(f"Group(size={self.size}) must be at least 1.")

    def sizes(self, shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
        """How many entries share a scale along each axis of a leaf of this shape."""
        return tuple(self.size if axis == axes.contracting[-1] else 1 for axis in range(len(shape)))

    def fits(self, counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether so many scales can be those of stored sizes, whatever axes do."""
        return len(counts) == len(sizes) and (*counts[:-1], counts[-1] * self.size) == sizes

    def __str__(self) -> str:
        return f"in groups of {self.size}"


Sharing = Tensor | Channel | Group
"""What shares a scale."""

SHARINGS = (Tensor, Channel, Group)


class Cut(NamedTuple):
    """How an array is cut into the blocks that share a scale, as it lies.

    Fields:
      shape: of the array with each axis that has several blocks as (blocks, entries).
      shared: the axes of that shape whose entries share a scale.
      entries: those of `shared` that the cut added.
    """

    shape: tuple[int, ...]
    shared: tuple[int, ...]
    entries: tuple[int, ...]


def cut(shape: tuple[int, ...], sharing: Sharing, axes: LeafAxes) -> Cut:
    """The cut of an array of this shape, with its axes in its own order.

    Args:
      shape: sizes that the blocks divide.
      sharing: what shares a scale.
      axes: what the axes do.

    Example:
      >>> dense = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> cut((8, 3), Group(4), dense)
      Cut(shape=(2, 4, 3), shared=(1,), entries=(1,))
      >>> cut((8, 3), Channel(), dense)
      Cut(shape=(8, 3), shared=(0,), entries=())
    """
    parted: list[int] = []
    shared: list[int] = []
    entries: list[int] = []
    whole = {*axes.output, *axes.contracting}
    for axis, (length, size) in enumerate(zip(shape, sharing.sizes(shape, axes), strict=True)):
        if size == length and axis in whole:
            shared.append(len(parted))
            parted.append(length)
        elif size == 1:
            parted.append(length)
        else:
            parted += [length // size, size]
            shared.append(len(parted) - 1)
            entries.append(len(parted) - 1)
    return Cut(tuple(parted), tuple(shared), tuple(entries))


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
            blocks = jnp.repeat(blocks, size // count, axis=axis)
    return blocks


def _canonical(axes: LeafAxes) -> LeafAxes:
    """The same roles for an array whose axes are (batch…, output…, contracting…)."""
    batch, output, ndim = len(axes.batch), len(axes.output), len(axes.order)
    ends = (0, batch, batch + output, ndim)
    roles = [tuple(range(*pair)) for pair in itertools.pairwise(ends)]
    return LeafAxes(roles[2], roles[1], roles[0])


def _whole(shape: tuple[int, ...], together: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length if axis in together else 1 for axis, length in enumerate(shape))


def _one_or_each(counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    return len(counts) == len(sizes) and all(
        count in (1, size) for count, size in zip(counts, sizes, strict=True)
    )
