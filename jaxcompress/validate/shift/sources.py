"""A model on data from another source: its figures there, and what they lost."""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_kind
from jaxcompress.validate.cards.findings import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Figure,
    Finding,
    Result,
    examples_for,
)
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.metrics.metric import Mean
from jaxcompress.validate.scores import Score
from jaxcompress.validate.shift.differences import proportion_difference_interval, welch
from jaxcompress.validate.shift.group_tests import bootstrap_difference

SCORE = 'Pass one score of an evaluation: evaluation["accuracy"].'


@dataclasses.dataclass(frozen=True)
class External(Result):
    """One metric on the model's own test set and on an independent one.

    Invariants:
      - Differences are external minus internal, in the metric's unit.

    Args:
      metric: its name.
      higher_is_better: whether a higher figure is a better model.
      n: examples of the internal test set.
      m: examples of the external set.
      internal: the figure on the internal test set.
      internal_interval: (low, high) of it.
      external: the figure on the external set.
      external_interval: (low, high) of it.
      difference: external minus internal.
      difference_interval: (low, high) of it, unpaired.
      margin: loss that matters, in the metric's unit.
      confidence: of each interval.
    """

    metric: str
    higher_is_better: bool
    n: int
    m: int
    internal: float
    internal_interval: tuple[float, float]
    external: float
    external_interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    margin: float
    confidence: float

    @property
    def gain(self) -> tuple[float, float, float]:
        """Low end, value and high end of the difference, where above 0 is better."""
        low, high = self.difference_interval
        if self.higher_is_better:
            return low, self.difference, high
        return -high, -self.difference, -low

    @property
    def verdict(self) -> str:
        """What the interval of the difference allows to say, in words."""
        low, _, high = self.gain
        if high <= -self.margin:
            return f"worse by {-high:.4g} to {-low:.4g}"
        if low > -self.margin:
            return f"no loss of {self.margin:g} or more"
        if high < 0:
            return (
                f"a loss of {-high:.4g} to {-low:.4g}; too few examples to tell whether it "
                f"reaches {self.margin:g}"
            )
        return f"too few examples to rule out a loss of {self.margin:g}"

    def finding(self) -> Finding:
        """For a card: whether a loss of the margin is ruled out on the external set."""
        low, gain, high = self.gain
        verdict = HOLDS if low > -self.margin else FAILS if high <= -self.margin else UNDECIDED
        needed = examples_for(min(self.n, self.m), gain, low, self.margin)
        return Finding(
            "external data",
            f"{self.metric} on {self.m:,} examples from another source, against {self.n:,} from "
            f"the model's own: {self.verdict}.",
            tuple(
                Figure(name, value, interval, self.confidence, form)
                for name, value, interval, form in (
                    (f"{self.metric} there", self.external, self.external_interval, ".4g"),
                    (f"{self.metric} at home", self.internal, self.internal_interval, ".4g"),
                    ("difference", self.difference, self.difference_interval, "+.4g"),
                )
            ),
            verdict,
            _needs(verdict, needed, self.margin),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict, as plain numbers, lists and words."""
        record = dataclasses.asdict(self) | {"verdict": self.verdict}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in record.items()
        }


def external(
    internal: Score,
    external: Score,
    *,
    margin: float,
    confidence: float = 0.95,
    seed: int = 0,
) -> External:
    """Compares a metric on an independent data set with that on the model's test set.

    Not for: two models on the same examples; take `compare` or `compare_scores`.

    The sets share no examples, so the interval of the difference is unpaired:
    Newcombe's of a mean of bools, Welch's of a mean of numbers, and for any other
    metric that between percentiles of bootstrap samples of both sets.

    Also known as: external validation, transportability, generalization gap.

    Args:
      internal: a score on test examples of the model's own source.
      external: the score of the same metric on examples from another source.
      margin: loss that matters, in the metric's unit, above 0; set before looking.
      confidence: of each interval, in (0, 1).
      seed: of the resampling.

    Returns:
      Both figures, the difference and what it allows to say.

    Raises:
      TypeError: a score is none.
      ValueError: scores of different metrics, a mean of numbers of one example alone,
        an option out of range.

    Example:
      >>> fn, labels = lambda params, x: x, np.zeros(100, np.int32)
      >>> home, away = (
      ...     jc.validate.evaluate(fn, {}, np.eye(2)[answers], labels)["accuracy"]
      ...     for answers in (np.repeat([0, 1], [95, 5]), np.repeat([0, 1], [70, 30]))
      ... )
      >>> jc.validate.shift.external(home, away, margin=0.1).verdict
      'worse by 0.1481 to 0.35'

    Source: Newcombe 1998, Stat. Med. 17; Welch 1947, Biometrika 34; Efron and
    Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    for argument, each in {"internal": internal, "external": external}.items():
        check_kind("external", argument, each, Score, SCORE)
    if internal.metric.name != external.metric.name:
        raise ValueError(
            f"external(internal of {internal.metric.name!r}, external of "
            f"{external.metric.name!r}) needs one metric."
        )
    check_positive("external", "margin", margin)
    confidence = check_confidence("external", confidence)
    seed = check_count("external", "seed", seed, least=0)
    return External(
        metric=internal.metric.name,
        higher_is_better=internal.metric.higher_is_better,
        n=internal.n,
        m=external.n,
        internal=internal.value,
        internal_interval=internal.interval(confidence=confidence, seed=seed),
        external=external.value,
        external_interval=external.interval(confidence=confidence, seed=seed + 1),
        difference=external.value - internal.value,
        difference_interval=_difference_interval(internal, external, confidence, seed),
        margin=float(margin),
        confidence=confidence,
    )


def _difference_interval(
    internal: Score, external: Score, confidence: float, seed: int
) -> tuple[float, float]:
    if not isinstance(internal.metric.summary, Mean):
        return bootstrap_difference(internal, external, confidence, seed)
    old, new = internal.per_example, external.per_example
    if old.dtype == new.dtype == np.bool_:
        counts = int(old.sum()), old.size, int(new.sum()), new.size
        return proportion_difference_interval(*counts, confidence=confidence)
    low, high, _ = welch(old.astype(np.float64), new.astype(np.float64), confidence)
    return low, high


def _needs(verdict: str, needed: int | None, margin: float) -> tuple[str, ...]:
    if verdict != UNDECIDED:
        return ()
    if needed is None:
        return (f"More examples would not help: the loss seen is {margin:g} or more.",)
    return (
        f"About {needed:,} examples in each set, to rule out a loss of {margin:g} if the "
        "difference stays.",
    )
