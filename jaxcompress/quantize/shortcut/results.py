"""What the shortcut tried, and why it kept what it kept."""

import dataclasses
import math
from typing import Any

from jaxcompress.core.report import Report, aligned


@dataclasses.dataclass(frozen=True)
class Trial:
    """One way that was tried.

    Attributes:
      name: what was done, in words.
      error: mean squared error of the outputs on the held-out data, over their mean
        square; inf where outputs are not finite.
      reason: why it is kept or not.
    """

    name: str
    error: float
    reason: str


@dataclasses.dataclass(frozen=True)
class PostTraining:
    """What `post_training` tried and chose; prints as a table.

    Attributes:
      trials: in turn; the first is rounding to nearest.
      chosen: the name of the one whose params were returned, of the least error.
      report: what was done to each leaf in it.
    """

    trials: tuple[Trial, ...]
    chosen: str
    report: Report

    @property
    def error(self) -> float:
        """Of what was chosen, never above that of rounding to nearest."""
        return min(trial.error for trial in self.trials)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values, an infinite error as a word."""
        return dataclasses.asdict(self) | {
            "trials": [
                dataclasses.asdict(trial)
                | {"error": trial.error if math.isfinite(trial.error) else str(trial.error)}
                for trial in self.trials
            ],
            "report": self.report.to_json(),
        }

    def __str__(self) -> str:
        header = ("tried", "held-out error", "")
        rows = [(trial.name, f"{trial.error:.4g}", trial.reason) for trial in self.trials]
        return "\n".join(["post_training", *aligned([header, *rows]), "", str(self.report)])
