"""One metric of one model, kept as statistics per example."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_kind, check_mapping
from jaxcompress.validate.cards.findings import Figure
from jaxcompress.validate.intervals import check_confidence, wilson
from jaxcompress.validate.metrics.metric import (
    Mean,
    Metric,
    Statistics,
    checked_statistics,
    count_of,
)
from jaxcompress.validate.metrics.of_mean import OfMean
from jaxcompress.validate.metrics.shares import Share
from jaxcompress.validate.resampling import resampled_interval
from jaxcompress.validate.skewed import skewed_mean_interval

RESAMPLES = 1999
"""Samples for the interval of a metric that is no mean. From seed to seed an end moves
by sqrt(0.025 · 0.975 / 1999) / 0.058 = 0.06 standard errors of a normal figure."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
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

    def __post_init__(self) -> None:
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

    def __repr__(self) -> str:
        return f"Score({self.metric.name} {self.value:.4g} of {self.n:,} examples)"

    def __str__(self) -> str:
        """The value and its interval, except where that would take resampling."""
        return str(self._figure(isinstance(self.metric.summary, Mean | Share | OfMean)))

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

    def limits(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What ends of an interval are taken of, on resamples by counts (…, n)."""
        return self.metric.limits(self.metric.summary, self.statistics, counts)

    def interval(self, *, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """The confidence interval: Wilson's, Hall's or the bootstrap's.

        `wilson` of a mean of bools and of what follows from a share, such as recall;
        `skewed_mean_interval` of numbers, and its roots of the root of a mean; of
        others that between the percentiles of 1,999 bootstrap samples of the examples,
        or of what the metric's `limits` makes of them.

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
        summary = self.metric.summary
        if isinstance(summary, Share | OfMean):
            return summary.interval(self.statistics, confidence)
        if not isinstance(summary, Mean):
            return resampled_interval(
                self.metric.name,
                self.limits,
                self.n,
                confidence=confidence,
                seed=seed,
                resamples=RESAMPLES,
            )
        values = self.per_example
        if values.dtype == np.bool_:
            return wilson(int(values.sum()), values.size, confidence=confidence)
        return skewed_mean_interval(values, confidence=confidence)

    def figure(self) -> Figure:
        """For a card: the value and its interval; a mean of one number has none."""
        return self._figure(True)

    def _figure(self, with_interval: bool) -> Figure:
        share = isinstance(self.metric.summary, Mean) and self.per_example.dtype == np.bool_
        known = with_interval and (share or self.n > 1)
        interval = self.interval() if known else None
        return Figure(self.metric.name, self.value, interval, format=".2%" if share else ".4g")

    def to_json(self) -> dict[str, Any]:
        """Value and statistics as numbers, which `from_json` reads back exactly."""
        keyed = isinstance(self.statistics, Mapping)
        parts = self.statistics if keyed else {"": self.statistics}
        return {
            "value": self.value,
            "statistics": {key: _to_json(each) for key, each in parts.items()},
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], metric: Metric) -> "Score":
        """The score that `to_json` described, of the same metric."""
        parts = {key: _from_json(each) for key, each in record["statistics"].items()}
        return cls(metric, parts[""] if parts.keys() == {""} else parts)


def _to_json(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "values": array.tolist()}


def _from_json(record: dict[str, Any]) -> np.ndarray:
    return np.asarray(record["values"], record["dtype"])
