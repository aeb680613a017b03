"""Reading files of format version 1: one digest of the whole file, records by position.

Nothing writes them any more. A leaf's bytes were its scale, its zero points as one byte
each, and its codes from the lowest on; a low-rank leaf lay in two arrays.
"""

import hashlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.core.packing import WIDTHS
from jaxcompress.core.spec import QuantSpec, from_version_1
from jaxcompress.storage.coders import bitmask, plain
from jaxcompress.storage.coders.words import Layout, packed_bytes, word_dtype
from jaxcompress.storage.container import digests, forms, memory, planes, quantized
from jaxcompress.storage.container.contents import Contents, Leaf, Version, users_texts
from jaxcompress.storage.container.dtypes import (
    PYTHON_TYPES,
    array_layout,
    floating_dtype,
    known_dtype,
)
from jaxcompress.storage.container.errors import FileError, contradiction, within
from jaxcompress.storage.container.header import Entry, Header, in_order
from jaxcompress.storage.container.limits import checked_shape, chosen
from jaxcompress.storage.container.parts import Codes
from jaxcompress.storage.container.safetensors import shaped
from jaxcompress.storage.container.texts import entries_of, one_for_each, parsed, read_by

RESERVED = ("format", "format_version", "leaves", "low_rank", "outline", "sha256", "specs")
_CODERS = {"plain": plain, "bitmask": bitmask}
"""Which in version 1 wrote the same lengths as the first versions of today's."""


class Record(NamedTuple):
    """How to read a leaf that is a run of bytes. Files hold it as a JSON list.

    Attributes:
      coder: name of the coder of its words.
      dtype: of the numbers it stands for, or a name in `PYTHON_TYPES`.
      shape: of its codes in stored order, unpacked; of an array, its shape.
      spec: of a `QTensor`; None of an array.
      order: the `QTensor`'s order.
      blocks: shape of its scale.
    """

    coder: str
    dtype: str
    shape: tuple[int, ...]
    spec: QuantSpec | None = None
    order: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


def contents(header: Header) -> Contents:
    """What the header says, unverified until `leaves` or `verify` reads the file.

    Raises:
      FileError: the header contradicts itself.
    """
    texts, entries = header.metadata, header.entries
    specs = [read_by(_spec, fields, "spec") for fields in entries_of(texts, "specs")]
    listed = entries_of(texts, "leaves") if "leaves" in texts else [0] * len(entries)
    stored = {}
    for name, fields in one_for_each(entries, listed):
        with within(f"leaf {shown(name)}"):
            stored[name] = _leaf(name, entries[name], fields, specs)
    low_rank = parsed(texts.get("low_rank", "{}"), "the text 'low_rank'")
    if not isinstance(low_rank, dict):
        raise contradiction(f"the text 'low_rank' is {shown(low_rank)} and no object")
    users = users_texts(texts, RESERVED)
    leaves = _joined(stored, low_rank)
    return Contents(header, "1", texts["sha256"], leaves, texts.get("outline", ""), users)


def _spec(fields) -> QuantSpec:
    spec = from_version_1(fields)
    if spec.bits not in WIDTHS:
        raise ValueError(f"a spec of {spec.bits} bits, which version 1 did not have")
    return spec


def _leaf(name: str, entry: Entry, fields, specs: list[QuantSpec]) -> Leaf:
    if type(fields) is int and fields == 0:
        struct = jax.ShapeDtypeStruct(entry.shape, entry.dtype)
        free = entry.dtype != np.bool_
        return Leaf(
            (name,), struct, entry.dtype.name, ("plain",), free, lambda data: shaped(data[0], entry)
        )
    record = _record(fields, specs)
    if entry.dtype != np.uint8 or len(entry.shape) != 1:
        raise contradiction(
            f"has a record and is {entry.dtype}{shown(list(entry.shape))}, not bytes"
        )
    spec = record.spec
    if spec is None:
        dtype = known_dtype(PYTHON_TYPES.get(record.dtype, record.dtype))
        struct = jax.ShapeDtypeStruct(record.shape, dtype)
        layout = array_layout(dtype, record.shape)
        restored = lambda data: _array(data[0], record, dtype)  # noqa: E731
    else:
        struct = _outlined(record, spec)
        layout = Layout(spec.bits, record.shape)
        restored = lambda data: _quantized(data[0], record, spec)  # noqa: E731
    least = _CODERS[record.coder].least_bytes(layout)
    if entry.shape[0] < least:
        raise contradiction(f"{entry.shape[0]} bytes where its numbers take {least} or more")
    return Leaf((name,), struct, record.dtype, (record.coder,), False, restored)


def _record(fields, specs: list[QuantSpec]) -> Record:
    match fields:
        case [str(coder), str(dtype), shape]:
            record = Record(coder, dtype, checked_shape(shape))
            if dtype in PYTHON_TYPES and record.shape:
                raise contradiction(
                    f"a {dtype} of shape {shown(record.shape)}, which is one number"
                )
        case [str(coder), str(dtype), shape, spec, list(order), blocks]:
            sizes = checked_shape(shape), chosen(specs, spec, "spec")
            record = Record(coder, dtype, *sizes, tuple(order), checked_shape(blocks))
        case _:
            raise contradiction(f"{shown(fields)} is not a record of a leaf")
    if record.coder not in _CODERS:
        raise contradiction(f"there is no coder {shown(record.coder)}, only {', '.join(_CODERS)}")
    return record


def _array(data: np.ndarray, record: Record, dtype: np.dtype):
    layout = array_layout(dtype, record.shape)
    size, bits = layout.size, layout.bits
    absent = lambda: np.zeros(size, word_dtype(bits))  # noqa: E731
    x = _values(data, record.coder, size, bits, absent).view(dtype).reshape(record.shape)
    return x.item() if record.dtype in PYTHON_TYPES else x


def _outlined(record: Record, spec: QuantSpec):
    structs = {
        "codes": Codes(record.shape, spec.bits),
        "scale": jax.ShapeDtypeStruct(record.blocks, np.float32),
    }
    if not spec.symmetric:
        structs["zero_point"] = Codes(record.blocks, spec.bits)
    return quantized.outlined(structs, spec, floating_dtype(record.dtype), list(record.order))


def _quantized(data: np.ndarray, record: Record, spec: QuantSpec):
    count = math.prod(record.blocks)
    ends = [4 * count, 4 * count + (0 if spec.symmetric else count)]
    if data.size < ends[-1]:
        raise contradiction(f"{count} scales do not fit {data.size} bytes")
    scale, zero, coded = np.split(data, ends)
    zero = None if spec.symmetric else zero.reshape(record.blocks)
    base = np.uint8(spec.lowest % 256 if spec.bits == 8 else 0)

    def absent() -> np.ndarray:
        words = np.empty(record.shape, np.uint8)
        words[...] = quantized.spread_zero(zero, spec, record.shape)
        words += base
        return words.reshape(-1)

    values = _values(coded, record.coder, math.prod(record.shape), spec.bits, absent)
    others = {"scale": scale.view("<f4").reshape(record.blocks)}
    offsets = values.reshape(record.shape) - base
    dtype = floating_dtype(record.dtype)
    return quantized.of_offsets(offsets, zero, others, spec, dtype, record.order)


def _values(
    coded: np.ndarray, coder: str, size: int, bits: int, absent: Callable[[], np.ndarray]
) -> np.ndarray:
    """The words that a coder of version 1 wrote; `absent` gives them all as left out.

    It is asked only once the bytes have shown that there are so many words.
    """
    if coder == "plain":
        return _unpacked(coded, bits, size)
    length = packed_bytes(size, 1)
    if coded.size < length:
        raise contradiction(f"a mask of {size} entries does not fit {coded.size} bytes")
    present = np.unpackbits(coded[:length], count=size, bitorder="little").view(bool)
    others = _unpacked(coded[length:], bits, int(np.count_nonzero(present)))
    values = absent()
    values[present] = others
    return values


def _unpacked(packed: np.ndarray, bits: int, size: int) -> np.ndarray:
    if packed.size != packed_bytes(size, bits):
        raise contradiction(f"{size} words of {bits} bits do not fit {packed.size} bytes")
    return planes.unpack(packed, bits, size) if bits < 8 else packed.view(word_dtype(bits))


def _joined(stored: Mapping[str, Leaf], low_rank: Mapping[str, Any]) -> dict[str, Leaf]:
    """The leaves with the two factors of each low-rank one as one, in their places."""
    owners = {f"{name}/{part}": name for name in low_rank for part in ("left", "right")}
    missing = owners.keys() - stored.keys()
    if missing:
        raise contradiction(f"the factors {shown(sorted(missing))} are not there")
    if twice := low_rank.keys() & stored.keys():
        raise contradiction(f"{shown(min(twice))} is a leaf and the product of two")
    names = dict.fromkeys(owners.get(part, part) for part in stored)
    return {
        name: _product(name, stored, low_rank[name]) if name in low_rank else stored[name]
        for name in names
    }


def _product(name: str, stored: Mapping[str, Leaf], fields) -> Leaf:
    left, right = (stored[f"{name}/{part}"] for part in ("left", "right"))
    with within(f"leaf {shown(name)}"):
        outlined = forms.of_factors(left.outlined, right.outlined, fields)
        if any(factor.dtype in PYTHON_TYPES for factor in (left, right)):
            raise contradiction("a factor is a Python number and no array")

    def restored(data: list[np.ndarray]):
        return forms.of_factors(left.restored(data[:1]), right.restored(data[1:]), fields)

    return Leaf(
        (*left.arrays, *right.arrays),
        outlined,
        outlined.dtype.name,
        tuple(dict.fromkeys((*left.coders, *right.coders))),
        left.free and right.free,
        restored,
    )


def leaves(file: io.FileIO, contents: Contents, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The named leaves, after the whole file was read and verified."""
    wanted = {name: contents.leaves[name] for name in names}
    kept = {array for leaf in wanted.values() for array in leaf.arrays}
    buffers = _verified(file, contents, kept)
    for name, leaf in wanted.items():
        with within(f"leaf {shown(name)}"):
            restored = leaf.restored([buffers.pop(array) for array in leaf.arrays])
        yield name, restored


def verify(file: io.FileIO, contents: Contents) -> None:
    """Checks the whole file and keeps no leaf."""
    checked = (name for name, leaf in contents.leaves.items() if not leaf.free)
    for _ in leaves(file, contents, checked):
        pass


def _verified(file: io.FileIO, contents: Contents, kept: set[str]) -> dict[str, np.ndarray]:
    """The bytes of the kept arrays, under the digest of the whole file."""
    sealed = contents.checksum
    unsealed = digests.unsealed(contents.header.content, sealed)
    digest, buffers = hashlib.sha256(unsealed), {}
    file.seek(contents.header.begin)
    for name, entry in in_order(contents.header.entries):
        if name in kept:
            buffers[name] = memory.following(file, entry.end - entry.begin, digest.update)
        else:
            memory.pass_by(file, entry.end - entry.begin, digest.update)
    if digest.hexdigest() != sealed:
        raise FileError("the checksum does not match: the file was altered. Copy it again.")
    return buffers


READER = Version(contents, leaves, verify)
