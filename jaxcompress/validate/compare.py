"""Paired comparison of two models: differences, intervals and a verdict in words.

The intervals themselves are in `intervals`; that of the accuracy and the p-value come
from one test, and never contradict each other. Comparing many candidates needs a
correction, see `comparisons`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_inside, check_number
from jaxcompress.core.report import signed
from jaxcompress.validate.cards.findings import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Figure,
    Finding,
    examples_for,
    record_of,
)
from jaxcompress.validate.comparisons.paired import mcnemar
from jaxcompress.validate.intervals import check_confidence, paired_interval
from jaxcompress.validate.leakage.calibration import check_calibration
from jaxcompress.validate.pairing import check_paired
from jaxcompress.validate.results import Evaluation
from jaxcompress.validate.skewed import skewed_mean_interval
from jaxcompress.validate.words import against_margin


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How a candidate differs from a reference on the same examples.

    Invariants:
      - Differences are candidate minus reference: a negative accuracy
        difference is a loss.
      - Accuracies, agreement and margin are fractions; losses are in nats.
      - `accuracy_difference` is (gained - lost) / n.
      - `accuracy_interval` has 0 inside exactly where `mcnemar_p` > 1 - confidence.

    Args:
      n: examples compared.
      accuracy_difference: in [-1, 1].
      accuracy_interval: (low, high), exact, see `paired_interval`.
      loss_difference: of the mean cross-entropies.
      loss_interval: (low, high), see `skewed_mean_interval`.
      gained: examples right in the candidate alone.
      lost: examples right in the reference alone.
      mcnemar_p: exact p-value of "gaining and losing are equally likely", in (0, 1].
      agreement: fraction of examples that both answer alike, in [0, 1].
      margin: difference of accuracy that matters.
      confidence: of both intervals.
      calibrated_on: how many of the examples calibration data held; None where these
        were not given.
    """

    n: int
    accuracy_difference: float
    accuracy_interval: tuple[float, float]
    loss_difference: float
    loss_interval: tuple[float, float]
    gained: int
    lost: int
    mcnemar_p: float
    agreement: float
    margin: float
    confidence: float
    calibrated_on: int | None = None

    @property
    def verdict(self) -> str:
        """The accuracy interval against the margin, in words."""
        if not self.gained and not self.lost:
            return "no difference on these examples"
        return verdict(*self.accuracy_interval, margin=self.margin)

    def __str__(self) -> str:
        change, low, high = (
            signed(100 * value, "+.2f")
            for value in (self.accuracy_difference, *self.accuracy_interval)
        )
        return (
            f"accuracy {change} points [{low}, {high}] on {self.n:,} examples"
            f" ({self.gained:,} gained, {self.lost:,} lost): {self.verdict}"
        )

    def finding(self) -> Finding:
        """For a card: is a loss of the margin ruled out, and what would it take."""
        low, high = self.accuracy_interval
        verdict = HOLDS if low > -self.margin else FAILS if high <= -self.margin else UNDECIDED
        difference = Figure(
            "accuracy difference",
            self.accuracy_difference,
            self.accuracy_interval,
            self.confidence,
            "+.2%",
        )
        loss = Figure(
            "loss difference", self.loss_difference, self.loss_interval, self.confidence, "+.4f"
        )
        alike = Figure("same answers", self.agreement, format=".1%")
        return Finding(
            "comparison with the original",
            f"Accuracy against the original's on the same {self.n:,} examples: {self.verdict}. "
            f"A loss of {_points(self.margin)} or more was to be ruled out.",
            (difference, loss, alike, Figure("McNemar p", self.mcnemar_p, format=".2g")),
            verdict,
            (self._needed,) if verdict == UNDECIDED else (),
        )

    @property
    def _needed(self) -> str:
        """How many examples would rule out a loss of the margin."""
        low = self.accuracy_interval[0]
        if not self.gained and not self.lost:
            # The limit of Clopper and Pearson where none of n differs, solved for n.
            tail = (1 - self.confidence) / 2
            needed = math.ceil(math.log(tail) / math.log1p(-self.margin))
        else:
            needed = examples_for(self.n, self.accuracy_difference, low, self.margin)
        size = _points(self.margin)
        if needed is None:
            return f"More examples would not help: the loss seen is {size} or more."
        return f"About {needed:,} examples, to rule out a loss of {size} if the difference stays."

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict, as plain values; `from_json` reads them back."""
        record = dataclasses.asdict(self) | {"verdict": self.verdict}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in record.items()
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Comparison":
        """The comparison that `to_json` described; its verdict follows from it."""
        fields = record_of(cls, record)
        for name in ("accuracy_interval", "loss_interval"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


def compare(
    reference: Evaluation,
    candidate: Evaluation,
    *,
    margin: float = 0.01,
    confidence: float = 0.95,
    calibration: Any = None,
) -> Comparison:
    """How accuracy and loss differ from the reference's, example by example.

    Examples are compared in pairs, so what makes an example hard for both cancels. The
    interval of the accuracy and the p-value come from one exact test. Where no answer
    changed, n examples still leave room for a difference of about 3.7 / n.

    Args:
      reference: evaluation of the model compared against, usually the dense one.
      candidate: evaluation of the other model on the same examples in the same order.
      margin: difference of accuracy that matters, in (0, 1); 0.01 is one point.
      confidence: of the intervals, in (0, 1).
      calibration: the inputs that either model was calibrated, tuned or pruned with: an
        array, a tree of arrays, or batches of such. None where there are none. Where
        they hold an example of the evaluations the comparison is refused, unless
        `leakage.Shared(inputs)` says that it is meant.

    Returns:
      The comparison; `.verdict` says it in words.

    Raises:
      TypeError: one of them is no evaluation.
      ValueError: fewer than two examples; different examples, as seen by their inputs
        and labels; evaluations without accuracy and loss; a margin or confidence out of
        range; examples of the calibration data among those compared.

    Example:
      >>> classifier, x = lambda params, x: x @ params, jnp.eye(4)
      >>> reference = jc.validate.evaluate(classifier, 99 * x, x, jnp.arange(4))
      >>> result = jc.validate.compare(reference, reference)
      >>> result.loss_interval, result.mcnemar_p, result.verdict
      ((0.0, 0.0), 1.0, 'no difference on these examples')

    Source: McNemar 1947, Psychometrika 12, in its exact form; `paired_interval` of the
    accuracy, `skewed_mean_interval` of the loss.
    """
    check_paired("compare", reference, candidate, "accuracy", "loss")
    check_inside("compare", "margin", margin, 0, 1)
    confidence = check_confidence("compare", confidence)
    calibrated_on = check_calibration("compare", reference.fingerprints, calibration)
    loss_differences = candidate.loss.astype(np.float64) - reference.loss
    gained = int(np.sum(candidate.correct & ~reference.correct))
    lost = int(np.sum(reference.correct & ~candidate.correct))
    return Comparison(
        n=reference.n,
        accuracy_difference=(gained - lost) / reference.n,
        accuracy_interval=paired_interval(gained, lost, reference.n, confidence=confidence),
        loss_difference=float(loss_differences.mean()),
        loss_interval=skewed_mean_interval(loss_differences, confidence=confidence),
        gained=gained,
        lost=lost,
        mcnemar_p=mcnemar(gained, lost),
        agreement=float(np.mean(reference.predictions == candidate.predictions)),
        margin=float(margin),
        confidence=confidence,
        calibrated_on=calibrated_on,
    )


def verdict(low: float, high: float, *, margin: float = 0.01) -> str:
    """States in words what an interval of the accuracy difference supports.

    The first line that holds is the verdict; one always does. A difference that stays
    inside the margin is neither worse nor better. At a margin of one point:

        low > -margin, high < margin     the same within 1 point
        high <= -margin                  worse by (-high) to (-low) points
        low >= margin                    better by (low) to (high) points
        high < 0                         a loss of (-high) to (-low) points; too few
                                         examples to tell whether it reaches 1 point
        low > 0                          a gain of (low) to (high) points; the same
        low > -margin                    no loss of 1 point or more
        high < margin                    too few examples to rule out a loss of 1 point
        otherwise                        too few examples to tell

    Args:
      low: lower end of the interval, candidate minus reference, as a fraction.
      high: upper end, at least `low`.
      margin: difference that matters, in (0, 1).

    Returns:
      The words.

    Raises:
      ValueError: the ends are not finite and in order, or the margin is out of range.

    Example:
      >>> jc.validate.verdict(-0.004, 0.006)
      'the same within 1 point'
      >>> jc.validate.verdict(-0.02, 0.015)
      'too few examples to tell'
      >>> jc.validate.verdict(-0.031, -0.012)
      'worse by 1.20 to 3.10 points'
    """
    check_number("verdict", "low", low)
    check_number("verdict", "high", high)
    if low > high:
        raise ValueError(f"verdict(low={low}, high={high}) needs low <= high.")
    check_inside("verdict", "margin", margin, 0, 1)
    return against_margin(low, high, margin, _span, _points(margin))


def _span(near: float, far: float) -> str:
    return f"{100 * near:.2f} to {100 * far:.2f} points"


def _points(fraction: float) -> str:
    points = f"{100 * fraction:g}"
    return f"{points} point" if points == "1" else f"{points} points"
