"""Reports: what was done to each leaf and why; values that print as tables."""

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class LeafReport:
    """What a transform did to one leaf.

    Attributes:
      name: the leaf's name.
      shape: its logical shape.
      action: what was done, for example "int8 per channel"; "kept" where nothing was.
      reason: why, for example "not selected" or "axes from the program".
      bytes_before: bytes of its arrays in memory before.
      bytes_after: bytes of its arrays in memory after.
    """

    name: str
    shape: tuple[int, ...]
    action: str
    reason: str
    bytes_before: int
    bytes_after: int

    @property
    def changed(self) -> bool:
        return self.action != KEPT


KEPT = "kept"
"""The action of a leaf that a transform left as it was."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a transform did, one row per leaf in the tree's order; prints as a table."""

    title: str
    leaves: tuple[LeafReport, ...]

    @property
    def bytes_before(self) -> int:
        return sum(leaf.bytes_before for leaf in self.leaves)

    @property
    def bytes_after(self) -> int:
        return sum(leaf.bytes_after for leaf in self.leaves)

    @property
    def kept(self) -> tuple[LeafReport, ...]:
        """The leaves that were not changed, each with its reason."""
        return tuple(leaf for leaf in self.leaves if not leaf.changed)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values; `from_json` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Report":
        """The report that `to_json` described."""
        leaves = tuple(
            LeafReport(**{**leaf, "shape": tuple(leaf["shape"])}) for leaf in fields["leaves"]
        )
        return cls(fields["title"], leaves)

    def __str__(self) -> str:
        header = ("leaf", "shape", "action", "reason", "bytes before", "after")
        rows = [
            (
                leaf.name,
                "×".join(map(str, leaf.shape)) or "()",
                leaf.action,
                leaf.reason,
                f"{leaf.bytes_before:,}",
                f"{leaf.bytes_after:,}",
            )
            for leaf in self.leaves
        ]
        total = ("total", "", "", "", f"{self.bytes_before:,}", f"{self.bytes_after:,}")
        return "\n".join([self.title, *aligned([header, *rows, total])])


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Formats rows as lines of text with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def signed(number: float, form: str) -> str:
    """A number by Python's format specification, its minus sign as wide as a digit.

    Example:
      >>> signed(-0.25, "+.1%"), signed(1234, ",d")
      ('−25.0%', '1,234')
    """
    return format(number, form).replace("-", "−")
