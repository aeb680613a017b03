"""How a tree lies in the container: records, specs, outline and checksum as texts.

The checksum is the SHA-256 of the whole file in which its own 64 digits are zeros, so
that no byte can change unseen.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence

from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import PyTree
from jaxcompress.storage import factors, leaves, outlines, safetensors
from jaxcompress.storage.errors import FileError, reading
from jaxcompress.storage.records import Record, from_json, to_json

FORMAT = "jaxcompress"
FORMAT_VERSION = "1"
RESERVED = ("format", "format_version", "leaves", "low_rank", "outline", "sha256", "specs")
"""The texts that are ours; all others are the user's."""

_UNSEALED = "0" * 64


@dataclasses.dataclass(frozen=True)
class Archive:
    """An open file whose checksum has been verified and whose records have been read.

    Fields:
      container: the arrays and texts.
      records: per leaf name, in the tree's order; None where the array
        is the leaf itself.
      specs: the specs that records refer to by position.
      outline: of the tree, "" where names say it all or a template is needed.
      joints: of the low-rank leaves, whose factors are stored as leaves.
    """

    container: safetensors.Container
    records: dict[str, Record | None]
    specs: tuple[QuantSpec, ...]
    outline: str
    joints: dict[str, factors.Joint]

    @property
    def metadata(self) -> dict[str, str]:
        """The user's texts."""
        texts = self.container.metadata
        return {name: text for name, text in texts.items() if name not in RESERVED}

    @property
    def checksum(self) -> str:
        return self.container.metadata["sha256"]

    def leaf(self, name: str):
        """The named stored leaf, decoded."""
        return leaves.restore(self.container.array(name), self.records[name], self.specs)

    def leaves(self) -> dict[str, object]:
        """Every leaf of the tree, decoded."""
        return factors.joined({name: self.leaf(name) for name in self.records}, self.joints)


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


def read(caller: str, path: str | os.PathLike) -> Archive:
    """Opens a file that `encode` made, and verifies every byte of it.

    Raises:
      FileError: the file is truncated, altered, foreign, or of a later format.
      OSError: there is no such file.
    """
    container = safetensors.read(path, caller)
    with reading(caller, path):
        _check_format(container.metadata)
        _check_digest(container)
        return _archive(container)


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


def _archive(container: safetensors.Container) -> Archive:
    texts, names = container.metadata, list(container.entries)
    specs = tuple(QuantSpec.from_json(fields) for fields in json.loads(texts.get("specs", "[]")))
    listed = json.loads(texts["leaves"]) if "leaves" in texts else [0] * len(names)
    records = map(from_json, listed)
    return Archive(
        container,
        dict(zip(names, records, strict=True)),
        specs,
        texts.get("outline", ""),
        factors.from_json(json.loads(texts.get("low_rank", "{}"))),
    )


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
            "storage.safetensors.read."
        )
    if texts.get("format_version") != FORMAT_VERSION:
        raise FileError(
            f"the file has format version {texts.get('format_version')!r}, this jaxcompress reads "
            f"{FORMAT_VERSION!r}. Update jaxcompress."
        )


def _check_digest(container: safetensors.Container) -> None:
    digest = container.metadata["sha256"]
    unsealed = _with_digest(container.header, digest, _UNSEALED)
    if _digest(unsealed, [container.data.data]) != digest:
        raise FileError("the checksum does not match: the file was altered. Copy it again.")


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
