"""How rotations read: which leaves rotate together, and why others may not."""

from collections.abc import Sequence
from typing import Any

from jaxcompress.graph.paragraphs import short, wrapped
from jaxcompress.graph.surgery.families import Place

MOST_NAMED = 6
"""Dims of one reason that are named before the rest is only counted."""


def explain(found: Sequence[Any], blocked: Sequence[Any]) -> str:
    """The rotations with their leaves, then the dims that have none by reason."""
    lines = [f"{len(found)} rotations; {len(blocked)} dims have none."]
    for rotation in found:
        what = [f"{rotation.size} × {rotation.size}"]
        what += ["keeps the ones"] * rotation.fixes_ones
        what += [f"one for each of {rotation.layers} layers may differ"] * bool(rotation.layers)
        lines += ["", f"{rotation.name}: {', '.join(what)}", *wrapped(_places(rotation.places))]
        for fold in rotation.folds:
            into = f"scale {fold.scale.leaf} folds into {_places(fold.into)}"
            shifts = f"; {_places(fold.out_of)} divided by it" if fold.out_of else ""
            lines += wrapped(into + shifts)
        if rotation.equal:
            lines += wrapped(
                f"left as they are, since entries are equal: {_places(rotation.equal)}"
            )
    by_reason: dict[str, list[str]] = {}
    for each in blocked:
        by_reason.setdefault(short(each.reason), []).append(each.name)
    if by_reason:
        lines += ["", "None:"]
    for reason, names in by_reason.items():
        more = len(names) - MOST_NAMED
        named = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        lines += wrapped(f"{named}: {reason}")
    return "\n".join(lines)


def _places(places: Sequence[Place]) -> str:
    return ", ".join(f"{place.leaf} axis {place.axis}" for place in places)
