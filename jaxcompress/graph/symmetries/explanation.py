"""How rotations read: which leaves rotate together, and why others may not."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from jaxcompress.graph.surgery.families import Place

WIDTH = 110
"""Columns of a report."""
MOST_NAMED = 6
"""Dims of one reason that are named before the rest is only counted."""


def explain(found: Sequence[Any], blocked: Sequence[Any]) -> str:
    """The rotations with their leaves, then the dims that have none by reason."""
    lines = [f"{len(found)} rotations; {len(blocked)} dims have none."]
    for rotation in found:
        what = [f"{rotation.size} × {rotation.size}"]
        what += ["keeps the ones"] * rotation.fixes_ones
        what += [f"one for each of {rotation.layers} layers may differ"] * bool(rotation.layers)
        lines += ["", f"{rotation.name}: {', '.join(what)}", *_wrapped(_places(rotation.places))]
        for fold in rotation.folds:
            into = f"scale {fold.scale.leaf} folds into {_places(fold.into)}"
            shifts = f"; {_places(fold.out_of)} divided by it" if fold.out_of else ""
            lines += _wrapped(into + shifts)
        if rotation.equal:
            lines += _wrapped(
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
        lines += _wrapped(f"{named}: {reason}")
    return "\n".join(lines)


def _places(places: Sequence[Place]) -> str:
    return ", ".join(f"{place.leaf} axis {place.axis}" for place in places)


def short(reason: str) -> str:
    """The reason with file names in place of paths."""
    return re.sub(r"/\S*/(?=[^/\s]+:\d+)", "", reason)


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent="    ",
        subsequent_indent="        ",
        break_long_words=False,
        break_on_hyphens=False,
    )
