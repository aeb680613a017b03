"""What an audit found, as plain figures, and a verdict in words."""

import dataclasses
from typing import Any, NamedTuple

from jaxcompress.validate.cards.findings import FAILS, UNDECIDED, Figure, Finding, Result

STRONGER = "Stronger attacks, with shadow models: that one finds nothing is no proof."


class Found(NamedTuple):
    """How many members an attack finds at one false positive rate.

    Attributes:
      rate: of false positives, in (0, 1); what guessing finds.
      true_positives: share of the members found, over targets the mean.
      low: lower end of its interval.
      high: upper end.
    """

    rate: float
    true_positives: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Audit(Result):
    """What an attack's scores give away, on one target model or over several.

    Invariants:
      - Rates and shares are fractions; `found` is in the order of its rates.
      - Over several targets, figures are means and intervals Student's over targets;
        of one target, `found` has exact intervals and the area DeLong's.
      - `curve` has false positive rates from 1 / others up to 1.

    Args:
      targets: models attacked.
      members: examples of a target that it was trained on, the least of all targets.
      others: examples that it never saw, the least of all targets.
      found: members found at each false positive rate.
      auc: area under the ROC curve; 0.5 by guessing.
      auc_interval: (low, high).
      advantage: largest true minus false positive rate, chosen on the same scores:
        above 0 for scores that say nothing, too.
      curve: false and true positive rates, both ascending.
      chance: probability of such scores where membership plays no part, corrected for
        the number of rates and the area.
      confidence: of the intervals.
    """

    targets: int
    members: int
    others: int
    found: tuple[Found, ...]
    auc: float
    auc_interval: tuple[float, float]
    advantage: float
    curve: tuple[tuple[float, ...], tuple[float, ...]]
    chance: float
    confidence: float

    @property
    def accuracy(self) -> float:
        """Balanced accuracy at the best threshold: (1 + advantage) / 2."""
        return (1 + self.advantage) / 2

    @property
    def verdict(self) -> str:
        """Whether the scores tell members apart, in words."""
        least = self.found[0]
        if self.chance >= 1 - self.confidence:
            return (
                f"no better than chance on {self.members} members and {self.others} others"
                f" (p = {self.chance:.2g})"
            )
        return (
            f"tells members apart: finds {100 * least.true_positives:.3g} % of them at"
            f" {100 * least.rate:g} % false positives, area {self.auc:.3f}"
            f" (p = {self.chance:.2g} by chance)"
        )

    def finding(self) -> Finding:
        """For a card: whether this attack finds members; another may find more."""
        caught = self.chance < 1 - self.confidence
        figures = tuple(
            Figure(
                f"members found at {each.rate:.2g} false positives",
                each.true_positives,
                (each.low, each.high),
                self.confidence,
                ".2%",
            )
            for each in self.found
        )
        area = Figure("area under the curve", self.auc, self.auc_interval, self.confidence, ".3f")
        return Finding(
            "membership",
            f"One attack on who was in the training set: {self.verdict}.",
            (*figures, area, Figure("p", self.chance, format=".2g")),
            FAILS if caught else UNDECIDED,
            () if caught else (STRONGER,),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields, the verdict and the accuracy, as plain numbers and words."""
        record = dataclasses.asdict(self)
        return record | {
            "found": [each._asdict() for each in self.found],
            "auc_interval": list(self.auc_interval),
            "curve": [list(axis) for axis in self.curve],
            "accuracy": self.accuracy,
            "verdict": self.verdict,
        }
