"""Sensitivities: how much a metric changes when one part of a model is compressed.

One table for all ways to find them: measured, by second derivatives, by a linear law.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

from jaxcompress.core.report import aligned, signed

Interval = tuple[float, float]


class LeafSensitivity(NamedTuple):
    """What compressing one leaf, or one layer of a scanned leaf, alone changes.

    Attributes:
      name: the leaf; of data, the site that they meet.
      changes: by metric, its figure with this part alone compressed minus that without;
        empty where nothing is known of it.
      reason: why nothing is known, such as that no data reached it or that the spec
        does not fit it; empty for one that is known.
      choice: what it was compressed to, for example "int4 per channel"; of data "data
        as int8 per channel".
      layer: its indices in the scans that slice the leaf; () for a whole leaf.
      intervals: by metric, the ends between which the change lies at `confidence` of
        the table; a metric without one has none here.
    """

    name: str
    changes: Mapping[str, float]
    reason: str = ""
    choice: str = ""
    layer: tuple[int, ...] = ()
    intervals: Mapping[str, Interval] = {}

    @property
    def loss_increase(self) -> float:
        """Of the metric "loss", in its unit; NaN where it is not known."""
        return self.changes.get("loss", math.nan)

    @property
    def accuracy_change(self) -> float:
        """Of accuracy, a fraction, negative is worse; NaN where it is not known."""
        return self.changes.get("accuracy", math.nan)

    @property
    def part(self) -> str:
        """The leaf with its layer: "kernel", "layers[3]"."""
        return self.name + (f"[{', '.join(map(str, self.layer))}]" if self.layer else "")


class Origin(NamedTuple):
    """What a leaf was when its rows were made.

    Attributes:
      digest: of its dtype, shape and values, 12 hex digits.
      axes: the roles of its axes, in words.
    """

    digest: str
    axes: str


@dataclasses.dataclass(frozen=True)
class Sensitivities(Sequence[LeafSensitivity]):
    """Rows of sensitivities, those that are not known first, then the worst; a table.

    Attributes:
      rows: one per part and choice.
      metric: the one that rows are ordered by.
      method: how they were found, in words.
      higher_is_better: the direction of that metric.
      confidence: of all intervals, in (0, 1).
      origins: by leaf what it was, so that `mixed_precision` refuses other params; a
        table made by hand has none.
    """

    rows: tuple[LeafSensitivity, ...]
    metric: str
    method: str
    higher_is_better: bool = False
    confidence: float = 0.95
    origins: Mapping[str, Origin] = dataclasses.field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> LeafSensitivity: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LeafSensitivity, ...]: ...
    def __getitem__(self, index: Any):
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[LeafSensitivity]:
        return iter(self.rows)

    @classmethod
    def ordered(
        cls, rows: Sequence[LeafSensitivity], metric: str, method: str, **fields: Any
    ) -> "Sensitivities":
        """The table of these rows in its order: unknown ones, then the worst."""
        sign = 1 if fields.get("higher_is_better", False) else -1
        known = [row for row in rows if not row.reason]
        known.sort(key=lambda row: sign * row.changes[metric])
        unknown = [row for row in rows if row.reason]
        return cls((*unknown, *known), metric, method, **fields)

    def to_json(self) -> dict[str, Any]:
        """The table as plain values; `from_json` reads them back."""
        rows = [
            {
                **row._asdict(),
                "changes": dict(row.changes),
                "layer": list(row.layer),
                "intervals": {name: list(ends) for name, ends in row.intervals.items()},
            }
            for row in self.rows
        ]
        origins = {name: each._asdict() for name, each in self.origins.items()}
        return vars(self) | {"rows": rows, "origins": origins}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Sensitivities":
        """The table that `to_json` described."""
        rows = tuple(
            LeafSensitivity(
                **{
                    **row,
                    "layer": tuple(row["layer"]),
                    "intervals": {name: tuple(ends) for name, ends in row["intervals"].items()},
                }
            )
            for row in record["rows"]
        )
        origins = {name: Origin(**each) for name, each in record.get("origins", {}).items()}
        return cls(**{**record, "rows": rows, "origins": origins})

    def __str__(self) -> str:
        interval = f"{self.confidence:.0%} interval"
        header = ("leaf", "as", f"change of {self.metric}", interval, "remark")
        cells = [
            (row.part, row.choice, *_figures(row, self.metric), row.reason) for row in self.rows
        ]
        return "\n".join([f"sensitivity, {self.method}", *aligned([header, *cells])])


def _figures(row: LeafSensitivity, metric: str) -> tuple[str, str]:
    change, ends = row.changes.get(metric), row.intervals.get(metric)
    told = "-" if ends is None else " to ".join(signed(end, "+.3g") for end in ends)
    return "-" if change is None else signed(change, "+.4g"), told
