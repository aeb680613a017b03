"""A summary that is a function of a mean."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxcompress.validate.metrics.metric import Mean, Statistics
from jaxcompress.validate.skewed import skewed_mean_interval


@dataclasses.dataclass(frozen=True)
class OfMean:
    """A rising function of the mean over examples, as the summary of a metric.

    The interval of the metric is the function of the ends of the mean's.

    Args:
      mean: of what.
      function: arrays to arrays, never falling; also given ends of intervals, which may
        lie where no mean can.
    """

    mean: Mean
    function: Callable[[np.ndarray], np.ndarray]

    def __call__(self, statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        """The function of the mean of each row of counts."""
        return self.function(self.mean(statistics, counts))

    def interval(self, statistics: Statistics, confidence: float) -> tuple[float, float]:
        """The function of both ends of the mean's interval."""
        values = self.mean.values(statistics)
        ends = self.function(np.array(skewed_mean_interval(values, confidence=confidence)))
        return float(ends[0]), float(ends[1])
