"""The safetensors container: named arrays and text in one file, nothing executable.

Eight bytes of header length (little-endian), a JSON header, then the arrays' bytes
without gaps. What a tree of leaves makes of it lives in `archive`. Source: the format
description of huggingface/safetensors.
"""

import dataclasses
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.storage.container import disk, memory
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.header import DTYPES as DTYPES
from jaxcompress.storage.container.header import (
    LARGEST_HEADER,
    LENGTH_BYTES,
    METADATA,
    Entry,
    in_order,
)
from jaxcompress.storage.container.header import read as header_of
from jaxcompress.storage.container.paths import checked_path, opened
from jaxcompress.storage.container.texts import as_bytes

_CODES = {dtype.name: code for code, dtype in DTYPES.items()}
NO_TEXT: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Container:
    """A file that was read once; later changes of it change nothing here.

    Attributes:
      entries: the arrays by name, in the header's order.
      metadata: the texts beside them.
      buffers: (n,) uint8 by name, the bytes of each array in memory of their own.
    """

    entries: dict[str, Entry]
    metadata: dict[str, str]
    buffers: dict[str, np.ndarray]

    def array(self, name: str) -> np.ndarray:
        """The named array, read-only.

        Raises:
          FileError: a truth value is neither 0 nor 1.
        """
        x = shaped(self.buffers[name], self.entries[name])
        x.flags.writeable = False
        return x


def shaped(buffer: np.ndarray, entry: Entry) -> np.ndarray:
    """The array whose bytes these are.

    Raises:
      FileError: a truth value is neither 0 nor 1.
    """
    if entry.dtype == np.bool_ and buffer.max(initial=0) > 1:
        raise contradiction(f"a truth value of {buffer.max()}, which is neither 0 nor 1")
    return buffer.view(entry.dtype).reshape(entry.shape)


def holds(dtype: np.dtype) -> bool:
    """True for a dtype that the container has a name for."""
    return dtype.name in _CODES


def placed(structs: Mapping[str, Any], caller: str = "safetensors.write") -> dict[str, Entry]:
    """Where each array lies, by name.

    Wider dtypes come first, so that every array starts at a multiple of its item size.

    Args:
      structs: arrays, or their shapes and dtypes, of a dtype in `DTYPES`.
      caller: who writes, for error messages.

    Raises:
      ValueError: an array has the reserved name, or a dtype that
        the container cannot hold.
    """
    for name, x in structs.items():
        if name == METADATA:
            raise ValueError(f"{caller}: {METADATA!r} is a reserved name. Rename the leaf.")
        if not holds(x.dtype):
            raise ValueError(
                f"{caller}: array {shown(name)} has dtype {x.dtype}, which the container does not "
                f"have. Cast it to one of {', '.join(_CODES)}."
            )
    spans, end = {}, 0
    for name in sorted(structs, key=lambda name: -structs[name].dtype.itemsize):
        begin, end = end, end + structs[name].size * structs[name].dtype.itemsize
        spans[name] = begin, end
    return {
        name: Entry(DTYPES[_CODES[x.dtype.name]], tuple(x.shape), *spans[name])
        for name, x in structs.items()
    }


def header(
    entries: Mapping[str, Entry], metadata: Mapping[str, str], caller: str = "safetensors.write"
) -> bytes:
    """What stands before the arrays' bytes: the length and the JSON.

    Raises:
      ValueError: it is longer than readers take, or has a text that UTF-8 has not.
    """
    fields: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    for name, (dtype, shape, begin, end) in entries.items():
        code = _CODES[dtype.name]
        fields[name] = {"dtype": code, "shape": shape, "data_offsets": (begin, end)}
    text = as_bytes(caller, fields)
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        raise ValueError(
            f"{caller}: names and texts take {len(text)} bytes, and readers take at most "
            f"{LARGEST_HEADER}. Keep long texts in a file of their own."
        )
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def write(
    path: str | os.PathLike[Any],
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
    entries = placed(arrays)
    with disk.replacing("safetensors.write", checked_path("safetensors.write", path)) as file:
        file.write(header(entries, metadata))
        for name, entry in in_order(entries):
            x = np.ascontiguousarray(arrays[name], entry.dtype)
            file.write(x.reshape(-1).view(np.uint8).data)
        return file.tell()


def read(path: str | os.PathLike[Any]) -> Container:
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
    with opened("safetensors.read", path) as file:
        found = header_of(file)
        buffers = {
            name: memory.following(file, entry.end - entry.begin)
            for name, entry in in_order(found.entries)
        }
        return Container(found.entries, found.metadata, buffers)
