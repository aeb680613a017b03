"""Arrays cut into the blocks that share a scale, as they lie.

Nothing is transposed, which on a CPU would cost more than all that is done with a
weight.
"""

from typing import NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.sharing import Sharing
from jaxcompress.core.sharding import explicit_sharding, placed, sharding_of
from jaxcompress.core.types import Array


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
      >>> cut((8, 3), jc.quantize.int4(group_size=4).sharing, dense)
      Cut(shape=(2, 4, 3), shared=(1,), entries=(1,), leaf=(0, 1, 2))
      >>> cut((8, 3), jc.quantize.int4().sharing, dense)
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
