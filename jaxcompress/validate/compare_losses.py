"""Paired comparison of two models by a loss of any kind."""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_kind
from jaxcompress.validate.cards.findings import Figure, Finding
from jaxcompress.validate.intervals import bootstrap_interval, check_confidence
from jaxcompress.validate.results import Evaluation, Losses


@dataclasses.dataclass(frozen=True)
class LossComparison:
    """How a candidate's losses differ from a reference's on the same examples.

    Invariants:
      - Differences are candidate minus reference, in the unit of the loss: above 0 is
        worse.

    Args:
      n: examples compared.
      difference: of the mean losses.
      interval: (low, high), paired bootstrap.
      confidence: of the interval.
    """

    n: int
    difference: float
    interval: tuple[float, float]
    confidence: float

    @property
    def verdict(self) -> str:
        """What the interval allows to say, in words."""
        low, high = self.interval
        if low == high == 0:
            return "no difference on these examples"
        if low > 0:
            return f"loss higher by {low:.3g} to {high:.3g}"
        if high < 0:
            return f"loss lower by {-high:.3g} to {-low:.3g}"
        return f"no difference of the loss shown: {low:.3g} to {high:.3g}"

    def finding(self) -> Finding:
        """For a card: the difference, without a claim, since no margin was set."""
        return Finding(
            "comparison with the original",
            f"Loss against the original's on the same {self.n:,} examples: {self.verdict}.",
            (Figure("loss difference", self.difference, self.interval, self.confidence, "+.4g"),),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict, as plain numbers, lists and words."""
        return dataclasses.asdict(self) | {"interval": list(self.interval), "verdict": self.verdict}


def compare_losses(
    reference: Losses | Evaluation,
    candidate: Losses | Evaluation,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> LossComparison:
    """How the loss differs from the reference's, example by example.

    For regression, tokens and any other loss; `compare` looks at the accuracy of
    classifiers, too. Examples are resampled in pairs, so what makes one hard for both
    cancels.

    Args:
      reference: of the model compared against, usually the dense one.
      candidate: of the other model, by the same loss on the same examples in one order.
      confidence: of the interval, in (0, 1).
      seed: of the resampling.

    Returns:
      The comparison; `.verdict` says it in words.

    Raises:
      ValueError: fewer than two examples, or other numbers of them; a wrong confidence
        or seed.

    Example:
      >>> losses = [jc.validate.Losses(np.float32([1, 2, 3]) + k) for k in (0, 1)]
      >>> jc.validate.compare_losses(*losses).verdict
      'loss higher by 1 to 1'

    Source: `bootstrap_interval`.
    """
    for argument, value in {"reference": reference, "candidate": candidate}.items():
        mend = "It is what evaluate_loss or evaluate gave."
        check_kind("compare_losses", argument, value, Losses | Evaluation, mend)
    if reference.n != candidate.n or reference.n < 2:
        raise ValueError(
            f"compare_losses(reference of {reference.n} examples, candidate of {candidate.n}) needs"
            " the same examples in both, at least two."
        )
    check_confidence("compare_losses", confidence)
    check_count("compare_losses", "seed", seed, least=0)
    differences = candidate.loss.astype(np.float64) - reference.loss
    return LossComparison(
        n=reference.n,
        difference=float(differences.mean()),
        interval=bootstrap_interval(differences, confidence=confidence, seed=seed),
        confidence=confidence,
    )
