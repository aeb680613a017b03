"""The header of a safetensors file: what each array is and where it lies, checked.

All its offsets are checked against the size of the file.
"""

import io
import math
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.storage.container import memory
from jaxcompress.storage.container.errors import FileError, within
from jaxcompress.storage.container.limits import (
    HEADER_WEIGHT,
    MAX_BYTES,
    check_total,
    checked_shape,
    checked_size,
)
from jaxcompress.storage.container.texts import check_writable, parsed

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

OTHERS: Mapping[str, np.dtype] = MappingProxyType(
    {
        "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
        "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
        "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
        "C64": np.dtype("<c8"),
    }
)
"""Of files by other writers: names that `save` does not write nor `load` take."""

METADATA = "__metadata__"
LENGTH_BYTES = 8
LARGEST_HEADER = 100_000_000


class Entry(NamedTuple):
    """Where one array lies: bytes `begin` to `end` of what follows the header."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What stands before the arrays' bytes, checked against the size of the file.

    Attributes:
      content: the length and the JSON.
      entries: the arrays by name, in the header's order; they follow without gaps.
      metadata: the texts beside them.
      begin: where in the file the arrays begin.
      size_bytes: all of the file that is no array.
    """

    content: bytes
    entries: dict[str, Entry]
    metadata: dict[str, str]
    begin: int
    size_bytes: int

    @property
    def data_bytes(self) -> int:
        """Bytes of all arrays."""
        return max((entry.end for entry in self.entries.values()), default=0)


def in_order(entries: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """The arrays as they lie in the file."""
    return sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end))


def read(
    file: io.FileIO,
    max_bytes: int = MAX_BYTES,
    counted: int = 0,
    dtypes: Mapping[str, np.dtype] = DTYPES,
) -> Header:
    """The header of a file just opened, after all checks that need no data.

    Args:
      file: just opened.
      max_bytes: refuses a header that counts for more.
      counted: what counts beside it.
      dtypes: those that arrays may have, by name.

    Raises:
      FileError: the file is truncated or foreign, or its header is not valid, claims
        more bytes than there are, or leaves gaps or overlaps.
    """
    size = os.fstat(file.fileno()).st_size
    if size < LENGTH_BYTES + 2:
        raise FileError(f"the file has {size} bytes and no header. Copy it again.")
    start = memory.following(file, LENGTH_BYTES).tobytes()
    length = int.from_bytes(start, "little")
    if length > min(size - LENGTH_BYTES, LARGEST_HEADER):
        raise FileError(
            f"the header claims {length} bytes where {size - LENGTH_BYTES} follow and readers take "
            f"{LARGEST_HEADER}: the file is truncated or not a safetensors file. Copy it again."
        )
    check_total(counted + HEADER_WEIGHT * length, max_bytes)
    content = start + memory.following(file, length).tobytes()
    return of_content(content, size - len(content), dtypes)


def of_content(content: bytes, data_bytes: int, dtypes: Mapping[str, np.dtype] = DTYPES) -> Header:
    """The header that these bytes are, before so many bytes of arrays.

    Raises:
      FileError: it is not valid, or leaves gaps or overlaps.
    """
    fields = _fields(content[LENGTH_BYTES:])
    metadata = _metadata(fields.pop(METADATA, {}))
    entries = {name: _entry(name, field, dtypes) for name, field in fields.items()}
    _check_spans(entries, data_bytes)
    return Header(content, entries, metadata, len(content), len(content))


def _fields(text: bytes) -> dict[Any, Any]:
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise FileError(
            "the header is not JSON in UTF-8: the file is altered or foreign. Copy it again."
        ) from error
    fields = parsed(decoded, "the header")
    if not isinstance(fields, dict):
        raise FileError(
            "the header is not a JSON object: this is not a safetensors file. Pass one that save "
            "wrote."
        )
    return fields


def _metadata(texts) -> dict[str, str]:
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise FileError(f"{METADATA} is not a map from text to text. Write the file again.")
    for name, text in texts.items():
        check_writable(name, METADATA)
        check_writable(text, METADATA)
    return texts


def _entry(name: str, fields, dtypes: Mapping[str, np.dtype]) -> Entry:
    check_writable(name, "the name")
    with within(f"array {shown(name)}"):
        if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
            raise FileError(
                f"is described by {shown(fields)} instead of dtype, shape and data_offsets. "
                "Write the file again."
            )
        code, span = fields["dtype"], fields["data_offsets"]
        if not isinstance(code, str) or code not in dtypes:
            raise FileError(
                f"has the unknown dtype {shown(code)}; known are {', '.join(dtypes)}. "
                "Update jaxcompress."
            )
        dtype, shape = dtypes[code], checked_shape(fields["shape"])
        begin, end = _span(span)
        if math.prod(shape) * dtype.itemsize != end - begin:
            raise FileError(
                f"has shape {shown(shape)} and dtype {dtype}, which do not fill its "
                f"{end - begin} bytes. Write the file again."
            )
        return Entry(dtype, shape, begin, end)


def _span(offsets) -> tuple[int, int]:
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise FileError(f"has data_offsets {shown(offsets)}, not two. Write the file again.")
    begin, end = map(checked_size, offsets)
    if begin > end:
        raise FileError(f"ends at byte {end} before it begins at {begin}. Write the file again.")
    return begin, end


def _check_spans(entries: dict[str, Entry], available: int) -> None:
    end = 0
    for name, entry in in_order(entries):
        if entry.begin != end:
            fault = "overlaps the one before it" if entry.begin < end else "leaves a gap before it"
            raise FileError(
                f"array {shown(name)} begins at byte {entry.begin} and {fault}. Write the file "
                "again."
            )
        end = entry.end
    if end != available:
        raise FileError(
            f"the arrays take {end} bytes and the file holds {available}: it is truncated or was "
            "appended to. Copy it again."
        )
