"""Where a value comes from: data, a leaf whose axes are known, or neither."""

import dataclasses
import enum
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxcompress.graph import value_axes
from jaxcompress.graph.value_axes import Shape, ValueAxes


class Leaf(NamedTuple):
    """A leaf of the params by its name, logical shape and dtype."""

    name: str
    shape: Shape
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class Weight:
    """The origin of a value made of leaves whose axes can still be told apart.

    Attributes:
      leaves: one leaf; or several of like axes, side by side along one axis of the
        value, or added or multiplied entry by entry.
      axes: the axes of the value in terms of those of its leaves.
      sliced_by: depths of the enclosing scans that slice the leaves, outermost first.
      as_stored: whether entries are those of the leaves, but for their dtype and a
        factor that all share.
      in_order: whether entries along each axis of the leaves follow one another as
        they do there, whatever the order of the axes.
      side_by_side: whether each entry is of one of several leaves.
    """

    leaves: tuple[Leaf, ...]
    axes: ValueAxes
    sliced_by: tuple[int, ...] = ()
    as_stored: bool = True
    in_order: bool = True
    side_by_side: bool = False

    @property
    def leaf_axes(self) -> frozenset[int]:
        """The axes of the leaves that the value still has."""
        return frozenset(part.axis for axis in self.axes for part in axis if part.axis is not None)

    @property
    def is_spread_vector(self) -> bool:
        """Whether a vector is broadcast along other axes: a bias or a gain."""
        new = any(part.axis is None and part.size > 1 for axis in self.axes for part in axis)
        return new and len(self.leaf_axes) < 2


class Source(enum.Enum):
    """The origin of any other value; of a mixture the first of these that occurs."""

    # The order matters: `mixed` takes the first kind that occurs. What touches data is
    # data, whatever else it is made of.
    DATA = "data"
    PARAMETERS = "parameters, in a form that has lost its axes"
    CONSTANT = "constants"


Origin = Weight | Source


def origin_of_leaf(leaf: Leaf) -> Weight:
    """The origin of the leaf itself."""
    return Weight((leaf,), value_axes.axes_of_leaf(leaf.shape))


def join(first: Origin, second: Origin) -> Origin:
    """The origin of a value that comes from either."""
    if isinstance(first, Weight) and isinstance(second, Weight):
        # Two branches, or a carry before and after a turn, may differ in these alone:
        # the weight is then still one weight, of which less may be promised.
        both = {
            "as_stored": first.as_stored and second.as_stored,
            "in_order": first.in_order and second.in_order,
        }
        first, second = (dataclasses.replace(x, **both) for x in (first, second))
    if first == second:
        return first
    return mixed((first, second))


def mixed(origins: Iterable[Origin]) -> Source:
    """The origin of what is made of values in a way that loses their axes."""
    kinds = {Source.PARAMETERS if isinstance(each, Weight) else each for each in origins}
    return next((kind for kind in Source if kind in kinds), Source.CONSTANT)


def sliced(origin: Origin, depth: int) -> Origin:
    """The origin of a slice along the leading axis, inside the scan at this depth."""
    if not isinstance(origin, Weight):
        return origin
    return dataclasses.replace(origin, axes=origin.axes[1:], sliced_by=(*origin.sliced_by, depth))


def redivided(origin: Origin, shape: Shape) -> Origin:
    """The origin of a value at the size it has inside a shard_map, or outside again."""
    if not isinstance(origin, Weight):
        return origin
    axes = None if origin.side_by_side else value_axes.resized(origin.axes, shape)
    return Source.PARAMETERS if axes is None else dataclasses.replace(origin, axes=axes)
