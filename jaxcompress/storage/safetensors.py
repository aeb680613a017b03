"""The safetensors container: named arrays and text in one file, nothing executable.

Eight bytes of header length (little-endian), a JSON header, then the arrays' bytes
without gaps. What a tree of leaves makes of it lives in `archive`. Source: the format
description of huggingface/safetensors.
"""

import dataclasses
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import ml_dtypes
import numpy as np

from jaxcompress.storage import disk, memory
from jaxcompress.storage.errors import FileError, reading

DTYPES: Mapping[str, np.dtype] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "U8": np.dtype(np.uint8),
        "I8": np.dtype(np.int8),
        "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
        "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
        "U16": np.dtype("<u2"),
        "I16": np.dtype("<i2"),
        "F16": np.dtype("<f2"),
        "BF16": np.dtype(ml_dtypes.bfloat16),
        "U32": np.dtype("<u4"),
        "I32": np.dtype("<i4"),
        "F32": np.dtype("<f4"),
        "U64": np.dtype("<u8"),
        "I64": np.dtype("<i8"),
        "F64": np.dtype("<f8"),
    }
)
"""The container's name of every dtype it can hold."""

_CODES = {dtype.name: code for code, dtype in DTYPES.items()}
_METADATA = "__metadata__"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000
NO_TEXT: Mapping[str, str] = MappingProxyType({})


class Entry(NamedTuple):
    """Where one array lies: bytes `begin` to `end` of what follows the header."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What stands before the arrays' bytes, checked against the size of the file.

    Fields:
      content: the length and the JSON, as they stand in the file.
      entries: the arrays by name, in the header's order; they fill what follows.
      metadata: the texts beside them.
    """

    content: bytes
    entries: dict[str, Entry]
    metadata: dict[str, str]

    @property
    def data_bytes(self) -> int:
        """Bytes of all arrays."""
        return max((entry.end for entry in self.entries.values()), default=0)


@dataclasses.dataclass(frozen=True)
class Container:
    """A file that was read once; later changes of it change nothing here.

    Fields:
      entries: the arrays by name, in the header's order.
      metadata: the texts beside them.
      buffers: (n,) uint8 by name, the bytes of each array in memory of their own.
    """

    entries: dict[str, Entry]
    metadata: dict[str, str]
    buffers: dict[str, np.ndarray]

    def array(self, name: str) -> np.ndarray:
        """The named array, read-only."""
        x = shaped(self.buffers[name], self.entries[name])
        x.flags.writeable = False
        return x


def shaped(buffer: np.ndarray, entry: Entry) -> np.ndarray:
    """The array whose bytes these are."""
    return buffer.view(entry.dtype).reshape(entry.shape)


def holds(dtype: np.dtype) -> bool:
    """True for a dtype that the container has a name for."""
    return dtype.name in _CODES


def encode(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> tuple[bytes, list[memoryview]]:
    """The bytes of a container: its header, and its data in order.

    Wider dtypes come first, so that every array starts at a multiple of its item size.

    Args:
      arrays: by name, of a dtype in `DTYPES`.
      metadata: texts by name.

    Returns:
      (header, buffers).

    Raises:
      ValueError: an array has the reserved name, or a dtype that
        the container cannot hold.
    """
    for name, x in arrays.items():
        if name == _METADATA:
            raise ValueError(f"safetensors: {_METADATA!r} is a reserved name. Rename the leaf.")
        if not holds(x.dtype):
            raise ValueError(
                f"safetensors: array {name!r} has dtype {x.dtype}, which the container does not "
                f"have. Cast it to one of {', '.join(_CODES)}."
            )
    in_order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    ends = np.cumsum([arrays[name].nbytes for name in in_order], dtype=np.int64).tolist()
    spans = dict(zip(in_order, zip([0, *ends], ends, strict=False), strict=True))
    entries = {
        name: {"dtype": _CODES[x.dtype.name], "shape": x.shape, "data_offsets": spans[name]}
        for name, x in arrays.items()
    }
    fields = ({_METADATA: dict(metadata)} if metadata else {}) | entries
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(_LENGTH_BYTES, "little") + text
    return header, [_bytes(arrays[name]) for name in in_order]


def write(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] = NO_TEXT,
) -> int:
    """Writes named arrays to a file, whole or not at all.

    Args:
      path: where; an existing file is replaced.
      arrays: by name, of a dtype in `DTYPES`.
      metadata: texts by name.

    Returns:
      Bytes on disk.

    Raises:
      ValueError: an array has the reserved name, or a dtype that
        the container cannot hold.
    """
    header, buffers = encode(arrays, metadata)
    return disk.replace(path, [header, *buffers])


def read(path: str | os.PathLike) -> Container:
    """Reads a file once and checks all that its header claims.

    Args:
      path: a file that any safetensors writer wrote.

    Returns:
      Container.

    Raises:
      FileError: the file is truncated or foreign, or its header is not valid, claims
        more bytes than there are, or leaves gaps or overlaps.
      OSError: there is no such file.
    """
    with reading("safetensors.read", path), open(path, "rb", buffering=0) as file:
        header = read_header(file)
        buffers = dict(read_buffers(file, header, lambda piece: None))
        return Container(header.entries, header.metadata, buffers)


def read_header(file: io.FileIO) -> Header:
    """The header of an open file, after all checks that need no data.

    Raises:
      FileError: as `read` says.
    """
    size = os.fstat(file.fileno()).st_size
    if size < _LENGTH_BYTES + 2:
        raise FileError(f"the file has {size} bytes and no header. Copy it again.")
    start = memory.following(file, _LENGTH_BYTES, lambda piece: None).tobytes()
    length = int.from_bytes(start, "little")
    if length > min(size - _LENGTH_BYTES, _LARGEST_HEADER):
        raise FileError(
            f"the header claims {length} bytes where {size - _LENGTH_BYTES} follow: the file is "
            "truncated or no safetensors file. Copy it again."
        )
    text = memory.following(file, length, lambda piece: None).tobytes()
    fields = _parse(text)
    metadata = _metadata(fields.pop(_METADATA, {}))
    entries = {name: _entry(name, field) for name, field in fields.items()}
    _check_spans(entries, size - _LENGTH_BYTES - length)
    return Header(start + text, entries, metadata)


def read_buffers(
    file: io.FileIO, header: Header, seen: memory.Seen
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and bytes of each array in the file's order, read when they are asked for.

    Args:
      file: where `read_header` left it.
      header: what that gave.
      seen: is given the bytes of all arrays in order, piece by piece.

    Yields:
      (name, (n,) uint8), in memory of its own.
    """
    for name, entry in _in_order(header.entries):
        yield name, memory.following(file, entry.end - entry.begin, seen)


def _parse(text: bytes) -> dict:
    try:
        fields = json.loads(text.decode(), object_pairs_hook=_unique)
    except FileError:
        raise
    except (ValueError, RecursionError) as error:
        raise FileError(
            f"the header is not JSON ({error}): the file is altered or no safetensors file. Copy "
            "it again."
        ) from error
    if not isinstance(fields, dict):
        raise FileError("the header is not a JSON object: this is no safetensors file.")
    return fields


def _unique(pairs: list[tuple[str, object]]) -> dict:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FileError(f"the header has {twice!r} twice. Write the file again.")
    return fields


def _metadata(texts) -> dict[str, str]:
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise FileError(f"{_METADATA} is not a map from text to text. Write the file again.")
    return texts


def _entry(name: str, fields) -> Entry:
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise FileError(
            f"array {name!r} is described by {fields!r} instead of dtype, shape and data_offsets. "
            "Write the file again."
        )
    if fields["dtype"] not in DTYPES:
        raise FileError(
            f"array {name!r} has the unknown dtype {fields['dtype']!r}; known are "
            f"{', '.join(DTYPES)}."
        )
    dtype, shape, span = DTYPES[fields["dtype"]], fields["shape"], fields["data_offsets"]
    if not (_sizes(shape) and _sizes(span) and len(span) == 2 and span[0] <= span[1]):
        raise FileError(
            f"array {name!r} has shape {shape!r} and data_offsets {span!r}, which are no sizes. "
            "Write the file again."
        )
    if math.prod(shape) * dtype.itemsize != span[1] - span[0]:
        raise FileError(
            f"array {name!r} of shape {tuple(shape)} and dtype {dtype} does not fill its "
            f"{span[1] - span[0]} bytes. Write the file again."
        )
    return Entry(dtype, tuple(shape), *span)


def _sizes(numbers) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)


def _check_spans(entries: dict[str, Entry], available: int) -> None:
    end = 0
    for name, entry in _in_order(entries):
        if entry.begin != end:
            fault = "overlaps the one before it" if entry.begin < end else "leaves a gap before it"
            raise FileError(
                f"array {name!r} begins at byte {entry.begin} and {fault}. Write the file again."
            )
        end = entry.end
    if end != available:
        raise FileError(
            f"the arrays take {end} bytes and the file holds {available}: it is truncated or was "
            "appended to. Copy it again."
        )


def _in_order(entries: dict[str, Entry]) -> list[tuple[str, Entry]]:
    return sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end))


def _bytes(x: np.ndarray) -> memoryview:
    stored = DTYPES[_CODES[x.dtype.name]]
    return np.ascontiguousarray(x, stored).reshape(-1).view(np.uint8).data
