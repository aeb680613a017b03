"""The safetensors container: named arrays and text in one file, nothing executable.

Eight bytes of header length (little-endian), a JSON header, then the arrays' bytes
without gaps. What a tree of leaves makes of it lives in `archive`. Source: the format
description of huggingface/safetensors.
"""

import dataclasses
import io
import json
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from jaxcompress.storage.container import disk, memory
from jaxcompress.storage.container.errors import reading
from jaxcompress.storage.container.header import DTYPES as DTYPES
from jaxcompress.storage.container.header import LENGTH_BYTES, METADATA, Entry, Header, in_order
from jaxcompress.storage.container.header import read as read_header

_CODES = {dtype.name: code for code, dtype in DTYPES.items()}
NO_TEXT: Mapping[str, str] = MappingProxyType({})


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
        if name == METADATA:
            raise ValueError(f"safetensors: {METADATA!r} is a reserved name. Rename the leaf.")
        if not holds(x.dtype):
            raise ValueError(
                f"safetensors: array {name!r} has dtype {x.dtype}, which the container does not "
                f"have. Cast it to one of {', '.join(_CODES)}."
            )
    widest_first = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    ends = np.cumsum([arrays[name].nbytes for name in widest_first], dtype=np.int64).tolist()
    spans = dict(zip(widest_first, zip([0, *ends], ends, strict=False), strict=True))
    entries = {
        name: {"dtype": _CODES[x.dtype.name], "shape": x.shape, "data_offsets": spans[name]}
        for name, x in arrays.items()
    }
    fields = ({METADATA: dict(metadata)} if metadata else {}) | entries
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(LENGTH_BYTES, "little") + text
    return header, [_bytes(arrays[name]) for name in widest_first]


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
    for name, entry in in_order(header.entries):
        yield name, memory.following(file, entry.end - entry.begin, seen)


def _bytes(x: np.ndarray) -> memoryview:
    stored = DTYPES[_CODES[x.dtype.name]]
    return np.ascontiguousarray(x, stored).reshape(-1).view(np.uint8).data
