"""A module's own constructor fields that hold sizes, found by the shapes they give.

For modules that are dataclasses, as Linen's are; no framework is known here.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jaxcompress.bridges.sizes import Size, SizeReport
from jaxcompress.graph.surgery.removal import Removal


class Entry(NamedTuple):
    """An integer of a field: the whole of it, or one of several."""

    field: str
    index: int


def refit(
    module: Any, removal: Removal, listed: SizeReport, misfits: Callable[[Any], float]
) -> tuple[Any, tuple[Size, ...]]:
    """Changes those integers of a module that make its shapes fit.

    Every integer that equals a size before is changed, since sizes may only do together
    (heads and their joint width). Then each is put back, or changed to another size,
    where that leaves fewer leaves that do not fit, or as many.

    Args:
      module: a dataclass with `clone(**fields)`.
      removal: what went.
      listed: the fields of its layers that no longer fit.
      misfits: of a module, how many of its leaves do not fit; infinite where it cannot
        be built.

    Returns:
      The module and the fields that were changed.
    """
    after: dict[int, list[int]] = {}
    for size, small in _pairs(removal, listed):
        after.setdefault(size, []).append(small)
    before = {
        Entry(field, index): entry
        for field, value in _integers(module).items()
        for index, entry in enumerate(_entries(value))
        if entry in after
    }
    chosen = {place: after[entry][0] for place, entry in before.items()}
    for place, entry in before.items():
        counts = {
            option: misfits(_changed(module, chosen | {place: option}))
            for option in (entry, *after[entry])
        }
        if min(counts.values()) < math.inf:
            chosen[place] = min(counts, key=counts.__getitem__)
    refitted = _changed(module, chosen)
    rows = (
        Size(".", type(module).__name__, field, value, getattr(refitted, field))
        for field, value in _integers(module).items()
    )
    return refitted, tuple(row for row in rows if row.before != row.after)


def _pairs(removal: Removal, listed: SizeReport) -> Iterator[tuple[int, int]]:
    """Sizes before and after, of axes of leaves and of fields."""
    for cut in removal.cuts:
        yield cut.size, cut.size - cut.count
    for size in listed.changed:
        if type(size.before) is int:
            yield size.before, size.after


def _integers(module: Any) -> dict[str, Any]:
    """Fields that are an integer or several."""
    values = {field.name: getattr(module, field.name, None) for field in dataclasses.fields(module)}
    return {
        name: value
        for name, value in values.items()
        if all(type(entry) is int for entry in _entries(value))
    }


def _entries(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _changed(module: Any, chosen: dict[Entry, int]) -> Any:
    fields = {}
    for field, value in _integers(module).items():
        new = tuple(
            chosen.get(Entry(field, index), entry) for index, entry in enumerate(_entries(value))
        )
        fields[field] = type(value)(new) if isinstance(value, tuple | list) else new[0]
    return module.clone(**fields)
