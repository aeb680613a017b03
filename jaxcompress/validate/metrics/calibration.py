"""Whether the confidence of answers is their accuracy, in bins of examples.

Errors of bins are sums of absolute values, which chance alone makes larger than 0: the
fewer examples in a bin, the larger.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits, classes_of
from jaxcompress.validate.metrics.counting import sums_by_group, sums_up_to
from jaxcompress.validate.metrics.metric import Metric, PerExample, Statistics, Summary

Surplus = Callable[[Statistics, np.ndarray], np.ndarray]
"""(statistics, counts (…, n)) to the surplus s_b of `calibration_error`, (…, bins)."""


def calibration_error(bins: int = 15) -> Metric:
    """How far confidence is from accuracy, in bins of equal width of confidence.

    Not for: quality: a model that gives each example the shares of the classes is
    calibrated; take `brier` or `cross_entropy` too.

        ECE = sum_b |s_b|,  s_b = (n_b / n) · (accuracy_b - mean confidence_b)

    Confidence is the probability of the class answered; bin b of B holds those in
    (b / B, (b + 1) / B]. The figure is above the error of unlimited examples by what
    chance adds to |s_b|, the more so with more bins, and resampling adds it again. Its
    interval allows for that, with s* of a bootstrap sample:

        low   a low quantile of max(0, ECE - sum_b |s*_b - s_b|)
        high  a high quantile of ECE + sum_b sign(s_b) (s*_b - s_b)

    Args:
      bins: number of bins.

    Returns:
      The metric, in [0, 1], by the name "calibration_error"; lower is better.

    Raises:
      ValueError: the number of bins is no count.

    Also known as: expected calibration error, ECE.

    Example:
      >>> metric = jc.validate.metrics.calibration_error()
      >>> round(metric(jnp.log(jnp.array([[0.8, 0.2]] * 2)), jnp.array([0, 1])), 3)
      0.3

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3; Naeini et al. 2015. The
    interval is ours, by the triangle inequality.
    """
    bins = check_count("calibration_error", "bins", bins)

    def surplus(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        confidence = statistics["confidence"].astype(np.float64)
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        each = counts * (statistics["correct"] - confidence)
        by_bin = sums_by_group(each, np.searchsorted(inner, confidence), bins)
        return by_bin / counts.sum(axis=-1)[..., None]

    return _of_bins("calibration_error", surplus)


def adaptive_calibration_error(bins: int = 15) -> Metric:
    """`calibration_error` in bins that hold the same number of examples each.

    Not for: figures beside published ones, whose bins are mostly of equal width; take
    `calibration_error`.

        bin b of B: examples from n · b / B to n · (b + 1) / B, by rising confidence

    An example across the border of two bins is divided between them, and examples of
    equal confidence are of equal, mean correctness, so that order never matters.

    Args:
      bins: number of bins.

    Returns:
      The metric, in [0, 1], by the name "adaptive_calibration_error"; lower is better.

    Raises:
      ValueError: the number of bins is no count.

    Also known as: equal-mass ECE, adaptive ECE.

    Example:
      >>> metric = jc.validate.metrics.adaptive_calibration_error(bins=2)
      >>> round(metric(jnp.log(jnp.array([[0.8, 0.2]] * 2)), jnp.array([0, 1])), 3)
      0.3

    Source: Nguyen and O'Connor 2015, arXiv:1508.05154, section 4.1; of the highest
    probability as in Guo et al. 2017. Differs: borders divide examples.
    """
    bins = check_count("adaptive_calibration_error", "bins", bins)

    def surplus(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        confidence = statistics["confidence"].astype(np.float64)
        order = np.argsort(confidence, kind="stable")
        confidence, correct = confidence[order], statistics["correct"][order]
        ends = np.append(np.flatnonzero(np.diff(confidence)) + 1, confidence.size)
        counts = counts[..., order]
        examples, sums = sums_up_to(counts, ends), sums_up_to(counts * (correct - confidence), ends)
        total = examples[..., -1:]
        at_borders = interpolated(total * np.arange(1, bins + 1) / bins, examples, sums)
        return np.diff(at_borders, axis=-1, prepend=0) / total

    return _of_bins("adaptive_calibration_error", surplus)


def interpolated(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values at some places of the broken lines from (0, 0) through (x, y), by row.

    Args:
      at: (…, places), in (0, x[…, -1]].
      x: (…, points), rising, whole numbers.
      y: (…, points).

    Returns:
      (…, places).
    """
    shape, points = at.shape, x.shape[-1]
    at, x, y = (each.reshape(-1, each.shape[-1]) for each in (at, x, y))
    # All rows are searched at once, each moved behind the one before it.
    moved = np.cumsum(x[:, -1:] + 1, axis=0) - x[:, -1:] - 1
    found = np.searchsorted((x + moved).ravel(), (at + moved).ravel()).reshape(at.shape)
    rows = np.arange(len(x))[:, None]
    right = np.clip(found - rows * points, 0, points - 1)
    left = np.maximum(right - 1, 0)
    x_left, y_left = (np.where(right > 0, each[rows, left], 0) for each in (x, y))
    width = np.maximum(x[rows, right] - x_left, 1)
    share = (at - x_left) / width
    return (y_left + share * (y[rows, right] - y_left)).reshape(shape)


def _of_bins(name: str, surplus: Surplus) -> Metric:
    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        return np.abs(surplus(statistics, counts)).sum(axis=-1)

    def limits(
        summary: Summary, statistics: Statistics, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        of_all = surplus(statistics, np.ones(counts.shape[-1]))
        value, noise = np.abs(of_all).sum(), surplus(statistics, counts) - of_all
        low = np.maximum(value - np.abs(noise).sum(axis=-1), 0)
        return low, value + noise @ np.sign(of_all)

    return Metric(name, _confidences(name), summary, higher_is_better=False, limits=limits)


def _confidences(name: str) -> PerExample:
    """Statistics `confidence` (n,) float32 and `correct` (n,) bool."""

    def per_example(logits: Array, labels: Array) -> dict[str, Array]:
        logits = checked_logits(name, "logits", logits)
        labels = checked_labels(name, labels, logits)
        chances = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
        return {"confidence": jnp.max(chances, axis=-1), "correct": classes_of(logits) == labels}

    return per_example
