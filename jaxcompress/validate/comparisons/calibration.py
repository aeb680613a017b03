"""Calibration drift: what compression does to the confidence of a classifier."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.validate.arrays import real
from jaxcompress.validate.cards.findings import Figure, Finding, Result
from jaxcompress.validate.comparisons.arguments import classes
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.resampling import resampled_interval
from jaxcompress.validate.skewed import skewed_mean_interval

_RESAMPLES = 1999


@dataclasses.dataclass(frozen=True)
class Drift:
    """One figure of both models and its change.

    Args:
      before: of the reference.
      after: of the candidate.
      interval: (low, high) of after - before.
    """

    before: float
    after: float
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before


@dataclasses.dataclass(frozen=True)
class CalibrationDrift(Result):
    """How the confidence of a classifier changed.

    Args:
      calibration_error: expected calibration error, in [0, 1].
      loss: cross-entropy in nats.
      certainty: mean probability of the predicted class, in [0, 1].
      overconfidence: certainty minus accuracy, above 0 is too sure.
      confidence: of the intervals.
    """

    calibration_error: Drift
    loss: Drift
    certainty: Drift
    overconfidence: Drift
    confidence: float

    def finding(self) -> Finding:
        """For a card: the calibration error before and after."""
        error = self.calibration_error
        return Finding(
            "calibration",
            f"The calibration error went from {error.before:.2%} to {error.after:.2%}.",
            (
                Figure(
                    "change of calibration error",
                    error.difference,
                    error.interval,
                    self.confidence,
                    "+.2%",
                ),
                Figure(
                    "change of overconfidence",
                    self.overconfidence.difference,
                    self.overconfidence.interval,
                    self.confidence,
                    "+.2%",
                ),
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers, lists and dicts."""
        record = dataclasses.asdict(self)
        return record | {
            name: each | {"interval": list(each["interval"])}
            for name, each in record.items()
            if isinstance(each, dict)
        }


def calibration_drift(
    reference: ArrayLike,
    candidate: ArrayLike,
    labels: ArrayLike,
    *,
    bins: int = 15,
    confidence: float = 0.95,
    seed: int = 0,
) -> CalibrationDrift:
    """Change of calibration error, loss, certainty and overconfidence, with intervals.

    Not for: the calibration of one model; `calibration_error` has an interval of it.

        calibration error = sum over bins of |sum of (certainty_i - right_i)| / n

    with certainty the probability of the predicted class, and bins of equal width in
    it. Both models are resampled on the same examples. The error of a perfectly
    calibrated model is above 0 too, by more the fewer examples there are; the change is
    what to look at.

    Also known as: ECE drift, calibration shift.

    Args:
      reference: (n, classes) logits, real and finite, n at least 2.
      candidate: (n, classes) logits of the other model, on the same examples.
      labels: (n,) integer in [0, classes).
      bins: of the certainty, at least 1.
      confidence: of the intervals, in (0, 1).
      seed: of the resampling, of the calibration error alone.

    Returns:
      Each figure before and after, with the interval of the change.

    Raises:
      TypeError: labels are not integer.
      ValueError: a shape does not fit, a logit is not finite, a label is out of range,
        an option is out of range.

    Example:
      >>> logits, labels = np.tile([[2.0, 0.0], [0.0, 2.0]], (20, 1)), [0, 1] * 20
      >>> drift = jc.validate.comparisons.calibration_drift(logits, 3 * logits, labels)
      >>> round(drift.certainty.before, 3), round(drift.certainty.after, 3)
      (0.881, 0.998)
      >>> round(drift.calibration_error.difference, 3)
      -0.117

    Source: Naeini, Cooper and Hauskrecht 2015, AAAI, and Guo et al. 2017,
    arXiv:1706.04599, section 2; the paired interval is the percentile bootstrap.
    """
    caller = "calibration_drift"
    labels = classes(caller, "labels", labels)
    before = _Answers(caller, "reference", reference, labels)
    after = _Answers(caller, "candidate", candidate, labels)
    if before.logits.shape != after.logits.shape:
        raise ValueError(
            f"{caller}(reference of shape {before.logits.shape}, candidate of shape"
            f" {after.logits.shape}) needs one shape for both."
        )
    bins = check_count(caller, "bins", bins)
    confidence = check_confidence(caller, confidence)
    check_count(caller, "seed", seed, least=0)
    gaps = [_gaps(each, bins) for each in (before, after)]

    def errors(counts: np.ndarray) -> list[np.ndarray]:
        return [np.abs(counts @ gap).sum(axis=1) / labels.size for gap in gaps]

    def change(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        was, now = errors(counts)
        return now - was, now - was

    was, now = (float(each[0]) for each in errors(np.ones((1, labels.size))))
    interval = resampled_interval(
        caller, change, labels.size, confidence=confidence, seed=seed, resamples=_RESAMPLES
    )

    def drift(was: np.ndarray, now: np.ndarray) -> Drift:
        ends = skewed_mean_interval(now - was, confidence=confidence)
        return Drift(float(was.mean()), float(now.mean()), ends)

    return CalibrationDrift(
        calibration_error=Drift(was, now, interval),
        loss=drift(before.loss, after.loss),
        certainty=drift(before.certainty, after.certainty),
        overconfidence=drift(before.certainty - before.right, after.certainty - after.right),
        confidence=confidence,
    )


class _Answers:
    """A classifier's certainty, answers and losses on labelled examples."""

    def __init__(self, caller: str, argument: str, logits: ArrayLike, labels: np.ndarray):
        from scipy import special

        self.logits = real(caller, argument, logits)
        n = labels.size
        if self.logits.ndim != 2 or len(self.logits) != n or n < 2 or not self.logits.size:
            raise ValueError(
                f"{caller}({argument} of shape {self.logits.shape}, labels of {n}) needs the shape"
                " (n, classes) with a label for each row, n at least 2."
            )
        if not np.isfinite(self.logits).all():
            raise ValueError(f"{caller}({argument}) holds logits that are not finite.")
        number = self.logits.shape[1]
        if labels.min() < 0 or labels.max() >= number:
            raise ValueError(
                f"{caller}(labels from {labels.min()} to {labels.max()}) must be in [0, {number})."
            )
        log_p = special.log_softmax(self.logits, axis=1)
        self.certainty = np.exp(log_p.max(axis=1))
        self.right = (self.logits.argmax(axis=1) == labels).astype(np.float64)
        self.loss = -log_p[np.arange(n), labels]


def _gaps(answers: _Answers, bins: int) -> np.ndarray:
    """Certainty minus right of each example, in the column of its bin: (n, bins)."""
    # Bin b holds certainties in (b / bins, (b + 1) / bins], as in metrics.
    place = np.clip(np.ceil(answers.certainty * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.zeros((place.size, bins))
    gaps[np.arange(place.size), place] = answers.certainty - answers.right
    return gaps
