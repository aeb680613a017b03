"""Coders on which the leaves of a file agree, where that makes its header shorter.

Every coder, and every combination of kind, dtypes and coders, is written once. A layout
of its own for a few bytes less of one leaf takes more bytes than it saves.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from jaxcompress.storage.coders import FAST, Coder, plain
from jaxcompress.storage.container.records import Record, layout, with_parts
from jaxcompress.storage.container.stored import Stored, as_bare, by_parts, smaller_form
from jaxcompress.storage.container.texts import compact

Way = tuple[Coder, ...] | None
"""The coder of each part; None where the container's own array is the leaf."""


def settled(
    leaves: Mapping[str, Stored],
    coders: Sequence[Coder],
    file_bytes: Callable[[dict[str, Stored]], int],
) -> dict[str, Stored]:
    """The leaves by those of the coders that make the file smallest.

    Args:
      leaves: each in its smallest form.
      coders: that were weighed.
      file_bytes: leaves -> bytes of their file.
    """
    kept, found = tuple(coders), _alike(leaves)
    fewer = [tuple(other for other in coders if other is not coder) for coder in coders]
    for trial in (*fewer[::-1], FAST):
        among = tuple(coder for coder in trial if coder in kept or coder in FAST)
        each = {name: _restricted(leaf, among) for name, leaf in leaves.items()}
        for other in (each, _alike(each)):
            if file_bytes(other) <= file_bytes(found):
                kept, found = among, other
    return found


def _alike(leaves: Mapping[str, Stored]) -> dict[str, Stored]:
    """The leaves, of each kind in as few ways as pay for themselves."""
    kinds: dict[str, list[str]] = {}
    for name, leaf in leaves.items():
        kinds.setdefault(_kind(leaf), []).append(name)
    found = dict(leaves)
    for kind, names in kinds.items():
        text = len(compact([kind]))  # with its quotes escaped, as in the header
        found |= zip(names, _agreed([leaves[name] for name in names], text), strict=True)
    return found


def _restricted(leaf: Stored, coders: Sequence[Coder]) -> Stored:
    """The leaf in its smallest form by these coders and `plain`."""
    allowed = (plain, *coders)
    options = [[part for part in parts if part.coder in allowed] for parts in leaf.options]
    chosen = [parts[0] for parts in options]
    return smaller_form(by_parts(_record(leaf), leaf.sources, options, chosen))


def _record(leaf: Stored) -> Record:
    """How the leaf lies, or would lie, under a record."""
    return leaf.parts[0] if leaf.record is None else leaf.record


def _kind(leaf: Stored) -> str:
    """The layout of a leaf without its coders."""
    simple = [part._replace(coder=plain) for part in leaf.parts]
    return compact(layout(with_parts(_record(leaf), iter(simple)), [plain]))


def _bytes(leaf: Stored) -> int:
    """Of the leaf and of what the header says of it alone."""
    return leaf.size_bytes + (len(",0,[]") + leaf.text_bytes if leaf.record else 0)


def _way(leaf: Stored) -> Way:
    return None if leaf.record is None else tuple(part.coder for part in leaf.parts)


def _by(leaf: Stored, way: Way) -> Stored | None:
    """The leaf stored this way, None where that was not weighed."""
    if way is None:
        return as_bare(leaf)
    weighed = [{part.coder: part for part in options} for options in leaf.options]
    chosen = [among.get(coder) for coder, among in zip(way, weighed, strict=True)]
    known = [part for part in chosen if part is not None]
    if len(known) < len(chosen):
        return None
    return by_parts(_record(leaf), leaf.sources, leaf.options, known)


def _agreed(leaves: Sequence[Stored], text: int) -> list[Stored]:
    """The leaves of one kind, in as few ways as pay for themselves.

    Args:
      leaves: each in its smallest way.
      text: bytes of a layout in the header.
    """
    ways = list(dict.fromkeys([*map(_way, leaves), None]))
    forms = [{way: form for way in ways if (form := _by(leaf, way))} for leaf in leaves]
    costs = [{way: _bytes(x) for way, x in form.items()} for form in forms]

    def total(among: Sequence[Way]) -> float:
        """Bytes of all leaves and of the layouts; infinite where a leaf has no way."""
        least = [min(cost.get(way, math.inf) for way in among) for cost in costs]
        return sum(least) + text * sum(way is not None for way in among)

    while len(ways) > 1:
        fewer = min(([other for other in ways if other != way] for way in ways), key=total)
        if total(fewer) > total(ways):
            break
        ways = fewer
    chosen = [min(ways, key=lambda way: cost.get(way, math.inf)) for cost in costs]
    return [form[way] for form, way in zip(forms, chosen, strict=True)]
