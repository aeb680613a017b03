"""How a tree lies in the container: records, specs, outline and checksum as texts.

The checksum is the SHA-256 of the whole file in which its own 64 digits are zeros, so
that no byte can change unseen.
"""

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec, from_version_1
from jaxcompress.core.types import PyTree
from jaxcompress.storage.container import factors, leaves, memory, outlines, safetensors
from jaxcompress.storage.container.errors import FileError, reading
from jaxcompress.storage.container.header import Header
from jaxcompress.storage.container.header import read as read_header
from jaxcompress.storage.container.records import Record, from_json, to_json

FORMAT = "jaxcompress"
FORMAT_VERSION = "1"
RESERVED = ("format", "format_version", "leaves", "low_rank", "outline", "sha256", "specs")
"""The texts that are ours; all others are the user's."""

_UNSEALED = "0" * 64


@dataclasses.dataclass(frozen=True)
class Archive:
    """What a file says about its leaves, after its checksum has been verified.

    Fields:
      header: the stored arrays' names, dtypes and shapes, and the texts.
      records: per leaf name, in the tree's order; None where the array
        is the leaf itself.
      specs: the specs that records refer to by position.
      outline: of the tree, "" where names say it all or a template is needed.
      joints: of the low-rank leaves, whose factors are stored as leaves.
    """

    header: Header
    records: dict[str, Record | None]
    specs: tuple[QuantSpec, ...]
    outline: str
    joints: dict[str, factors.Joint]

    @property
    def metadata(self) -> dict[str, str]:
        """The user's texts."""
        texts = self.header.metadata
        return {name: text for name, text in texts.items() if name not in RESERVED}

    @property
    def checksum(self) -> str:
        return self.header.metadata["sha256"]

    def leaves(self, buffers: dict[str, np.ndarray]) -> dict[str, object]:
        """Every leaf of the tree, decoded.

        Args:
          buffers: what `read` gave; it is emptied, so that no leaf is in memory twice
            for longer than its own decoding takes.
        """
        stored = {
            name: leaves.restore(
                safetensors.shaped(buffers.pop(name), self.header.entries[name]),
                record,
                self.specs,
            )
            for name, record in self.records.items()
        }
        return factors.joined(stored, self.joints)


def encode(
    caller: str, tree: PyTree, metadata: Mapping[str, str]
) -> tuple[bytes, list[memoryview]]:
    """The bytes of the file that holds the tree: its header, and its data in order.

    Raises:
      TypeError: a leaf cannot be stored.
      ValueError: a text has a reserved name, or a leaf breaks what its kind promises.
    """
    _check_metadata(caller, metadata)
    named = factors.split(caller, named_leaves(tree))
    specs = tuple(dict.fromkeys(leaf.spec for leaf in named.values() if isinstance(leaf, QTensor)))
    stored = {name: leaves.store(caller, name, leaf, specs) for name, leaf in named.items()}
    texts = dict(metadata) | _texts(tree, [form.record for form in stored.values()], specs)
    arrays = {name: form.array for name, form in stored.items()}
    header, buffers = safetensors.encode(arrays, texts)
    return _with_digest(header, _UNSEALED, _digest(header, buffers)), buffers


def read(caller: str, path: str | os.PathLike) -> tuple[Archive, dict[str, np.ndarray]]:
    """Reads a file that `encode` made once, and verifies every byte that it gives.

    Returns:
      (archive, buffers): the bytes of each stored array, in memory of their own.

    Raises:
      FileError: the file is truncated, altered, foreign, or of a later format.
      OSError: there is no such file.
    """
    buffers: dict[str, np.ndarray] = {}

    def take(file: io.FileIO, header: Header, seen: memory.Seen) -> None:
        buffers.update(safetensors.read_buffers(file, header, seen))

    return _verified(caller, path, take), buffers


def verify(caller: str, path: str | os.PathLike) -> Archive:
    """What `read` gives without the arrays, of which a piece at a time is in memory.

    Raises:
      FileError: the file is truncated, altered, foreign, or of a later format.
      OSError: there is no such file.
    """

    def look(file: io.FileIO, header: Header, seen: memory.Seen) -> None:
        memory.pass_by(file, header.data_bytes, seen)

    return _verified(caller, path, look)


def _verified(
    caller: str,
    path: str | os.PathLike,
    go_on: Callable[[io.FileIO, Header, memory.Seen], None],
) -> Archive:
    with reading(caller, path), open(path, "rb", buffering=0) as file:
        header = read_header(file)
        _check_format(header.metadata)
        sealed = header.metadata["sha256"]
        digest = hashlib.sha256(_with_digest(header.content, sealed, _UNSEALED))
        go_on(file, header, digest.update)
        if digest.hexdigest() != sealed:
            raise FileError("the checksum does not match: the file was altered. Copy it again.")
        return _archive(header)


def _texts(
    tree: PyTree, records: Sequence[Record | None], specs: Sequence[QuantSpec]
) -> dict[str, str]:
    texts = {"format": FORMAT, "format_version": FORMAT_VERSION, "sha256": _UNSEALED}
    listed = [to_json(record) for record in records]
    optional = {
        "specs": _compact([spec.to_json() for spec in specs]) if specs else "",
        "leaves": _compact(listed) if any(listed) else "",
        "outline": outlines.to_text(tree),
        "low_rank": _compact(joints) if (joints := factors.joints(named_leaves(tree))) else "",
    }
    return texts | {name: text for name, text in optional.items() if text}


def _archive(header: Header) -> Archive:
    texts, names = header.metadata, list(header.entries)
    specs = tuple(_spec(fields) for fields in json.loads(texts.get("specs", "[]")))
    listed = json.loads(texts["leaves"]) if "leaves" in texts else [0] * len(names)
    records = map(from_json, listed)
    return Archive(
        header,
        dict(zip(names, records, strict=True)),
        specs,
        texts.get("outline", ""),
        factors.from_json(json.loads(texts.get("low_rank", "{}"))),
    )


def _spec(fields: dict) -> QuantSpec:
    return from_version_1(fields) if "per" in fields else QuantSpec.from_json(fields)


def _check_metadata(caller: str, metadata: Mapping[str, str]) -> None:
    for name, text in metadata.items():
        if name in RESERVED:
            raise ValueError(
                f"{caller}(metadata=...) has the reserved name {name!r}. Choose another."
            )
        if not (isinstance(name, str) and isinstance(text, str)):
            raise TypeError(
                f"{caller}(metadata=...) has {name!r}: {text!r}; names and values are text."
            )


def _check_format(texts: Mapping[str, str]) -> None:
    if texts.get("format") != FORMAT or "sha256" not in texts:
        raise FileError(
            "this is a safetensors file that jaxcompress did not write. Read its arrays with "
            "storage.container.safetensors.read."
        )
    if texts.get("format_version") != FORMAT_VERSION:
        raise FileError(
            f"the file has format version {texts.get('format_version')!r}, this jaxcompress reads "
            f"{FORMAT_VERSION!r}. Update jaxcompress."
        )


def _with_digest(header: bytes, old: str, new: str) -> bytes:
    # Inside a text every quote is escaped, so only the checksum itself looks like this.
    return header.replace(_digest_field(old), _digest_field(new))


def _digest_field(digest: str) -> bytes:
    return f'"sha256":"{digest}"'.encode()


def _digest(header: bytes, buffers: Iterable[memoryview]) -> str:
    digest = hashlib.sha256(header)
    for buffer in buffers:
        digest.update(buffer)
    return digest.hexdigest()


def _compact(fields: list | dict) -> str:
    return json.dumps(fields, separators=(",", ":"))
