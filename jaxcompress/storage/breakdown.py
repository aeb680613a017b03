"""Where the bytes of a file go: numbers, masks, tables, scales, leaf by leaf."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.messages import shown
from jaxcompress.core.report import aligned
from jaxcompress.storage.coders import bitmask, rans
from jaxcompress.storage.coders.rans import table_bytes
from jaxcompress.storage.coders.words import Layout, Words, packed_bytes
from jaxcompress.storage.container import ahead, archive
from jaxcompress.storage.container.contents import Leaf
from jaxcompress.storage.container.errors import FileError, brief, within
from jaxcompress.storage.container.limits import MAX_BYTES
from jaxcompress.storage.container.plan import BY_LEAF
from jaxcompress.storage.sizes import SIDE, entropy_bytes

_WIDEST = 100
"""Characters of a name in the table."""

TABLES = ("codebook",)
"""Parts of a leaf that are looked up; the others in `SIDE` count as scales."""


@dataclasses.dataclass(frozen=True)
class LeafBytes:
    """Where the bytes of one leaf go.

    Attributes:
      name: the leaf's name; "total" of all leaves.
      weights: numbers that it stands for.
      numbers: bytes of codes, or of its numbers where they have no codes.
      masks: bytes that say which numbers are not zero.
      tables: bytes of codebooks, and of what coders need to decode.
      scales: bytes of scales and zero points.
      entropy: the least bytes that a coder of single numbers needs: the order-0 entropy
        of codes or numbers, tables and scales as they are. As in `Size`.
    """

    name: str
    weights: int
    numbers: int
    masks: int
    tables: int
    scales: int
    entropy: int

    @property
    def size_bytes(self) -> int:
        """Of its data on disk."""
        return self.numbers + self.masks + self.tables + self.scales

    @property
    def bits_per_weight(self) -> float:
        """Of its data; NaN of a leaf that stands for no number."""
        return 8 * self.size_bytes / self.weights if self.weights else math.nan


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """Where the bytes of a file go. `print` it for a table.

    Attributes:
      path: the file, or the index of several.
      header_bytes: all that is no leaf's data.
      leaves: in the tree's order.
    """

    path: str
    header_bytes: int
    leaves: tuple[LeafBytes, ...]

    @property
    def total(self) -> LeafBytes:
        """All leaves together, without the header."""
        sums = {
            field.name: sum(getattr(leaf, field.name) for leaf in self.leaves)
            for field in dataclasses.fields(LeafBytes)
            if field.name != "name"
        }
        return LeafBytes("total", **sums)

    @property
    def size_bytes(self) -> int:
        """Of the file, or of all files and their index."""
        return self.header_bytes + self.total.size_bytes

    @property
    def bits_per_weight(self) -> float:
        """Of the file with its header; NaN of a tree without numbers."""
        return 8 * self.size_bytes / self.total.weights if self.total.weights else math.nan

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        header = ("leaf", "weights", "numbers", "masks", "tables", "scales", "bytes", "entropy")
        rows = [_row(brief(leaf.name, _WIDEST), leaf) for leaf in (*self.leaves, self.total)]
        above = ("header", "", "", "", "", "", f"{self.header_bytes:,}", "", "")
        whole = f"{self.size_bytes:,}", "", f"{self.bits_per_weight:.3g}"
        lines = aligned(
            [(*header, "bits/weight"), *rows, above, ("file", "", "", "", "", "", *whole)]
        )
        return "\n".join([self.path, *lines])


def _row(name: str, leaf: LeafBytes) -> tuple[str, ...]:
    parts = (leaf.weights, leaf.numbers, leaf.masks, leaf.tables, leaf.scales)
    counts = [f"{count:,}" for count in (*parts, leaf.size_bytes, leaf.entropy)]
    return (name, *counts, f"{leaf.bits_per_weight:.3g}")


class _Share(NamedTuple):
    """What of a coder's bytes is neither numbers nor scales."""

    masks: int = 0
    tables: int = 0


_SHARES: Mapping[str, Callable[[np.ndarray, Layout], _Share]] = {
    bitmask.name: lambda coded, layout: _Share(masks=packed_bytes(layout.size, 1)),
    rans.name: lambda coded, layout: _Share(tables=table_bytes(coded, layout)),
}
"""By the name of a coder; all bytes of another one are numbers."""


def breakdown(path: str | os.PathLike[Any], *, max_bytes: int = MAX_BYTES) -> Breakdown:
    """Where the bytes of a file go, and how far they are from their entropy.

    Every leaf is verified and decoded, a few at a time in memory.

    Args:
      path: a file of format version 2 or 3 that `save` wrote, or an index of shards.
      max_bytes: what its tree may take in memory, as `load` counts; default 16 GiB.

    Returns:
      Breakdown; its `str` is a table, `report.file_page` a page with bars.

    Raises:
      FileError: the file is truncated, altered, foreign or of another format version,
        or its tree takes more than `max_bytes`.
      TypeError: `path` is no path.
      OSError: there is no such file.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = f"{folder}/model.safetensors"
      ...     pruned = jnp.zeros((100, 100)).at[0].set(1.0)
      ...     size_bytes = jc.storage.save(path, {"kernel": pruned})
      ...     [leaf] = jc.storage.breakdown(path).leaves
      ...     leaf.numbers, leaf.masks, leaf.entropy, round(leaf.bits_per_weight, 2)
      (400, 1250, 101, 1.32)
    """
    check_count("breakdown", "max_bytes", max_bytes)
    with archive.opened("breakdown", path, max_bytes) as found:
        found.check_counted(found.names, max_bytes)
        if found.version not in BY_LEAF:
            raise FileError(
                f"the file has format version {found.version}, whose leaves have no parts. Save "
                "what load gives of it."
            )
        leaves = ahead.results(
            found.names,
            begin=lambda name: (name, found.leaf(name), found.places[name].coded(name)),
            finish=lambda item: _of_leaf(*item),
            size_bytes=lambda name: found.places[name].contents.stored_bytes(name),
        )
        return Breakdown(os.fsdecode(path), found.header_bytes, tuple(leaves))


def _of_leaf(name: str, leaf: Leaf, data: np.ndarray) -> LeafBytes:
    counts = dict.fromkeys(("numbers", "masks", "tables", "scales", "entropy"), 0)
    for path, part in leaf.parts:
        coded, data = np.split(data, [part.size_bytes])
        with within(f"leaf {shown(name)}"):
            values = part.coder.decode(coded, part.layout)
            share = _SHARES.get(part.coder.name, lambda *_: _Share())(coded, part.layout)
        last = path.rpartition("/")[2]
        kind = "tables" if last in TABLES else "scales" if last in SIDE else "numbers"
        counts["masks"] += share.masks
        counts["tables"] += share.tables
        counts[kind] += part.size_bytes - share.masks - share.tables
        counts["entropy"] += entropy_bytes(path, Words(values, part.layout))
    return LeafBytes(name, math.prod(leaf.outlined.shape), **counts)
