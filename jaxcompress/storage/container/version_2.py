"""Reading files of format version 2: each leaf by itself, under a digest of its own."""

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.coders import Coder, coder_named, plain
from jaxcompress.storage.container import digests, forms, memory
from jaxcompress.storage.container.contents import Contents, Leaf, Version, users_texts
from jaxcompress.storage.container.errors import FileError
from jaxcompress.storage.container.header import Entry, Header, in_order
from jaxcompress.storage.container.parts import Codes, Part
from jaxcompress.storage.container.plan import RESERVED, VERSION
from jaxcompress.storage.container.records import Record, check_sizes, from_json, parts


def contents(header: Header) -> Contents:
    """What the header says, under its own digest.

    Raises:
      FileError: the header was altered.
      ValueError: it contradicts itself.
    """
    texts = header.metadata
    digests.check_header(header.content, texts["sha256"])
    coders = [coder_named(*named) for named in json.loads(texts.get("coders", "[]"))]
    specs = tuple(QuantSpec.from_json(fields) for fields in json.loads(texts.get("specs", "[]")))
    layouts = json.loads(texts.get("layouts", "[]"))
    listed = json.loads(texts.get("leaves", "[]"))
    leaves = {
        name: _leaf(name, entry, _record(name, entry, fields, layouts, coders), specs)
        for (name, entry), fields in zip(header.entries.items(), listed, strict=True)
    }
    users = users_texts(texts, RESERVED)
    return Contents(header, VERSION, texts["sha256"], leaves, texts.get("outline", ""), users)


def _record(name: str, entry: Entry, fields, layouts: list, coders: list[Coder]) -> Record:
    """How a leaf lies in its array; where that is the leaf itself, plainly."""
    match fields:
        case str():
            return Part(plain, entry.dtype.name, entry.shape, entry.end - entry.begin)
        case [str(), int(position), *own]:
            check_sizes([position])
            record = from_json(layouts[position], own, coders)
            _check_bytes(name, entry, record)
            return record
    raise ValueError(f"{fields!r} is not a digest and record of leaf {name!r}")


def _leaf(name: str, entry: Entry, record: Record, specs: tuple) -> Leaf:
    outlined = forms.outlined(record, specs)
    if isinstance(outlined, Codes):
        raise ValueError(f"leaf {name!r} is codes without a scale")
    return Leaf(
        arrays=(name,),
        outlined=outlined,
        dtype=record.dtype if isinstance(record, Part) else outlined.dtype.name,
        coders=_coders(record),
        restored=lambda data: forms.restored(record, data[0], specs),
    )


def _check_bytes(name: str, entry: Entry, record: Record) -> None:
    size_bytes = sum(part.size_bytes for part in parts(record))
    if entry.dtype != np.uint8 or entry.shape != (size_bytes,):
        raise ValueError(
            f"leaf {name!r} is {entry.dtype}{list(entry.shape)} and not the {size_bytes} bytes of "
            "its parts"
        )


def _coders(record: Record) -> tuple[str, ...]:
    """Of a quantized leaf the coder of its codes, of others those of all parts."""
    if isinstance(record, Part):
        return (record.coder.name,)
    main = record.children.get("codes")
    numbers = [main] if main else record.children.values()
    return tuple(dict.fromkeys(name for child in numbers for name in _coders(child)))


def leaves(file: io.FileIO, contents: Contents, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The named leaves as they lie in the file; others are not read."""
    wanted, sealed = set(names), _digests(contents)
    start = len(contents.header.content)
    for name, entry in in_order(contents.header.entries):
        if name in wanted:
            file.seek(start + entry.begin)
            digest = digests.LeafDigest()
            data = memory.following(file, entry.end - entry.begin, digest.seen)
            _check(name, digest.text, sealed[name])
            yield name, contents.leaves[name].restored([data])


def verify(file: io.FileIO, contents: Contents) -> None:
    """Verifies every leaf's bytes and keeps none."""
    sealed = _digests(contents)
    for name, entry in in_order(contents.header.entries):
        digest = digests.LeafDigest()
        memory.pass_by(file, entry.end - entry.begin, digest.seen)
        _check(name, digest.text, sealed[name])


def _digests(contents: Contents) -> dict[str, str]:
    listed = json.loads(contents.header.metadata.get("leaves", "[]"))
    texts = [fields if isinstance(fields, str) else fields[0] for fields in listed]
    return dict(zip(contents.leaves, texts, strict=True))


def _check(name: str, found: str, sealed: str) -> None:
    if found != sealed:
        raise FileError(
            f"the checksum of leaf {name!r} does not match: it was altered. Copy the file again."
        )


READER = Version(contents, leaves, verify)
