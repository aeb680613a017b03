"""One group against the rest: a difference, its interval and its p-value, by metric.

Of a mean of bools Newcombe's interval and Fisher's test, of a mean of numbers Welch's,
of any other metric the bootstrap and permutations of who belongs to the group.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.validate.metrics.metric import Mean
from jaxcompress.validate.resampling import RESAMPLED_NUMBERS, resampled_counts
from jaxcompress.validate.scores import Score
from jaxcompress.validate.shift.differences import proportion_difference_interval, welch

RESAMPLES = 4999
"""More than one interval alone needs: those of many groups reach further out."""


class Against(NamedTuple):
    """A part of the examples against all others.

    Attributes:
      value: the metric in the part.
      interval: (low, high) of it.
      rest: the metric in the others.
      difference_interval: (low, high) of part minus rest.
      p: of "no difference".
    """

    value: float
    interval: tuple[float, float]
    rest: float
    difference_interval: tuple[float, float]
    p: float


def against_rest(score: Score, inside: np.ndarray, confidence: float, seed: int) -> Against:
    """The metric inside a part of the examples against all others.

    Args:
      score: of all examples.
      inside: (n,) bool, two or more of each kind.
      confidence: of each interval.
      seed: of resampling and permutations.

    Raises:
      ValueError: the metric is not defined in the part, or outside of it.
    """
    part, rest = (part_of(score, chosen) for chosen in (inside, ~inside))
    interval, p = difference_test(score, inside, confidence, seed)
    return Against(
        part.value, part.interval(confidence=confidence, seed=seed), rest.value, interval, p
    )


def part_of(score: Score, chosen: np.ndarray) -> Score:
    """The score of a part of the examples."""
    return Score(score.metric, jax.tree.map(lambda each: each[chosen], score.statistics))


def difference_test(
    score: Score, inside: np.ndarray, confidence: float, seed: int
) -> tuple[tuple[float, float], float]:
    """The interval of part minus rest, and the p-value of "no difference"."""
    from scipy import stats

    if not isinstance(score.metric.summary, Mean):
        parts = part_of(score, ~inside), part_of(score, inside)
        return bootstrap_difference(*parts, confidence, seed), _permuted(score, inside, seed)
    new, old = score.per_example[inside], score.per_example[~inside]
    if new.dtype != np.bool_:
        low, high, p = welch(old.astype(np.float64), new.astype(np.float64), confidence)
        return (low, high), p
    right = int(old.sum()), int(new.sum())
    interval = proportion_difference_interval(
        right[0], old.size, right[1], new.size, confidence=confidence
    )
    table = [[right[1], new.size - right[1]], [right[0], old.size - right[0]]]
    test: Any = stats.fisher_exact(table)
    return interval, float(test.pvalue)


def bootstrap_difference(
    reference: Score, new: Score, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentiles of new minus reference on bootstrap samples of both."""
    samples = [_resampled(each, seed + place) for place, each in enumerate((reference, new))]
    differences = samples[1] - samples[0]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    # Samples on which the metric is not defined, as an AUC of one class, are left out.
    low, high = np.quantile(differences[np.isfinite(differences)], tails)
    return float(low), float(high)


def _resampled(score: Score, seed: int) -> np.ndarray:
    """The metric on bootstrap samples, (resamples,); NaN where it is not defined."""
    blocks = resampled_counts(score.n, RESAMPLES, seed)
    return np.concatenate([score.metric.summary(score.statistics, counts) for counts in blocks])


def _permuted(score: Score, inside: np.ndarray, seed: int) -> float:
    """Two-sided permutation p-value of the difference between a part and the rest."""
    rng = np.random.default_rng(seed)

    def differences(members: np.ndarray) -> np.ndarray:
        """Of rows of 0 and 1, (rows, n)."""
        both = (score.metric.summary(score.statistics, each) for each in (members, 1 - members))
        return np.abs(np.subtract(*both))

    found = differences(inside[None].astype(np.float64))[0]
    rows, exceeding, defined = max(1, RESAMPLED_NUMBERS // inside.size), 0, 0
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        members = np.tile(inside.astype(np.float64), (count, 1))
        chance = differences(rng.permuted(members, axis=1))
        exceeding += int(np.sum(chance >= found * (1 - 1e-12)))
        defined += int(np.sum(np.isfinite(chance)))
    return (1 + exceeding) / (1 + defined)
