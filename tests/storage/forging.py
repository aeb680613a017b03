"""Files with right digests whose texts do not fit their arrays."""

import hashlib
import json
import pathlib

import numpy as np

from jaxcompress.storage.container import digests, safetensors
from jaxcompress.storage.container.header import in_order


def forged_1(path: pathlib.Path, texts: dict, arrays: dict[str, np.ndarray]) -> None:
    """A file of format version 1."""
    content = _content({"format_version": "1"}, texts, arrays)
    digest = hashlib.sha256(content).hexdigest()
    path.write_bytes(content.replace(_field("0" * 64), _field(digest)))


def forged_2(path: pathlib.Path, texts: dict, arrays: dict[str, np.ndarray]) -> None:
    """A file of format version 2; `leaves` are given without their digests."""
    filled = {"coders": [["plain", 1], ["bitmask", 1]], "leaves": [0] * len(arrays)} | texts
    if isinstance(filled["leaves"], list):
        names = [*arrays, *["more"] * len(filled["leaves"])]
        filled["leaves"] = [
            _under_digest(leaf, arrays.get(name, np.zeros(0, np.uint8)))
            for leaf, name in zip(filled["leaves"], names, strict=False)
        ]
    content = _content({"format_version": "2"}, filled, arrays)
    data_bytes = sum(x.nbytes for x in arrays.values())
    header = content[: len(content) - data_bytes]
    path.write_bytes(digests.sealed(header) + content[len(header) :])


def _under_digest(leaf, x: np.ndarray):
    digest = digests.LeafDigest()
    digest.seen(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data)
    if leaf == 0:
        return digest.text
    return [digest.text, *leaf] if isinstance(leaf, list) else leaf


def _content(version: dict, texts: dict, arrays: dict[str, np.ndarray]) -> bytes:
    """Header and data, the digest still zeros."""
    written = {name: json.dumps(value) for name, value in texts.items()}
    fixed = {"format": "jaxcompress", "sha256": "0" * 64} | version
    entries = safetensors.placed(arrays)
    data = b"".join(arrays[name].tobytes() for name, _ in in_order(entries))
    return safetensors.header(entries, fixed | written) + data


def _field(digest: str) -> bytes:
    return f'"sha256":"{digest}"'.encode()
