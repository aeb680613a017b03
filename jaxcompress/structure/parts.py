"""Residual blocks and layers as parts of a model: which are removed, and the report."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcompress.core.report import aligned, signed
from jaxcompress.structure.widths import least_worth

NO_DATA = "no data reached it, or nothing depends on it"


@dataclasses.dataclass(frozen=True)
class Part:
    """A residual block, or one layer of a stack.

    Attributes:
      name: of the block, or "stack[layer]".
      score: what it is worth; None where that is not known.
      removed: whether it was removed.
      reason: why its score is not known; empty where it is.
    """

    name: str
    score: float | None
    removed: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class DepthReport:
    """The report of a removal of blocks or layers; prints as a table.

    Attributes:
      parts: every block, or every layer of every stack that was asked for.
      refused: scans that are no stack of layers, and why; empty for blocks.
      to_skipped: largest relative difference of the outputs on the batch to those of
        the model that passes the parts by; rounding alone.
    """

    parts: tuple[Part, ...]
    refused: tuple[str, ...]
    to_skipped: float

    @property
    def removed(self) -> tuple[str, ...]:
        """Names of the removed parts."""
        return tuple(part.name for part in self.parts if part.removed)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        rows = [
            (
                part.name,
                "unknown" if part.score is None else signed(part.score, ".3g"),
                "removed" if part.removed else "kept",
                part.reason,
            )
            for part in self.parts
        ]
        difference = (
            f"Relative difference of the outputs: {self.to_skipped:.1e} to the model that "
            "passes the removed parts by."
        )
        refused = [f"No stack of layers: {reason}." for reason in self.refused]
        return "\n".join([*aligned([("part", "score", "", ""), *rows]), difference, *refused])


def parts(
    caller: str, names: Sequence[str], scores: np.ndarray, reached: np.ndarray, count: int
) -> tuple[Part, ...]:
    """The parts, of which those of the lowest known scores are marked as removed.

    Args:
      caller: the verb.
      names: of the parts.
      scores: (parts,) float.
      reached: (parts,) bool, whether a score is known.
      count: how many are removed.

    Raises:
      ValueError: a known score is not finite, or fewer parts than `count` have one.
    """
    known = np.flatnonzero(reached)  # positions of the parts that have a score
    for index in known.tolist():
        if not np.isfinite(scores[index]):
            raise ValueError(
                f"{caller}(importance=...) scores {names[index]!r} as {scores[index]}. Score on "
                "data and params that are finite."
            )
    if count > len(known):
        unknown = ", ".join(name for name, seen in zip(names, reached, strict=True) if not seen)
        raise ValueError(
            f"{caller}(count={count}): {len(known)} of {len(names)} parts have scores, and of "
            f"{unknown} nothing is known: {NO_DATA}. Give data that reach it, or remove fewer."
        )
    gone = set(known[least_worth(scores[known], count)].tolist())
    return tuple(
        Part(
            name,
            float(scores[index]) if reached[index] else None,
            index in gone,
            "" if reached[index] else NO_DATA,
        )
        for index, name in enumerate(names)
    )
