"""What shares a scale: how many entries along each axis of a leaf.

A sharing is one function from a shape to block sizes. All else follows from them: the
array cut into blocks as it lies (nothing is transposed, which on a CPU would cost more
than all that is done with a weight), and the shape of the scales that a leaf stores.
"""

import dataclasses
import itertools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.choices import set_whole
from jaxcompress.core.sharding import explicit_sharding, placed, sharding_of
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


@dataclasses.dataclass(frozen=True)
class Block:
    """One scale for each tile of `rows` outputs by `columns` contracting entries.

    The tile lies on the last output and the last contracting axis.
    """

    kind: ClassVar[str] = "block"

    rows: int
    columns: int

    def __post_init__(self):
        set_whole(self, "rows", "columns")
        if self.rows < 1 or self.columns < 1:
            raise ValueError(
                f"Block(rows={self.rows}, columns={self.columns}) must be at least 1 each."
            )

    def sizes(self, shape: tuple[int, ...], axes: LeafAxes) -> tuple[int, ...]:
        """How many entries share a scale along each axis of a leaf of this shape."""
        tile = {axes.output[-1]: self.rows, axes.contracting[-1]: self.columns}
        return tuple(tile.get(axis, 1) for axis in range(len(shape)))

    def fits(self, counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        """Whether so many scales can be those of stored sizes, whatever axes do."""
        *others, last = zip(counts, sizes, strict=True) if len(counts) == len(sizes) else [(0, 1)]
        return last[0] * self.columns == last[1] and all(
            size in (count, count * self.rows) for count, size in others
        )

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


class Cut(NamedTuple):
    """How an array is cut into the blocks that share a scale, as it lies.

    Attributes:
      shape: of the array with each axis that has several blocks as (blocks, entries).
      shared: the axes of that shape whose entries share a scale.
      entries: those of `shared` that the cut added, each behind the axis that counts
        its blocks.
      leaf: all axes but those of stacked leaves, which share nothing.
    """

    shape: tuple[int, ...]
    shared: tuple[int, ...]
    entries: tuple[int, ...]
    leaf: tuple[int, ...]

    @property
    def blocks(self) -> tuple[int, ...]:
        """The axes that count the blocks of an axis that was cut."""
        return tuple(axis - 1 for axis in self.entries)


def cut(shape: tuple[int, ...], sharing: Sharing, axes: LeafAxes) -> Cut:
    """The cut of an array of this shape, with its axes in its own order.

    Args:
      shape: sizes that the blocks divide.
      sharing: what shares a scale.
      axes: what the axes do.

    Example:
      >>> dense = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> cut((8, 3), Group(4), dense)
      Cut(shape=(2, 4, 3), shared=(1,), entries=(1,), leaf=(0, 1, 2))
      >>> cut((8, 3), Channel(), dense)
      Cut(shape=(8, 3), shared=(0,), entries=(), leaf=(0, 1))
    """
    parted: list[int] = []
    shared: list[int] = []
    entries: list[int] = []
    leaf: list[int] = []
    for axis, (length, size) in enumerate(zip(shape, sharing.sizes(shape, axes), strict=True)):
        begin, of_leaf = len(parted), axis not in axes.batch
        parted += [length] if size in (1, length) else [length // size, size]
        end = len(parted)
        shared += [end - 1] if (size == length and of_leaf) or end - begin == 2 else []
        entries += [end - 1] if end - begin == 2 else []
        leaf += range(begin, end) if of_leaf else []
    return Cut(tuple(parted), tuple(shared), tuple(entries), tuple(leaf))


def in_blocks(x: Array, parts: Cut) -> Array:
    """The array in the shape of its cut; blocks that a mesh would cut are gathered."""
    counts = [size for axis, size in enumerate(parts.shape) if axis not in parts.entries]
    sharding = sharding_of(tuple(counts), like=x)
    if sharding is None:
        return x.reshape(parts.shape)
    places = list(sharding.spec)
    for axis in parts.entries:
        places.insert(axis, None)
    in_parts = NamedSharding(sharding.mesh, PartitionSpec(*places))
    return jax.lax.reshape(placed(x, sharding), parts.shape, out_sharding=in_parts)


def as_before(blocks: Array, x: Array) -> Array:
    """What `in_blocks` gave of an array, in that array's own shape and sharding."""
    return jax.lax.reshape(blocks, x.shape, out_sharding=explicit_sharding(x))


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


def _whole(shape: tuple[int, ...], together: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length if axis in together else 1 for axis, length in enumerate(shape))


def _one_or_each(counts: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    return len(counts) == len(sizes) and all(
        count in (1, size) for count, size in zip(counts, sizes, strict=True)
    )
