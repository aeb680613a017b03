"""What a file holds, leaf by leaf, without decoding it."""

import dataclasses
import os

from jaxcompress.core.report import aligned
from jaxcompress.storage.coders import plain
from jaxcompress.storage.container import archive, codes
from jaxcompress.storage.container.errors import reading


@dataclasses.dataclass(frozen=True)
class StoredLeaf:
    """One leaf of a file.

    Fields:
      name: the leaf's name.
      shape: of the array it stands for.
      dtype: of that array.
      spec: how it is quantized, in words; "" where it is not.
      coder: name of the coder that wrote it.
      size_bytes: its data on disk: coded numbers, scales and zero points.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    spec: str
    coder: str
    size_bytes: int


@dataclasses.dataclass(frozen=True)
class FileReport:
    """What `describe` found. `print` it for a table.

    Fields:
      path: the file.
      size_bytes: the whole file.
      header_bytes: its part that is no leaf's data.
      format_version: of the file format.
      checksum: SHA-256 digits; they match the file.
      metadata: the texts given to `save`.
      leaves: in the tree's order.
    """

    path: str
    size_bytes: int
    header_bytes: int
    format_version: str
    checksum: str
    metadata: dict[str, str]
    leaves: tuple[StoredLeaf, ...]

    def __str__(self) -> str:
        header = ("leaf", "shape", "dtype", "spec", "coder", "bytes")
        rows = [
            (
                leaf.name,
                "×".join(map(str, leaf.shape)) or "()",
                leaf.dtype,
                leaf.spec or "-",
                leaf.coder,
                f"{leaf.size_bytes:,}",
            )
            for leaf in self.leaves
        ]
        ends = [
            ("header", "", "", "", "", f"{self.header_bytes:,}"),
            ("total", "", "", "", "", f"{self.size_bytes:,}"),
        ]
        texts = [f"{name}: {text}" for name, text in self.metadata.items()]
        return "\n".join(
            [
                f"{self.path}, format version {self.format_version}",
                *aligned([header, *rows, *ends]),
                *texts,
                f"checksum ok: sha256 {self.checksum}",
            ]
        )


def describe(path: str | os.PathLike) -> FileReport:
    """What a file that `save` wrote holds; every byte is verified, no leaf is decoded.

    Args:
      path: the file.

    Returns:
      FileReport; its `str` is a table.

    Raises:
      FileError: the file is truncated, altered, foreign, or of a later format.
      OSError: there is no such file.
    """
    opened = archive.verify("describe", path)
    with reading("describe", path):
        leaves = tuple(_stored_leaf(opened, name) for name in opened.records)
    header_bytes = len(opened.header.content)
    return FileReport(
        path=os.fspath(path),
        size_bytes=header_bytes + opened.header.data_bytes,
        header_bytes=header_bytes,
        format_version=archive.FORMAT_VERSION,
        checksum=opened.checksum,
        metadata=opened.metadata,
        leaves=leaves,
    )


def _stored_leaf(opened: archive.Archive, name: str) -> StoredLeaf:
    entry, record = opened.header.entries[name], opened.records[name]
    size_bytes = entry.end - entry.begin
    if record is None:
        return StoredLeaf(name, entry.shape, entry.dtype.name, "", plain.name, size_bytes)
    if record.spec < 0:
        return StoredLeaf(name, record.shape, record.dtype, "", record.coder, size_bytes)
    spec = opened.specs[record.spec]
    shape = codes.logical_shape(record, spec)
    return StoredLeaf(name, shape, record.dtype, str(spec), record.coder, size_bytes)
