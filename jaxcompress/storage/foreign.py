"""Safetensors files of other libraries, and their indices: what they hold.

What `save` wrote is read by `description` and `opening`; here is what those refuse.
"""

import dataclasses
import io
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.core.report import aligned
from jaxcompress.storage.breakdown import Breakdown, LeafBytes
from jaxcompress.storage.coders import plain
from jaxcompress.storage.coders.words import word_dtype
from jaxcompress.storage.container import index, memory
from jaxcompress.storage.container.errors import FileError, brief, contradiction, reading, within
from jaxcompress.storage.container.header import DTYPES, LENGTH_BYTES, OTHERS, Entry, Header
from jaxcompress.storage.container.header import read as read_header
from jaxcompress.storage.container.limits import MAX_BYTES, check_total
from jaxcompress.storage.container.paths import opened, regular
from jaxcompress.storage.container.plan import FORMAT
from jaxcompress.storage.container.safetensors import shaped
from jaxcompress.storage.description import WIDEST, StoredLeaf, cells
from jaxcompress.storage.sizes import entropy_bits

_KNOWN = {**DTYPES, **OTHERS}


class Place(NamedTuple):
    """Where an array lies: its file, where that one's arrays begin, and the entry."""

    path: str
    begin: int
    entry: Entry


@dataclasses.dataclass(frozen=True)
class ForeignFile:
    """What a file, or an index of several, of another library holds.

    Such files have no digests: sizes were checked, and numbers are as they lie there.

    Attributes:
      path: the file, or the index.
      size_bytes: the whole file, or all files with their index.
      header_bytes: the part that is no array's data.
      metadata: the texts beside the arrays.
      leaves: the arrays, in the header's or the index's order.
      places: where each array lies, by name.
      files: how many hold the arrays.
    """

    path: str
    size_bytes: int
    header_bytes: int
    metadata: dict[str, str]
    leaves: tuple[StoredLeaf, ...]
    places: dict[str, Place]
    files: int = 1

    def array(self, caller: str, name: str, max_bytes: int = MAX_BYTES) -> np.ndarray:
        """The numbers of an array, read now; `caller` is who asks, for errors.

        Raises:
          FileError: they take more than `max_bytes`, or a truth value is neither 0
            nor 1.
          OSError: the file is gone.
        """
        place = self.places[name]
        with reading(caller, self.path), within(f"array {shown(name)}"):
            check_total(place.entry.end - place.entry.begin, max_bytes)
            with regular(place.path) as file:
                file.seek(place.begin + place.entry.begin)
                data = memory.following(file, place.entry.end - place.entry.begin)
            return shaped(data, place.entry)

    def breakdown(self, max_bytes: int = MAX_BYTES) -> Breakdown:
        """Where the bytes go, and the entropy of each array; one in memory at a time.

        Raises:
          FileError: an array takes more than `max_bytes`, or is no such array.
          OSError: a file is gone.
        """
        arrays = (self.array("breakdown", leaf.name, max_bytes) for leaf in self.leaves)
        leaves = map(_sized, self.leaves, arrays)
        return Breakdown(self.path, self.header_bytes, tuple(leaves))

    def __str__(self) -> str:
        texts = [
            f"{brief(name, WIDEST)}: {brief(text, 4 * WIDEST)}"
            for name, text in self.metadata.items()
        ]
        several = f", {self.files} files" if self.files > 1 else ""
        ends = [
            ("header", "", "", f"{self.header_bytes:,}"),
            ("total", "", "", f"{self.size_bytes:,}"),
        ]
        rows = [(*cells(leaf)[:3], f"{leaf.size_bytes:,}") for leaf in self.leaves]
        lines = aligned([("array", "shape", "dtype", "bytes"), *rows, *ends])
        return "\n".join([f"{self.path}, safetensors of another library{several}", *lines, *texts])


def foreign(
    caller: str, path: str | os.PathLike[Any], max_bytes: int = MAX_BYTES
) -> ForeignFile | None:
    """What a safetensors file or an index of another library holds.

    Only headers are read.

    Args:
      caller: who asks, for error messages.
      path: the file, or the index of several, which lie beside it.
      max_bytes: what its headers may take in memory, 16 times their size.

    Returns:
      ForeignFile; None where `save` or `save_shards` wrote the file.

    Raises:
      FileError: the file is truncated or no safetensors file, or names files that are
        missing or hold other arrays.
      TypeError: `path` is no path.
      OSError: there is no such file.
    """
    with opened(caller, path) as file:
        start = file.read(LENGTH_BYTES) or b""
        file.seek(0)
        if index.begins(start):
            return _several(os.fsdecode(path), file, max_bytes)
        header = read_header(file, max_bytes, dtypes=_KNOWN)
    if header.metadata.get("format") == FORMAT:
        return None
    name = os.fsdecode(path)
    places = {each: Place(name, header.begin, entry) for each, entry in header.entries.items()}
    return _file(name, [header], header.metadata, places, 0)


def _several(path: str, file: io.FileIO, max_bytes: int) -> ForeignFile | None:
    content = index.content_of(file, max_bytes)
    match index.fields_of(content):
        case {"metadata": {"format": "jaxcompress"}}:
            return None
        case {"weight_map": dict(named), **others}:
            texts = others.get("metadata", {})
        case _:
            raise FileError(
                "this is JSON without a weight_map, so no index of safetensors files. Pass a "
                "safetensors file or its index."
            )
    if not all(isinstance(each, str) for each in named.values()):
        raise contradiction("its weight_map is no map from text to text")
    headers = _headers(sorted(set(named.values())), os.path.dirname(path), max_bytes)
    places = {}
    for name, shard in named.items():
        file_path, header = headers[shard]
        if name not in header.entries:
            raise contradiction(f"array {shown(name)} is not in {shown(shard)}")
        places[name] = Place(file_path, header.begin, header.entries[name])
    metadata = {name: str(text) for name, text in texts.items()} if isinstance(texts, dict) else {}
    every = [header for _, header in headers.values()]
    return _file(path, every, metadata, places, len(content))


def _headers(names: list[str], folder: str, max_bytes: int) -> dict[str, tuple[str, Header]]:
    """By its name the path and the header of each file of an index."""
    found = {}
    for name in names:
        index.check_name(name)
        path = os.path.join(folder, name)
        with within(f"file {shown(name)}"):
            try:
                with regular(path) as file:
                    found[name] = path, read_header(file, max_bytes, dtypes=_KNOWN)
            except OSError as error:
                raise FileError(
                    f"it cannot be opened: {error.strerror}. Copy it beside the index."
                ) from error
    return found


def _file(
    path: str,
    headers: list[Header],
    metadata: Mapping[str, str],
    places: dict[str, Place],
    index_bytes: int,
) -> ForeignFile:
    header_bytes = index_bytes + sum(header.size_bytes for header in headers)
    return ForeignFile(
        path=path,
        size_bytes=header_bytes + sum(header.data_bytes for header in headers),
        header_bytes=header_bytes,
        metadata=dict(metadata),
        leaves=tuple(_leaf(name, place.entry) for name, place in places.items()),
        places=places,
        files=len(headers),
    )


def _leaf(name: str, entry: Entry) -> StoredLeaf:
    size_bytes = entry.end - entry.begin
    return StoredLeaf(name, entry.shape, entry.dtype.name, "", plain.name, size_bytes)


def _sized(leaf: StoredLeaf, array: np.ndarray) -> LeafBytes:
    bits = 8 * min(array.dtype.itemsize, 4 if array.dtype.kind == "c" else 8)
    words = array.reshape(-1).view(word_dtype(bits))
    entropy = math.ceil(entropy_bits(words) / 8) if words.size else 0
    return LeafBytes(leaf.name, array.size, leaf.size_bytes, 0, 0, 0, entropy)
