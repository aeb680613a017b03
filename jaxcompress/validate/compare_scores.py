"""Paired comparison of two models by one metric of any kind."""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_text
from jaxcompress.core.report import signed
from jaxcompress.validate.cards.findings import Figure, Finding
from jaxcompress.validate.intervals import check_confidence, paired_interval
from jaxcompress.validate.leakage.calibration import check_calibration
from jaxcompress.validate.metrics.metric import Mean
from jaxcompress.validate.pairing import check_paired
from jaxcompress.validate.resampling import resampled_interval
from jaxcompress.validate.results import Evaluation
from jaxcompress.validate.scores import RESAMPLES, Score
from jaxcompress.validate.skewed import skewed_mean_interval
from jaxcompress.validate.words import not_decided


@dataclasses.dataclass(frozen=True)
class ScoreComparison:
    """How a candidate's figure differs from a reference's on the same examples.

    Invariants:
      - Differences are candidate minus reference, in the unit of the metric; which sign
        is better says `higher_is_better`.

    Args:
      metric: its name.
      n: examples compared.
      reference: the reference's figure.
      candidate: the candidate's.
      interval: (low, high) of their difference, on paired examples.
      confidence: of the interval.
      higher_is_better: the direction of the metric.
    """

    metric: str
    n: int
    reference: float
    candidate: float
    interval: tuple[float, float]
    confidence: float
    higher_is_better: bool

    @property
    def difference(self) -> float:
        """Candidate minus reference."""
        return self.candidate - self.reference

    @property
    def verdict(self) -> str:
        """What the interval allows to say, in words."""
        low, high = self.interval
        if low == high == 0:
            return "no difference on these examples"
        if low <= 0 <= high:
            return not_decided(self.metric, low, high)
        direction = "higher" if low > 0 else "lower"
        quality = "better" if (low > 0) == self.higher_is_better else "worse"
        near, far = sorted((abs(low), abs(high)))
        return f"{quality}: {self.metric} {direction} by {near:.3g} to {far:.3g}"

    def __str__(self) -> str:
        change, low, high = (signed(value, "+.4g") for value in (self.difference, *self.interval))
        return f"{self.metric} {change} [{low}, {high}] on {self.n:,} examples: {self.verdict}"

    def finding(self) -> Finding:
        """For a card: the difference, without a claim, since no margin was set."""
        name = f"{self.metric} difference"
        return Finding(
            "comparison with the original",
            f"{self.metric} against the original's on the same {self.n:,} examples:"
            f" {self.verdict}.",
            (Figure(name, self.difference, self.interval, self.confidence, "+.4g"),),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields, the difference and the verdict, as plain numbers and words."""
        return dataclasses.asdict(self) | {
            "interval": list(self.interval),
            "difference": self.difference,
            "verdict": self.verdict,
        }


def compare_scores(
    reference: Evaluation,
    candidate: Evaluation,
    metric: str,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    calibration: Any = None,
) -> ScoreComparison:
    """How a metric differs from the reference's, examples compared in pairs.

    For any metric that both were evaluated by; `compare` gives an exact verdict on the
    accuracy of classifiers. Examples are taken in pairs, so what makes one hard for
    both cancels. Of a mean of bools there is `paired_interval`, of a mean of numbers
    `skewed_mean_interval` of the differences; of another metric both figures are
    computed on each of 1,999 bootstrap samples.

    Args:
      reference: of the model compared against, usually the dense one.
      candidate: of the other model, by the same metric on the same examples.
      metric: its name, such as "loss" or "roc_auc".
      confidence: of the interval, in (0, 1).
      seed: of the resampling.
      calibration: the inputs that either model was calibrated with, see `compare`.

    Returns:
      The comparison; `.verdict` says it in words.

    Raises:
      TypeError: one of them is no evaluation.
      ValueError: fewer than two examples, or other examples; the metric is missing in
        one; a wrong confidence or seed; examples of the calibration data among those
        compared.

    Example:
      >>> evaluate = jc.validate.evaluate
      >>> fn, x = lambda params, x: params * x, jnp.arange(3.0)
      >>> squares = [jc.validate.metrics.loss(lambda outputs, targets: outputs**2)]
      >>> one = evaluate(fn, jnp.float32(1), x, x, squares)
      >>> other = evaluate(fn, jnp.float32(2), x, x, squares)
      >>> jc.validate.compare_scores(one, other, "loss").verdict
      'not decided: the interval of the loss difference reaches from −10.5 to +64.9'

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13, of
    pairs; `paired_interval` and `skewed_mean_interval` of means.
    """
    check_text("compare_scores", "metric", metric)
    check_paired("compare_scores", reference, candidate, metric)
    confidence = check_confidence("compare_scores", confidence)
    check_count("compare_scores", "seed", seed, least=0)
    check_calibration("compare_scores", reference.fingerprints, calibration)
    one, other = reference[metric], candidate[metric]
    return ScoreComparison(
        metric=metric,
        n=reference.n,
        reference=one.value,
        candidate=other.value,
        interval=_paired(one, other, confidence, seed),
        confidence=confidence,
        higher_is_better=one.metric.higher_is_better,
    )


def _paired(one: Score, other: Score, confidence: float, seed: int) -> tuple[float, float]:
    if isinstance(one.metric.summary, Mean):
        before, after = one.per_example, other.per_example
        if before.dtype == after.dtype == np.bool_:
            gained, lost = int(np.sum(after & ~before)), int(np.sum(before & ~after))
            return paired_interval(gained, lost, one.n, confidence=confidence)
        return skewed_mean_interval(after.astype(np.float64) - before, confidence=confidence)

    def difference(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (low, high), (other_low, other_high) = one.limits(counts), other.limits(counts)
        return other_low - high, other_high - low

    return resampled_interval(
        f"compare_scores({one.metric.name})",
        difference,
        one.n,
        confidence=confidence,
        seed=seed,
        resamples=RESAMPLES,
    )
