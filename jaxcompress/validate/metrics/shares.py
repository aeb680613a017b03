"""Figures that are a share of some of the examples, such as recall."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxcompress.validate.intervals import wilson
from jaxcompress.validate.metrics.metric import Statistics, Summary


def _unchanged(share: float) -> float:
    return share


@dataclasses.dataclass(frozen=True)
class Share:
    """A summary whose figure follows from a share of some examples.

    Its interval is Wilson's. A bootstrap of few of them has none where all are answered
    alike: each sample gives the same figure.

    Args:
      figure: the summary.
      parts: statistics to (hits, among), (n,) bools: the share is hits / among.
      of_share: the share to the figure; increasing.
    """

    figure: Summary
    parts: Callable[[Statistics], tuple[np.ndarray, np.ndarray]]
    of_share: Callable[[float], float] = _unchanged

    def __call__(self, statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        """The figure of each row of counts."""
        return self.figure(statistics, counts)

    def interval(self, statistics: Statistics, confidence: float) -> tuple[float, float]:
        """The interval of the figure; [0, 1] of a share of no example."""
        hits, among = self.parts(statistics)
        n = int(among.sum())
        low, high = wilson(int(hits.sum()), n, confidence=confidence) if n else (0.0, 1.0)
        return float(self.of_share(low)), float(self.of_share(high))
