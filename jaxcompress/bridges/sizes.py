"""Sizes that layers keep in fields beside their arrays, before and after a removal.

Which axes a field describes is in `readings`. No framework is known here.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import aligned
from jaxcompress.core.types import Params
from jaxcompress.graph.surgery.removal import Removal


@dataclasses.dataclass(frozen=True)
class Size:
    """One field of one layer.

    Attributes:
      path: the layer's path, joined by "/"; "." is the model itself.
      layer: the name of its class.
      field: the field's name.
      before, after: its value; an int or a tuple of them, or None for a field that was
        left out.
    """

    path: str
    layer: str
    field: str
    before: Any
    after: Any

    @property
    def name(self) -> str:
        """The field's path, for example "blocks/0/num_heads"."""
        return self.field if self.path == "." else f"{self.path}/{self.field}"


@dataclasses.dataclass(frozen=True)
class SizeReport:
    """The fields that a removal changes; printed, a table.

    Attributes:
      changed: one row per field that no longer fits its layer's arrays.
      left: integers of the user's own classes, above layers that lost units. Whether
        they are sizes cannot be read off.
    """

    changed: tuple[Size, ...]
    left: tuple[Size, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        header = ("path", "layer", "field", "before", "after")
        rows = [
            (row.path, row.layer, row.field, str(row.before), str(row.after))
            for row in self.changed
        ]
        left = [f"Left as they are: {listed(self.left)}."] if self.left else []
        return "\n".join([*aligned([header, *rows]), *left])


def listed(sizes: Iterable[Size]) -> str:
    """The fields and what they hold, in one line."""
    return ", ".join(f"{size.name} = {size.before}" for size in sizes) or "none"


class Extent(NamedTuple):
    """One axis of a leaf: its sizes and which indices go, (size,) or (layers, size)."""

    before: int
    after: int
    gone: np.ndarray

    @property
    def pair(self) -> tuple[int, int]:
        return self.before, self.after


Axes = Mapping[str, tuple[Extent, ...]]
"""The axes of a layer's leaves, by their names within the layer."""

Reading = Callable[[Any, Axes], dict[str, tuple[Any, Any]]]
"""(layer, axes) to (before, after) of the fields that layers of the kind may have.

Axes are counted from the last: layers of a scan stack theirs in front.
"""

Readings = Mapping[type, Reading]


def extents_of(params: Params, removal: Removal) -> dict[str, tuple[Extent, ...]]:
    """The axes of every leaf of the smaller params."""

    def axes(name: str, leaf) -> Iterator[Extent]:
        cuts = {cut.axis: cut for cut in removal.of(name)}
        for axis, size in enumerate(leaf.shape):
            cut = cuts.get(axis)
            yield (
                Extent(cut.size, size, cut.gone)
                if cut
                else Extent(size, size, np.zeros(size, bool))
            )

    return {name: tuple(axes(name, leaf)) for name, leaf in named_leaves(params).items()}


def tuples(axes: tuple[Extent, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes of several axes, before and after."""
    return tuple(axis.before for axis in axes), tuple(axis.after for axis in axes)


def groups_kept(groups: int, axis: Extent) -> int:
    """Groups left after a removal; all of them where those left differ in size."""
    gone = axis.gone.reshape(*axis.gone.shape[:-1], groups, -1)  # (…, groups, size)
    kept = groups - int(gone.all(axis=-1).sum(axis=-1).max())
    return kept if kept and axis.after % kept == 0 else groups


def reading_of(layer: object, readings: Readings) -> Reading | None:
    """The reading of the layer's class, or of the nearest that it inherits from."""
    return next((readings[kind] for kind in type(layer).__mro__ if kind in readings), None)


def changes(path: tuple[Any, ...], layer: object, reading: Reading, axes: Axes) -> list[Size]:
    """The layer's fields that no longer fit.

    A field that did not hold what the leaves say before means something else, and a
    layer that lacks a leaf or an axis is of another make: both are passed over.
    """
    try:
        pairs = reading(layer, axes)
    except (LookupError, ValueError):
        return []
    return [
        Size("/".join(map(str, path)) or ".", type(layer).__name__, field, before, after)
        for field, (before, after) in pairs.items()
        if before != after and hasattr(layer, field) and getattr(layer, field) == before
    ]
