"""What an evaluation keeps: statistics of each metric per example, and their figures.

A paired comparison needs them example by example.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_kind, check_mapping
from jaxcompress.validate.cards.findings import Figure, Finding
from jaxcompress.validate.intervals import check_confidence, mean_interval, wilson
from jaxcompress.validate.leakage.fingerprints import DIGEST_BYTES
from jaxcompress.validate.metrics.metric import (
    Mean,
    Metric,
    Statistics,
    checked_statistics,
    count_of,
)
from jaxcompress.validate.resampling import percentile_interval

RESAMPLES = 1999
"""Samples for the interval of a metric that is no mean. From seed to seed an end moves
by sqrt(0.025 · 0.975 / 1999) / 0.058 = 0.06 standard errors of a normal figure."""


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """One metric of one model: its value, its interval, and what it is made of.

    Invariants:
      - Statistics are NumPy, finite, with first axis n, n at least 1, in the order of
        the examples.
      - The value is defined; it is computed from the statistics.

    Args:
      metric: what was measured.
      statistics: what `metric.per_example` gave: an array (n, …), or a dict of such.

    Raises:
      TypeError: a field is of another kind.
      ValueError: a statistic is not finite, or the metric is not defined for these
        examples.
    """

    metric: Metric
    statistics: Statistics

    def __post_init__(self):
        mend = "For example validate.metrics.accuracy()."
        check_kind("Score", "metric", self.metric, Metric, mend)
        if not isinstance(self.statistics, np.ndarray):
            mend = "It is what metric.per_example gives, as NumPy arrays."
            check_mapping("Score", "statistics", self.statistics, mend)
            for value in self.statistics.values():
                check_kind("Score", "statistics", value, np.ndarray, mend)
        checked_statistics(self.metric.name, self.statistics)
        # Now, so that what is not defined is refused before anything is built on it.
        _ = self.value

    @functools.cached_property
    def value(self) -> float:
        """The figure, in the unit of the metric."""
        return self.metric.value(self.statistics)

    @property
    def n(self) -> int:
        """Number of examples."""
        return count_of(self.statistics)

    @property
    def per_example(self) -> np.ndarray:
        """(n,), whose mean is the value.

        Raises:
          ValueError: the metric is no mean over examples, as an AUC is none.
        """
        if not isinstance(self.metric.summary, Mean):
            raise ValueError(
                f"Score.per_example: {self.metric.name} is no mean over examples. What it is made"
                " of is in .statistics."
            )
        return self.metric.summary.values(self.statistics)

    def interval(self, *, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """The confidence interval: Wilson's, Student's or the bootstrap's.

        Wilson's of a mean of bools, Student's of a mean of numbers; of others that
        between the percentiles of 1,999 bootstrap samples of the examples.

        Args:
          confidence: in (0, 1).
          seed: of the resampling.

        Returns:
          (low, high), floats.

        Raises:
          ValueError: a mean of numbers has one example alone; a wrong confidence or
            seed; most bootstrap samples leave the metric undefined.
        """
        confidence = check_confidence("interval", confidence)
        check_count("interval", "seed", seed, least=0)
        if not isinstance(self.metric.summary, Mean):
            return percentile_interval(
                self.metric.name,
                functools.partial(self.metric.summary, self.statistics),
                self.n,
                confidence=confidence,
                seed=seed,
                resamples=RESAMPLES,
            )
        values = self.per_example
        if values.dtype == np.bool_:
            return wilson(int(values.sum()), values.size, confidence=confidence)
        return mean_interval(values, confidence=confidence)

    def figure(self) -> Figure:
        """For a card: the value and its interval; a mean of one number has none."""
        share = isinstance(self.metric.summary, Mean) and self.per_example.dtype == np.bool_
        interval = self.interval() if share or self.n > 1 else None
        return Figure(self.metric.name, self.value, interval, format=".2%" if share else ".4g")

    def to_json(self) -> dict[str, Any]:
        """Value and statistics as numbers, which `from_json` reads back exactly."""
        keyed = isinstance(self.statistics, Mapping)
        return {
            "value": self.value,
            "statistics": {key: _to_json(each) for key, each in self.statistics.items()}
            if keyed
            else _to_json(self.statistics),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], metric: Metric) -> "Score":
        """The score that `to_json` described, of the same metric."""
        statistics = record["statistics"]
        if "dtype" in statistics and isinstance(statistics["dtype"], str):
            return cls(metric, _from_json(statistics))
        return cls(metric, {key: _from_json(each) for key, each in statistics.items()})


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation(Mapping[str, Score]):
    """The scores of a model by the names of the metrics, on one set of examples.

    `accuracy`, `correct`, `predictions` and `labels` are there with the metric
    `accuracy`, `mean_loss` and `loss` with a metric named "loss"; every other is
    `evaluation["name"]`.

    Invariants:
      - All scores are of the same n examples, in one order.

    Args:
      scores: by metric name.
      fingerprints: uint8 (n, 16), what `leakage.fingerprints` gives for the inputs in
        the dtypes that the model gets them in. By these comparisons know that two
        models were given the same examples, and that calibration data hold none.

    Raises:
      TypeError: a field is of another kind.
      ValueError: there is no score, one has another name than its metric, or numbers of
        examples differ.
    """

    scores: Mapping[str, Score]
    fingerprints: np.ndarray

    def __post_init__(self):
        check_mapping("Evaluation", "scores", self.scores, "It is Score by metric name.")
        for name, score in self.scores.items():
            check_kind("Evaluation", "scores", score, Score, "validate.evaluate makes them.")
            if score.metric.name != name:
                raise ValueError(
                    f"Evaluation(scores): the score {name!r} is of the metric"
                    f" {score.metric.name!r}. Give it under its own name."
                )
        mend = "leakage.fingerprints makes it of the inputs."
        check_kind("Evaluation", "fingerprints", self.fingerprints, np.ndarray, mend)
        if self.fingerprints.dtype != np.uint8:
            raise TypeError(
                f"Evaluation(fingerprints of dtype {self.fingerprints.dtype}) must be uint8. {mend}"
            )
        counts = {name: score.n for name, score in self.scores.items()}
        shape = (next(iter(counts.values()), 0), DIGEST_BYTES)
        if len(set(counts.values())) != 1 or self.fingerprints.shape != shape:
            raise ValueError(
                f"Evaluation(fingerprints of shape {self.fingerprints.shape}, scores of {counts}"
                " examples) needs one score or more, all of the same examples."
            )

    def __getitem__(self, name: str) -> Score:
        """The score of a metric.

        Raises:
          KeyError: it was not measured.
        """
        if name not in self.scores:
            raise KeyError(f"the evaluation has no {name!r}, but {', '.join(self.scores)}")
        return self.scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.fingerprints)

    @property
    def accuracy(self) -> float:
        """Fraction of examples answered correctly, in [0, 1]."""
        return self["accuracy"].value

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool, whether the answer is the label."""
        return self["accuracy"].per_example

    @property
    def predictions(self) -> np.ndarray:
        """(n,) int32, the class answered."""
        return self["accuracy"].statistics["predicted"]

    @property
    def labels(self) -> np.ndarray:
        """(n,) int32, the class it should be."""
        return self["accuracy"].statistics["label"]

    @property
    def mean_loss(self) -> float:
        """Mean of the losses, in their unit."""
        return self["loss"].value

    @property
    def loss(self) -> np.ndarray:
        """(n,) the loss of each example, in nats where it is cross-entropy."""
        return self["loss"].per_example

    def finding(self) -> Finding:
        """For a card: every metric with its interval."""
        were = "were" if len(self) > 1 else "was"
        statement = f"{', '.join(self)} {were} measured on {self.n:,} examples."
        if "accuracy" in self:
            right = int(self.correct.sum())
            statement = f"Answers {right:,} of {self.n:,} examples correctly."
        figures = tuple(score.figure() for score in self.values())
        return Finding("held-out performance", statement, figures)

    def to_json(self) -> dict[str, Any]:
        """Scores and digests as plain values, which `from_json` reads back exactly."""
        return {
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "fingerprints": [digest.tobytes().hex() for digest in self.fingerprints],
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], metrics: Sequence[Metric]) -> "Evaluation":
        """The evaluation that `to_json` described.

        Args:
          record: what it gave.
          metrics: those that were measured, since functions are not in the record.

        Returns:
          The evaluation, with the scores of these metrics.

        Raises:
          KeyError: a metric is not in the record.
        """
        digests = bytes.fromhex("".join(record["fingerprints"]))
        return cls(
            {each.name: Score.from_json(record["scores"][each.name], each) for each in metrics},
            np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES),
        )


def _to_json(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "values": array.tolist()}


def _from_json(record: dict[str, Any]) -> np.ndarray:
    return np.asarray(record["values"], record["dtype"])
