"""What a card speaks of: models by their file's digest, data by their fingerprint."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_path, check_text
from jaxcompress.core.names import leaf_name
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import PyTree
from jaxcompress.validate.cards.findings import record_of

_BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """A model that was tested.

    Args:
      name: by which findings speak of it.
      sha256: digest of its file, 64 hexadecimal digits; empty where there is no file.
      size_bytes: of that file; None where there is none.
    """

    name: str
    sha256: str = ""
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        _check_name("ModelRecord", self.name)
        _check_digest("ModelRecord", "sha256", self.sha256)
        if self.size_bytes is not None:
            check_count("ModelRecord", "size_bytes", self.size_bytes, least=0)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values; `from_json` reads them back exactly."""
        size = None if self.size_bytes is None else int(self.size_bytes)
        return dataclasses.asdict(self) | {"size_bytes": size}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "ModelRecord":
        """The model that `to_json` described."""
        return cls(**record_of(cls, record))


@dataclasses.dataclass(frozen=True)
class DataRecord:
    """A set of examples that something was tested on.

    Args:
      name: by which findings speak of it.
      n: number of examples, at least 1.
      fingerprint: of the examples in their order, see `fingerprint`; empty where it was
        not taken.
      origin: where the examples come from and how they were split off, in words.
    """

    name: str
    n: int
    fingerprint: str = ""
    origin: str = ""

    def __post_init__(self) -> None:
        _check_name("DataRecord", self.name)
        check_count("DataRecord", "n", self.n)
        _check_digest("DataRecord", "fingerprint", self.fingerprint)
        check_text("DataRecord", "origin", self.origin)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values; `from_json` reads them back exactly."""
        return dataclasses.asdict(self) | {"n": int(self.n)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "DataRecord":
        """The data that `to_json` described."""
        return cls(**record_of(cls, record))


def model_record(name: str, path: str | os.PathLike[Any]) -> ModelRecord:
    """A model by the file that holds it: its SHA-256 and its size.

    Args:
      name: by which findings speak of it.
      path: of the file; it is read once, in blocks.

    Returns:
      The model, for a card.

    Raises:
      TypeError: `name` is no text, or `path` no path.
      OSError: the file cannot be read.

    Example:
      >>> import tempfile
      >>> with tempfile.NamedTemporaryFile() as file:
      ...     jc.validate.cards.model_record("dense", file.name).size_bytes
      0
    """
    _check_name("model_record", name)
    check_path("model_record", "path", path)
    digest, size = hashlib.sha256(), 0
    with pathlib.Path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return ModelRecord(name, digest.hexdigest(), size)


def data_record(name: str, examples: PyTree, *, origin: str = "") -> DataRecord:
    """A set of examples by their number and their fingerprint.

    Args:
      name: by which findings speak of it.
      examples: array, or tree of arrays such as (inputs, labels), with first axis n.
      origin: where the examples come from and how they were split off, in words.

    Returns:
      The data, for a card.

    Raises:
      TypeError: `examples` are no arrays, or a text is none.
      ValueError: there is no example, or arrays disagree on how many there are.

    Example:
      >>> data = jc.validate.cards.data_record("test", (np.eye(3), np.ones(3)))
      >>> data.n, data.fingerprint[:8]
      (3, 'a6f712a3')
    """
    _check_name("data_record", name)
    check_text("data_record", "origin", origin)
    digest = _fingerprint("data_record", examples)
    return DataRecord(name, len(jax.tree.leaves(examples)[0]), digest, origin)


def fingerprint(examples: PyTree) -> str:
    """The SHA-256 of examples in their order: of names, dtypes, shapes and bytes.

    Args:
      examples: array, or tree of arrays, with first axis n, at least 1.

    Returns:
      64 hexadecimal digits, the same on every machine of one byte order.

    Raises:
      TypeError: `examples` are no arrays.
      ValueError: there is no example, or arrays disagree on how many there are.

    Example:
      >>> jc.validate.cards.fingerprint(np.eye(3))[:8]
      '04086ab1'
    """
    return _fingerprint("fingerprint", examples)


def _fingerprint(caller: str, examples: PyTree) -> str:
    check_concrete(caller, examples=examples)
    check_arrays(caller, "examples", examples)
    leaves = jax.tree_util.tree_leaves_with_path(examples)
    counts = {np.shape(leaf)[:1] for _, leaf in leaves}
    if len(counts) != 1 or not all(counts) or (0,) in counts:
        found = ", ".join(str(np.shape(leaf)) for _, leaf in leaves[:4]) or "no array"
        raise ValueError(
            f"{caller}(examples) needs arrays with one first axis of 1 or more, not {found}."
        )
    digest = hashlib.sha256()
    for path, leaf in leaves:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{leaf_name(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_name(caller: str, name: object) -> None:
    check_text(caller, "name", name)
    if not str(name).strip():
        raise ValueError(f"{caller}(name={name!r}) must not be empty; findings speak of it.")


def _check_digest(caller: str, argument: str, digest: object) -> None:
    check_text(caller, argument, digest)
    if digest and (len(str(digest)) != 64 or set(str(digest)) - set("0123456789abcdef")):
        raise ValueError(
            f"{caller}({argument}={digest!r}) must be 64 hexadecimal digits, or empty."
        )
