"""What scores of folds say, whose training sets overlap: the corrected t statistics."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.validate.intervals import check_confidence, finite_values


class Corrected(NamedTuple):
    """The mean of scores of folds and how far it can be trusted.

    Attributes:
      mean: of the scores.
      standard_error: corrected for training sets that overlap.
      interval: (low, high).
      p_value: of "the expected score is 0", two-sided; 1 where all scores are 0, and 0
        where all are equal and not 0.
    """

    mean: float
    standard_error: float
    interval: tuple[float, float]
    p_value: float


def corrected_interval(
    scores: ArrayLike, test_over_train: float, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean score of folds, corrected for training sets that overlap.

    Not for: scores on one test set, whose examples `wilson` and `skewed_mean_interval`
    count.

        mean ± t · sqrt(s² · (1 / k + n_test / n_train))

    with s² the sample variance of the k scores and t the quantile at
    (1 + confidence) / 2 of Student's distribution, k - 1 degrees of freedom. Scores of
    folds depend on one another, as their training sets share examples: plain s² / k is
    too small. No unbiased estimator of the variance of k-fold cross-validation exists,
    so that this one is a correction that works in practice, and no guarantee.

    Args:
      scores: (k,), real and finite, k at least 2: one per fold; of all repeats where
        folds are repeated.
      test_over_train: n_test / n_train of a fold, above 0; 1 / 4 of five folds.
      confidence: in (0, 1).

    Returns:
      (low, high), floats.

    Raises:
      ValueError: fewer than two scores, one that is not finite, or another argument is
        out of range.

    Example:
      >>> scores = [0.9, 0.94, 0.92, 0.88, 0.91]
      >>> low, high = jc.validate.cross_validation.corrected_interval(scores, 1 / 4)
      >>> round(low, 3), round(high, 3)
      (0.868, 0.952)

    Also known as: corrected resampled t.

    Source: Nadeau and Bengio 2003, Machine Learning 52, section 3; that no unbiased
    estimator exists: Bengio and Grandvalet 2004, JMLR 5.
    """
    values = finite_values("corrected_interval", scores, "scores")
    check_positive("corrected_interval", "test_over_train", test_over_train)
    confidence = check_confidence("corrected_interval", confidence)
    return corrected(values, float(test_over_train), confidence).interval


def corrected(scores: np.ndarray, test_over_train: float, confidence: float) -> Corrected:
    """Mean, standard error, interval and p-value of (k,) float64 scores."""
    from scipy import stats

    k = scores.size
    mean = float(scores.mean())
    error = math.sqrt(scores.var(ddof=1) * (1 / k + test_over_train))
    half = float(stats.t.ppf((1 + confidence) / 2, k - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, k - 1)) if error else float(mean == 0)
    return Corrected(mean, error, (mean - half, mean + half), p_value)
