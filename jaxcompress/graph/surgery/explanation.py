"""How couplings read: what differs in numbers alone is told once, with a star."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from jaxcompress.graph.paragraphs import short, wrapped
from jaxcompress.graph.surgery.families import Family, Place

MOST_NAMED = 3
"""Equations of one kind that are named before the rest is only counted."""


def explain(removable: Sequence[Family], whole: Sequence[Family], unused: Sequence[Family]) -> str:
    """Which leaves go together, which axes stay whole and why."""
    families, axes = _count(removable, "family"), _count(whole, "axis")
    lines = [f"{families} of units can go, {axes} must stay whole."]
    for alike in _alike(removable):
        lines += ["", _title(alike)]
        lines += wrapped(_places(alike))
        lines += wrapped(f"reduced by {_reasons(alike, 'reductions')}")
        if alike[0].layers:
            lines.append(f"    each of {alike[0].layers} layers may lose units of its own")
    if whole:
        lines += ["", "Stays whole:"]
        for alike in _grouped(whole, lambda family: tuple(map(_numberless, family.pins))):
            lines += wrapped(f"{_reasons(alike, 'pins')}: {_places(alike)}")
    if unused:
        lines += ["", "Meets no data:"]
        for alike in _alike(unused):
            lines += wrapped(_places(alike))
    return "\n".join(lines)


def _title(alike: Sequence[Family]) -> str:
    name = _starred([family.name for family in alike])
    units = f"{alike[0].size:,} units"
    return f"{name}: {units}" if len(alike) == 1 else f"{name}: {len(alike)} families of {units}"


def _alike(families: Sequence[Family]) -> list[list[Family]]:
    """Families whose places differ in numbers alone."""

    def kind(family):
        places = {(_numberless(place.leaf), place.axis, _lying(place)) for place in family.places}
        return family.size, family.layers, frozenset(places)

    return _grouped(families, kind)


def _places(alike: Sequence[Family]) -> str:
    def kind(place):
        return _numberless(place.leaf), place.axis, _lying(place)

    places = [place for family in alike for place in family.places]
    return ", ".join(
        f"{_starred([place.leaf for place in group])} axis {group[0].axis}{_lying(group[0])}"
        for group in _grouped(places, kind)
    )


def _lying(place: Place) -> str:
    """Where unit 0 lies, unless every unit is just the index of its own number."""
    positions = place.positions
    if positions.shape == (place.size, 1) and (positions[:, 0] == np.arange(place.size)).all():
        return ""
    first, *others = positions[0].tolist()
    steps = set(np.diff(positions[0]).tolist())
    if steps == {1}:
        where = f"{first}:{others[-1] + 1}"
    elif len(others) > 2 and len(steps) == 1:
        where = f"{first}:{others[-1] + 1}:{others[0] - first}"
    else:
        where = ", ".join(map(str, [first, *others[:3]])) + (", …" if len(others) > 3 else "")
    return f" [unit 0: {where}]"


def _reasons(alike: Sequence[Family], field: str) -> str:
    reasons = dict.fromkeys(short(reason) for family in alike for reason in getattr(family, field))
    told = [_starred(group) for group in _grouped(reasons, _numberless)]
    more = len(told) - MOST_NAMED
    return "; ".join(told[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _numberless(text: str) -> str:
    return re.sub(r"\d+", "*", text)


def _starred(texts: Iterable[str]) -> str:
    """Texts that differ in numbers alone as one, with a star where they differ."""
    columns = zip(*(re.split(r"(\d+)", text) for text in texts), strict=True)
    return "".join(column[0] if len(set(column)) == 1 else "*" for column in columns)


def _grouped(items: Iterable[Any], kind: Callable[..., Any]) -> list[list[Any]]:
    """Items of one kind together, in the order in which kinds appear."""
    groups: dict[Any, Any] = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    return list(groups.values())


def _count(things: Sequence[Any], singular: str) -> str:
    plural = {"family": "families", "axis": "axes"}[singular]
    return f"{len(things)} {singular if len(things) == 1 else plural}"
