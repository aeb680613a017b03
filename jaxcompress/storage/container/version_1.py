"""Reading files of format version 1: one digest of the whole file, records by position.

Nothing writes them any more. A leaf's bytes were its scale, its zero points as one byte
each, and its codes from the lowest on; a low-rank leaf lay in two arrays.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.packing import WIDTHS
from jaxcompress.core.spec import QuantSpec, from_version_1
from jaxcompress.storage.coders.words import packed_bytes, word_dtype
from jaxcompress.storage.container import digests, forms, memory, planes, quantized
from jaxcompress.storage.container.arrays import on_device
from jaxcompress.storage.container.contents import Contents, Leaf, Version, users_texts
from jaxcompress.storage.container.dtypes import PYTHON_TYPES, WORD_BITS, known_dtype, word_count
from jaxcompress.storage.container.errors import FileError
from jaxcompress.storage.container.header import Entry, Header, in_order
from jaxcompress.storage.container.parts import Codes
from jaxcompress.storage.container.records import check_sizes

RESERVED = ("format", "format_version", "leaves", "low_rank", "outline", "sha256", "specs")
_CODERS = ("plain", "bitmask")


class Record(NamedTuple):
    """How to read a leaf that is a run of bytes. Files hold it as a JSON list.

    Attributes:
      coder: name of the coder of its words.
      dtype: of the numbers it stands for, or a name in `PYTHON_TYPES`.
      shape: of its codes in stored order, unpacked; of an array, its shape.
      spec: position of a `QTensor`'s spec in the file's list; an array has none.
      order: the `QTensor`'s order.
      blocks: shape of its scale.
    """

    coder: str
    dtype: str
    shape: tuple[int, ...]
    spec: int = -1
    order: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


def contents(header: Header) -> Contents:
    """What the header says, unverified until `leaves` or `verify` reads the file.

    Raises:
      ValueError: the header contradicts itself.
    """
    texts, entries = header.metadata, header.entries
    specs = tuple(_spec(fields) for fields in json.loads(texts.get("specs", "[]")))
    listed = json.loads(texts["leaves"]) if "leaves" in texts else [0] * len(entries)
    stored = {
        name: _leaf(name, entry, _record(fields), specs)
        for (name, entry), fields in zip(entries.items(), listed, strict=True)
    }
    leaves = _joined(stored, json.loads(texts.get("low_rank", "{}")))
    users = users_texts(texts, RESERVED)
    return Contents(header, "1", texts["sha256"], leaves, texts.get("outline", ""), users)


def _spec(fields) -> QuantSpec:
    spec = from_version_1(fields)
    if spec.bits not in WIDTHS:
        raise ValueError(f"a spec of {spec.bits} bits, which version 1 did not have")
    return spec


def _record(fields) -> Record | None:
    if fields == 0:
        return None
    if len(fields) not in (3, 6):
        raise ValueError(f"{fields} is not a record of a leaf")
    coder, dtype, shape, spec, order, blocks = [*fields, *Record._field_defaults.values()][:6]
    check_sizes([*shape, *blocks, *([spec] if len(fields) == 6 else [])])
    if coder not in _CODERS:
        raise ValueError(f"there is no coder {coder!r}, only {', '.join(_CODERS)}")
    known_dtype(PYTHON_TYPES.get(dtype, dtype))
    return Record(coder, dtype, tuple(shape), spec, tuple(order), tuple(blocks))


def _leaf(name: str, entry: Entry, record: Record | None, specs: tuple) -> Leaf:
    if record is None:
        struct = jax.ShapeDtypeStruct(entry.shape, entry.dtype)
        return Leaf(
            (name,),
            struct,
            entry.dtype.name,
            ("plain",),
            lambda data: on_device(data[0].view(entry.dtype).reshape(entry.shape)),
        )
    if entry.dtype != np.uint8 or len(entry.shape) != 1:
        raise ValueError(f"a leaf with a record is {entry.dtype}{list(entry.shape)}, not bytes")
    if record.spec < 0:
        dtype = known_dtype(PYTHON_TYPES.get(record.dtype, record.dtype))
        struct = jax.ShapeDtypeStruct(record.shape, dtype)
        restored = lambda data: _array(data[0], record, dtype)  # noqa: E731
    else:
        spec = specs[record.spec]
        struct = _outlined(record, spec)
        restored = lambda data: _quantized(data[0], record, spec)  # noqa: E731
    return Leaf((name,), struct, record.dtype, (record.coder,), restored)


def _array(data: np.ndarray, record: Record, dtype: np.dtype):
    size, bits = word_count(dtype, math.prod(record.shape)), WORD_BITS[dtype.name]
    values = _values(data, record.coder, size, bits, lambda: word_dtype(bits).type(0))
    x = values.view(dtype).reshape(record.shape)
    return x.item() if record.dtype in PYTHON_TYPES else on_device(x)


def _outlined(record: Record, spec: QuantSpec):
    structs = {
        "codes": Codes(record.shape, spec.bits),
        "scale": jax.ShapeDtypeStruct(record.blocks, np.float32),
    }
    if not spec.symmetric:
        structs["zero_point"] = Codes(record.blocks, spec.bits)
    return quantized.outlined(structs, spec, *_statics(record))


def _statics(record: Record) -> tuple:
    return known_dtype(record.dtype), forms.checked_order(record.order, len(record.shape))


def _quantized(data: np.ndarray, record: Record, spec: QuantSpec):
    count = math.prod(record.blocks)
    ends = [4 * count, 4 * count + (0 if spec.symmetric else count)]
    if data.size < ends[-1]:
        raise ValueError(f"{count} scales do not fit {data.size} bytes")
    scale, zero, coded = np.split(data, ends)
    zero = None if spec.symmetric else zero.reshape(record.blocks)
    base = np.uint8(spec.lowest % 256 if spec.bits == 8 else 0)

    def absent() -> np.ndarray:
        words = quantized.spread_zero(zero, spec, record.shape) + base
        return np.broadcast_to(words, record.shape).reshape(-1)

    values = _values(coded, record.coder, math.prod(record.shape), spec.bits, absent)
    others = {"scale": scale.view("<f4").reshape(record.blocks)}
    offsets = values.reshape(record.shape) - base
    return quantized.of_offsets(offsets, zero, others, spec, *_statics(record))


def _values(
    coded: np.ndarray, coder: str, size: int, bits: int, absent: Callable[[], np.ndarray]
) -> np.ndarray:
    """The words that a coder of version 1 wrote; `absent` gives those a mask left out.

    It is asked only once the bytes have shown that there are so many words.
    """
    if coder == "plain":
        return _unpacked(coded, bits, size)
    length = packed_bytes(size, 1)
    if coded.size < length:
        raise ValueError(f"a mask of {size} entries does not fit {coded.size} bytes")
    present = np.unpackbits(coded[:length], count=size, bitorder="little").view(bool)
    others = _unpacked(coded[length:], bits, int(np.count_nonzero(present)))
    values = np.full(size, absent(), word_dtype(bits))
    values[present] = others
    return values


def _unpacked(packed: np.ndarray, bits: int, size: int) -> np.ndarray:
    if packed.size != packed_bytes(size, bits):
        raise ValueError(f"{size} words of {bits} bits do not fit {packed.size} bytes")
    return planes.unpack(packed, bits, size) if bits < 8 else packed.view(word_dtype(bits))


def _joined(stored: Mapping[str, Leaf], low_rank: Mapping[str, list]) -> dict[str, Leaf]:
    """The leaves with the two factors of each low-rank one as one, in their places."""
    owners = {f"{name}/{part}": name for name in dict(low_rank) for part in ("left", "right")}
    missing = owners.keys() - stored.keys()
    if missing:
        raise ValueError(f"the factors {', '.join(sorted(missing))} are not there")
    names = dict.fromkeys(owners.get(part, part) for part in stored)
    return {
        name: _product(name, stored, low_rank[name]) if name in low_rank else stored[name]
        for name in names
    }


def _product(name: str, stored: Mapping[str, Leaf], fields: list) -> Leaf:
    dtype, order, output_ndim = fields
    check_sizes([output_ndim])
    left, right = (stored[f"{name}/{part}"] for part in ("left", "right"))

    def built(left_factor, right_factor):
        return forms.product(left_factor, right_factor, known_dtype(dtype), order, output_ndim)

    return Leaf(
        (*left.arrays, *right.arrays),
        built(left.outlined, right.outlined),
        dtype,
        tuple(dict.fromkeys((*left.coders, *right.coders))),
        lambda data: built(left.restored(data[:1]), right.restored(data[1:])),
    )


def leaves(file: io.FileIO, contents: Contents, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The named leaves, after the whole file was read and verified."""
    wanted = {name: contents.leaves[name] for name in names}
    kept = {array for leaf in wanted.values() for array in leaf.arrays}
    buffers = _verified(file, contents, kept)
    for name, leaf in wanted.items():
        yield name, leaf.restored([buffers.pop(array) for array in leaf.arrays])


def verify(file: io.FileIO, contents: Contents) -> None:
    """Verifies the whole file and keeps no leaf."""
    _verified(file, contents, set())


def _verified(file: io.FileIO, contents: Contents, kept: set[str]) -> dict[str, np.ndarray]:
    """The bytes of the kept arrays, under the digest of the whole file."""
    sealed = contents.checksum
    unsealed = digests.unsealed(contents.header.content, sealed)
    digest, buffers = hashlib.sha256(unsealed), {}
    for name, entry in in_order(contents.header.entries):
        if name in kept:
            buffers[name] = memory.following(file, entry.end - entry.begin, digest.update)
        else:
            memory.pass_by(file, entry.end - entry.begin, digest.update)
    if digest.hexdigest() != sealed:
        raise FileError("the checksum does not match: the file was altered. Copy it again.")
    return buffers


READER = Version(contents, leaves, verify)
