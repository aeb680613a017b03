"""The plan of a removal, as a value and as a table."""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.report import aligned, signed
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.structure.widths import (
    Totals,
)

MOST_SHOWN = 8
"""Units of a family that a table names."""


@dataclasses.dataclass(frozen=True)
class FamilyPlan:
    """What one family would lose.

    Attributes:
      name: the family's name.
      units: how many it has.
      kept: how many stay, in each layer.
      layers: layers of a scan that lose units of their own; 0 for none.
      removed: indices of the removed units, ascending; per layer where layers differ.
      scores: of all units, per layer where layers differ; empty where nothing is known
        of them.
      parameters_saved: numbers in leaves, if this family alone were narrower.
      macs_saved: multiply-adds, if this family alone were narrower.
      reason: why it keeps all units whatever the amount: no data reached them, the
        importance does not look at their leaves, or the cut allows no smaller width;
        empty where it could lose some.
    """

    name: str
    units: int
    kept: int
    layers: int
    removed: tuple[Any, ...]
    scores: tuple[Any, ...]
    parameters_saved: int
    macs_saved: int
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class RemovalPlan:
    """The plan of a removal; prints as a table.

    Attributes:
      families: one row per family that was asked for.
      removal: what would be removed.
      before, after: what the model holds and costs; multiply-adds of one call.
    """

    families: tuple[FamilyPlan, ...]
    removal: Removal
    before: Totals
    after: Totals

    def __str__(self) -> str:
        header = ("family", "units", "kept", "scores", "removed", "saves parameters", "macs")
        rows = [
            (
                row.name,
                f"{row.layers} × {row.units}" if row.layers else f"{row.units}",
                f"{row.kept}",
                _range(row.scores) if row.scores else "none",
                _listed(row.removed),
                f"{row.parameters_saved:,}",
                f"{row.macs_saved:,}",
            )
            for row in self.families
        ]
        before, after = dataclasses.asdict(self.before), dataclasses.asdict(self.after)
        totals = [
            f"{name}: {before[name]:,} to {after[name]:,} ({after[name] / before[name]:.1%})"
            for name in before
        ]
        whole: dict[str, list[str]] = {}
        for row in self.families:
            whole.setdefault(row.reason, []).append(row.name)
        notes = [f"Whole, since {why}: {', '.join(names)}." for why, names in whole.items() if why]
        return "\n".join([*aligned([header, *rows]), *totals, *notes])


def _range(scores: Any) -> str:
    return " … ".join(signed(end, ".3g") for end in (np.min(scores), np.max(scores)))


def _listed(removed: tuple[Any, ...]) -> str:
    """The removed units, the first few by number."""
    rows = np.atleast_2d(np.asarray(removed, int))
    if not rows.size:
        return "none"
    if len(rows) > 1:
        return f"{rows.shape[1]} in each layer"
    shown = " ".join(map(str, rows[0][:MOST_SHOWN]))
    return shown if rows.size <= MOST_SHOWN else f"{shown} … ({rows.size})"
