"""Reading files of format version 2: each leaf by itself, under a digest of its own."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.core.spec import QuantSpec
from jaxcompress.graph.surgery.removal import Removal, fault_of
from jaxcompress.storage.coders import Coder, plain
from jaxcompress.storage.coders.choice import coder_named
from jaxcompress.storage.container import ahead, digests, forms, memory, packing
from jaxcompress.storage.container.contents import Contents, Leaf, Version, users_texts
from jaxcompress.storage.container.errors import brief, contradiction, within
from jaxcompress.storage.container.header import Entry, Header, in_order
from jaxcompress.storage.container.limits import chosen
from jaxcompress.storage.container.parts import Codes, Part
from jaxcompress.storage.container.plan import RESERVED, VERSION
from jaxcompress.storage.container.records import Record, from_json, named_parts, parts
from jaxcompress.storage.container.references import REFERRING
from jaxcompress.storage.container.safetensors import shaped
from jaxcompress.storage.container.texts import entries_of, one_for_each, read_by


def contents(header: Header) -> Contents:
    """What the header says, under its own digest.

    Raises:
      FileError: the header was altered or contradicts itself.
    """
    texts, entries = header.metadata, header.entries
    digests.check_header(header.content, texts["sha256"])
    coders = [_coder(named) for named in entries_of(texts, "coders")]
    specs = [read_by(QuantSpec.from_json, fields, "spec") for fields in entries_of(texts, "specs")]
    layouts = entries_of(texts, "layouts")
    leaves = {}
    for name, fields in one_for_each(entries, entries_of(texts, "leaves")):
        with within(f"leaf {shown(name)}"):
            leaves[name] = _leaf(name, entries[name], fields, layouts, coders, specs)
    return Contents(
        header,
        VERSION,
        texts["sha256"],
        leaves,
        texts.get("outline", ""),
        users_texts(texts, RESERVED),
        _removals(entries_of(texts, "removed"), leaves),
        _base(texts.get("base", ""), leaves),
    )


def _base(digits: str, leaves: dict[str, Leaf]) -> str:
    """The digest of the file that differences are added to."""
    if digits and not digests.DIGITS.fullmatch(digits):
        raise contradiction(f"the base {shown(digits)}, which is no digest")
    lost = (name for name, leaf in leaves.items() if isinstance(leaf.outlined, REFERRING))
    if not digits and (name := next(lost, None)) is not None:
        raise contradiction(f"leaf {shown(name)} is a difference to no file")
    return digits


def _removals(listed: list[Any], leaves: dict[str, Leaf]) -> tuple[Removal, ...]:
    removals = tuple(read_by(Removal.from_json, fields, "removal") for fields in listed)
    shapes = {name: tuple(leaf.outlined.shape) for name, leaf in leaves.items()}
    if fault := fault_of(removals, shapes):
        raise contradiction(brief(fault, 200))
    return removals


def _coder(named) -> Coder:
    match named:
        case [str(name), int(version)]:
            return coder_named(name, version)
    raise contradiction(f"{shown(named)} is not a name and a version of a coder")


def _leaf(
    name: str, entry: Entry, fields, layouts: list[Any], coders: list[Coder], specs: list[QuantSpec]
) -> Leaf:
    match fields:
        case str(digest):
            return _array(name, entry, digest)
        case [str(digest), position, *own]:
            record = from_json(chosen(layouts, position, "layout"), own, coders)
            _check_bytes(entry, record)
            return _recorded(name, record, specs, digest)
    raise contradiction(f"{shown(fields)} is not a digest and a record")


def _array(name: str, entry: Entry, digest: str) -> Leaf:
    """A leaf that is the container's own array."""
    if entry.dtype == np.bool_:
        raise contradiction("truth values of a byte each, which are packed")
    return Leaf(
        arrays=(name,),
        outlined=jax.ShapeDtypeStruct(entry.shape, entry.dtype),
        dtype=entry.dtype.name,
        coders=(plain.name,),
        free=True,
        restored=lambda data: shaped(data[0], entry),
        digest=digest,
        parts=(("", Part(plain, entry.dtype.name, entry.shape, entry.end - entry.begin)),),
    )


def _recorded(name: str, record: Record, specs: list[QuantSpec], digest: str) -> Leaf:
    outlined = forms.outlined(record, specs)
    if isinstance(outlined, Codes):
        raise contradiction("it is codes without a scale")
    return Leaf(
        arrays=(name,),
        outlined=outlined,
        dtype=record.dtype if isinstance(record, Part) else outlined.dtype.name,
        coders=_coders(record),
        free=False,
        restored=lambda data: forms.restored(record, data[0], specs),
        digest=digest,
        parts=tuple(named_parts(record)),
    )


def _check_bytes(entry: Entry, record: Record) -> None:
    size_bytes = sum(part.size_bytes for part in parts(record))
    if entry.dtype != np.uint8 or entry.shape != (size_bytes,):
        raise contradiction(
            f"is {entry.dtype}{shown(list(entry.shape))} and not the {size_bytes} bytes of its "
            "parts"
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
    wanted, start = set(names), contents.header.begin
    entries = [each for each in in_order(contents.header.entries) if each[0] in wanted]

    def begin(item: tuple[str, Entry]) -> tuple[str, np.ndarray]:
        name, entry = item
        file.seek(start + entry.begin)
        return name, memory.following(file, entry.end - entry.begin)

    def finish(item: tuple[str, np.ndarray]) -> tuple[str, Any]:
        name, data = item
        return name, _restored(name, data, contents.leaves[name])

    # Bytes are read one leaf after the other, verified and decoded by several threads.
    yield from ahead.results(entries, begin, finish, lambda item: item[1].end - item[1].begin)


def verify(file: io.FileIO, contents: Contents) -> None:
    """Checks every leaf's bytes and keeps none."""
    file.seek(contents.header.begin)
    for name, entry in in_order(contents.header.entries):
        leaf = contents.leaves[name]
        if leaf.free:
            digest = digests.LeafDigest()
            memory.pass_by(file, entry.end - entry.begin, digest.seen)
            digests.check_leaf(name, digest, leaf.digest)
        else:
            _restored(name, memory.following(file, entry.end - entry.begin), leaf)


def _restored(name: str, data: np.ndarray, leaf: Leaf):
    digest = digests.LeafDigest()
    digest.seen(data.data)
    digests.check_leaf(name, digest, leaf.digest)
    with within(f"leaf {shown(name)}"):
        return leaf.restored([data])


READER = Version(contents, leaves, verify)
PACKED_READER = Version(
    lambda header: contents(header)._replace(version=packing.VERSION), leaves, verify
)
