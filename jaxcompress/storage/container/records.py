"""What the header says of each leaf: its layout, and the sizes of its parts.

A layout says how any number of leaves lie: a part is [coder, dtype], the coder by its
position among the file's coders; a compressed leaf is [kind, fields, {name: layout}].
A leaf adds the shape and the bytes of each of its parts, in the order of the bytes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxcompress.core.messages import shown
from jaxcompress.storage.coders import Coder
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.limits import checked_shape, checked_size, chosen
from jaxcompress.storage.container.parts import Part, declared

_DEEPEST = 4


class Node(NamedTuple):
    """A compressed leaf.

    Attributes:
      kind: a name in `forms.FORMS`.
      fields: what is no array, as JSON.
      children: its parts by name, in the order of their bytes.
    """

    kind: str
    fields: list[Any]
    children: dict[str, "Part | Node"]


Record = Part | Node


def parts(record: Record) -> list[Part]:
    """All parts of a leaf in the order of their bytes."""
    return [part for _, part in named_parts(record)]


def named_parts(record: Record, path: str = "") -> list[tuple[str, Part]]:
    """All parts of a leaf in their bytes' order, by paths such as "left/scale"."""
    if isinstance(record, Part):
        return [(path, record)]
    below = ((f"{path}/{name}".lstrip("/"), child) for name, child in record.children.items())
    return [each for name, child in below for each in named_parts(child, name)]


def with_parts(record: Record, anew: Iterator[Part]) -> Record:
    """The record with other parts, in the order of `parts`."""
    if isinstance(record, Part):
        return next(anew)
    children = {name: with_parts(child, anew) for name, child in record.children.items()}
    return record._replace(children=children)


def layout(record: Record, coders: Sequence[Coder]) -> list[Any]:
    """What leaves of one kind and dtype share, as JSON."""
    if isinstance(record, Part):
        return [coders.index(record.coder), record.dtype]
    children = {name: layout(child, coders) for name, child in record.children.items()}
    return [record.kind, record.fields, children]


def sizes(record: Record) -> list[Any]:
    """What is a leaf's own, as JSON: shape and bytes of each part in turn."""
    return [size for part in parts(record) for size in (list(part.shape), part.size_bytes)]


def from_json(shared: Any, own: list[Any], coders: Sequence[Coder]) -> Record:
    """The record of this layout and these sizes.

    Raises:
      FileError: one is of another kind or out of range, or there are more sizes.
    """
    remaining = iter(own)
    record = _record(shared, remaining, coders, depth=0)
    if any(True for _ in remaining):
        raise contradiction(
            f"{shown(own)} are more sizes than the layout {shown(shared)} has parts"
        )
    return record


def _record(shared, own: Iterator[Any], coders: Sequence[Coder], depth: int) -> Record:
    match shared:
        case [int(coder), str(dtype)]:
            shape, size_bytes = checked_shape(next(own, None)), checked_size(next(own, None))
            return declared(chosen(coders, coder, "coder"), dtype, shape, size_bytes)
        case [str(kind), list(fields), dict(children)] if depth < _DEEPEST:
            below = {
                name: _record(child, own, coders, depth + 1) for name, child in children.items()
            }
            return Node(kind, fields, below)
    raise contradiction(f"{shown(shared)} is not a layout of a leaf")
