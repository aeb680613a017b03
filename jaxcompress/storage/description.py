"""What a file holds, leaf by leaf."""

import dataclasses
import os
from typing import Any

from jaxcompress.core.checks import check_count
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.hashed import Hashed
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.product import ProductQuantized
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.random_code import RandomCode
from jaxcompress.core.report import aligned
from jaxcompress.core.rotated import Rotated
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.container import archive
from jaxcompress.storage.container.archive import Archive
from jaxcompress.storage.container.contents import Contents
from jaxcompress.storage.container.errors import brief
from jaxcompress.storage.container.limits import MAX_BYTES
from jaxcompress.storage.container.references import Difference, Product, Same, Signs

WIDEST = 100
"""Characters of a text in the table. All rows are as wide as the widest."""


@dataclasses.dataclass(frozen=True)
class StoredLeaf:
    """One leaf of a file.

    Attributes:
      name: the leaf's name.
      shape: of the array it stands for.
      dtype: of that array.
      spec: how it is quantized, factorized or rotated, in words; "" for neither.
      coder: name of the coder that wrote its numbers; of a leaf of several
        parts those of all where they differ.
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
    """What `describe` found. `print` it for a table, which shortens long texts.

    Attributes:
      path: the file.
      size_bytes: the whole file, or all files with their index.
      header_bytes: the part that is no leaf's data.
      format_version: of the file format.
      checksum: SHA-256 digits that name the content: of the header, which has a digest
        of every leaf (in format version 1 of the whole file). All of them match.
      metadata: the texts given to `save`.
      leaves: in the tree's order.
      removals: what was removed from the model before, as `load_removal` gives it.
      files: how many hold the leaves; an index is counted in the bytes alone.
      base: digits of the file that differences are added to, "" where there are none.
    """

    path: str
    size_bytes: int
    header_bytes: int
    format_version: str
    checksum: str
    metadata: dict[str, str]
    leaves: tuple[StoredLeaf, ...]
    removals: tuple[Removal, ...]
    files: int = 1
    base: str = ""

    def __str__(self) -> str:
        texts = [
            f"{brief(name, WIDEST)}: {brief(text, 4 * WIDEST)}"
            for name, text in self.metadata.items()
        ]
        return "\n".join(
            [
                *table(self),
                *(f"removed before: {brief(str(each), 4 * WIDEST)}" for each in self.removals),
                *texts,
                *([f"base: sha256 {self.base}"] if self.base else []),
                f"checksum ok: sha256 {self.checksum}",
            ]
        )


def table(report: FileReport) -> list[str]:
    """The lines of the file and its leaves, long texts shortened."""
    header = ("leaf", "shape", "dtype", "spec", "coder", "bytes")
    rows = [(*cells(leaf), f"{leaf.size_bytes:,}") for leaf in report.leaves]
    ends = [
        ("header", "", "", "", "", f"{report.header_bytes:,}"),
        ("total", "", "", "", "", f"{report.size_bytes:,}"),
    ]
    first = f"{report.path}, format version {report.format_version}"
    first += f", {report.files} files" if report.files > 1 else ""
    return [first, *aligned([header, *rows, *ends])]


def cells(leaf: StoredLeaf) -> tuple[str, str, str, str, str]:
    """Name, shape, dtype, spec and coder of a leaf as tables show them."""
    return (
        brief(leaf.name, WIDEST),
        "×".join(map(str, leaf.shape)) or "()",
        leaf.dtype,
        brief(leaf.spec or "-", WIDEST),
        leaf.coder,
    )


def describe(path: str | os.PathLike[Any], *, max_bytes: int = MAX_BYTES) -> FileReport:
    """What a file that `save` wrote holds; every byte is verified and can be decoded.

    What `load` accepts and refuses it does too, with one leaf in memory at a time.

    Args:
      path: the file, or the index of several.
      max_bytes: what its tree may take in memory, as `load` counts; default 16 GiB.

    Returns:
      FileReport; its `str` is a table.

    Raises:
      FileError: the file is truncated, altered, foreign, of a later format, or its tree
        takes more than `max_bytes`.
      TypeError: `path` is no path.
      OSError: there is no such file.
    """
    check_count("describe", "max_bytes", max_bytes)
    return described("describe", path, max_bytes)


def described(caller: str, path: str | os.PathLike[Any], max_bytes: int) -> FileReport:
    """`describe` for a callable that errors name."""
    with archive.verified(caller, path, max_bytes) as found:
        return report_of(path, found)


def report_of(path: str | os.PathLike[Any], found: Archive) -> FileReport:
    """What the headers say; nothing is read."""
    return FileReport(
        path=os.fsdecode(path),
        size_bytes=found.size_bytes,
        header_bytes=found.header_bytes,
        format_version=found.version,
        checksum=found.checksum,
        metadata=found.metadata,
        leaves=tuple(_stored_leaf(name, found.places[name].contents) for name in found.names),
        removals=found.removals,
        files=len(found.volumes),
        base=found.base,
    )


def _stored_leaf(name: str, contents: Contents) -> StoredLeaf:
    leaf = contents.leaves[name]
    return StoredLeaf(
        name=name,
        shape=tuple(leaf.outlined.shape),
        dtype=leaf.dtype,
        spec=_spec(leaf.outlined),
        coder=", ".join(leaf.coders),
        size_bytes=contents.stored_bytes(name),
    )


_TO_THE_BASE = {
    Same: "same as the base",
    Difference: "difference to the base",
    Signs: "one bit of difference to the base",
}


def _spec(outlined) -> str:
    """The spec of a quantized leaf, or those of what a leaf of several parts holds."""
    if isinstance(outlined, LowRank):
        parts = [_spec(factor) or "plain" for factor in outlined.factors.values()]
        return "low rank: " + " · ".join(parts)
    if isinstance(outlined, Corrected):
        return f"{_spec(outlined.base)} + {_spec(outlined.correction)}"
    if isinstance(outlined, Rotated):
        return f"{_spec(outlined.leaf) or 'plain'}, rotated in blocks of {outlined.block}"
    if isinstance(outlined, Hashed):
        return f"{outlined.buckets} values, hashed"
    if isinstance(outlined, Product):
        return f"difference to the base, {_spec(outlined.factors)}"
    if isinstance(outlined, RandomCode):
        return f"{outlined.blocks} random codes of {outlined.bits} bits"
    if isinstance(outlined, ProductQuantized):
        return outlined.form
    for kind, words in _TO_THE_BASE.items():
        if isinstance(outlined, kind):
            return words
    return str(outlined.spec) if isinstance(outlined, QTensor) else ""
