"""Metrics of the probabilities that a classifier gives: how likely, how calibrated."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.labels import cross_entropy as log_loss
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits, classes_of
from jaxcompress.validate.metrics.counting import sums_by_group, sums_up_to
from jaxcompress.validate.metrics.metric import Metric, PerExample, Statistics


def cross_entropy() -> Metric:
    """The mean of minus the log probability that the model gives to the label.

    Outputs are logits (n, classes), targets labels (n,); see `validate.cross_entropy`.

    Returns:
      The metric, in nats, at least 0, by the name "loss"; lower is better.

    Also known as: log loss, negative log likelihood.

    Example:
      >>> metric = jc.validate.metrics.cross_entropy()
      >>> round(metric(jnp.zeros((1, 4)), jnp.array([3])), 3)
      1.386
    """

    def per_example(logits: Array, labels: Array) -> Array:
        logits = checked_logits("loss", "logits", logits)
        return log_loss(logits, checked_labels("loss", labels, logits), None)

    return Metric("loss", per_example, higher_is_better=False)


def brier() -> Metric:
    """The mean squared distance of the probabilities from the label's indicator.

        Brier = mean_i sum_k (p_ik - [k = label_i])²

    The sum is over all classes, so that it lies in [0, 2]; of two classes it is twice
    the squared error of the probability of one.

    Returns:
      The metric, by the name "brier"; lower is better.

    Also known as: quadratic score, mean squared error of probabilities.

    Example:
      >>> jc.validate.metrics.brier()(jnp.zeros((1, 2)), jnp.array([1]))
      0.5

    Source: Brier 1950, Mon. Weather Rev. 78, equation 2.
    """

    def per_example(logits: Array, labels: Array) -> Array:
        logits = checked_logits("brier", "logits", logits)
        labels = checked_labels("brier", labels, logits)
        chances = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
        return jnp.sum((chances - jax.nn.one_hot(labels, logits.shape[-1])) ** 2, axis=-1)

    return Metric("brier", per_example, higher_is_better=False)


def calibration_error(bins: int = 15) -> Metric:
    """How far confidence is from accuracy, in bins of equal width of confidence.

        ECE = sum_b (n_b / n) · |accuracy_b - mean confidence_b|

    Confidence is the probability of the class answered; bin b of B holds those in
    (b / B, (b + 1) / B]. The estimate is biased upwards, by more with more bins:
    compare models on the same examples and bins.

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

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3; Naeini et al. 2015.
    """
    bins = check_count("calibration_error", "bins", bins)

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        confidence = statistics["confidence"].astype(np.float64)
        inner = np.linspace(0, 1, bins + 1)[1:-1]
        surplus = counts * (statistics["correct"] - confidence)
        by_bin = sums_by_group(surplus, np.searchsorted(inner, confidence), bins)
        return np.abs(by_bin).sum(axis=-1) / counts.sum(axis=-1)

    name = "calibration_error"
    return Metric(name, _confidences(name), summary, higher_is_better=False)


def adaptive_calibration_error(bins: int = 15) -> Metric:
    """`calibration_error` in bins that hold the same number of examples each.

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

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        confidence = statistics["confidence"].astype(np.float64)
        order = np.argsort(confidence, kind="stable")
        confidence, correct = confidence[order], statistics["correct"][order]
        ends = np.append(np.flatnonzero(np.diff(confidence)) + 1, confidence.size)
        counts = counts[..., order]
        examples = sums_up_to(counts, ends)
        surplus = sums_up_to(counts * (correct - confidence), ends)
        parts = [_between(*row, bins) for row in zip(_rows(examples), _rows(surplus), strict=True)]
        return np.reshape(parts, counts.shape[:-1])

    name = "adaptive_calibration_error"
    return Metric(name, _confidences(name), summary, higher_is_better=False)


def kl_divergence() -> Metric:
    """The mean divergence of a model's probabilities from another's.

        KL_i = sum_k q_ik (log q_ik - log p_ik),  q the other's, p the model's

    Outputs are logits (n, classes), targets the other model's logits, usually the
    original's. A class that the model rules out and the other does not is infinitely
    far, which is refused.

    Returns:
      The metric, in nats, at least 0, by the name "kl_divergence"; lower is better.

    Also known as: relative entropy, distillation loss at temperature 1.

    Example:
      >>> metric = jc.validate.metrics.kl_divergence()
      >>> round(metric(jnp.zeros((1, 2)), jnp.log(jnp.array([[0.9, 0.1]]))), 3)
      0.368

    Source: Kullback and Leibler 1951, Ann. Math. Stat. 22.
    """

    def per_example(logits: Array, others: Array) -> Array:
        logits = checked_logits("kl_divergence", "logits", logits)
        others = checked_logits("kl_divergence", "targets", others)
        if logits.shape != others.shape:
            raise ValueError(
                f"kl_divergence(targets of shape {others.shape}) needs the shape of the logits,"
                f" {logits.shape}: logits of another model on the same examples."
            )
        ours = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
        theirs = jax.nn.log_softmax(others.astype(jnp.float32), axis=-1)
        # A class of probability 0 adds nothing, also where both are ruled out.
        apart = jnp.where(jnp.isneginf(theirs), 0.0, theirs - ours)
        return jnp.sum(jnp.exp(theirs) * apart, axis=-1)

    return Metric("kl_divergence", per_example, higher_is_better=False)


def _confidences(name: str) -> PerExample:
    """Statistics `confidence` (n,) float32 and `correct` (n,) bool."""

    def per_example(logits: Array, labels: Array) -> dict[str, Array]:
        logits = checked_logits(name, "logits", logits)
        labels = checked_labels(name, labels, logits)
        chances = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
        return {"confidence": jnp.max(chances, axis=-1), "correct": classes_of(logits) == labels}

    return per_example


def _between(examples: np.ndarray, surplus: np.ndarray, bins: int) -> float:
    """The mean of |surplus| of bins that hold the same number of examples each."""
    borders = examples[-1] * np.arange(bins + 1) / bins
    sums = np.interp(borders, np.append(0, examples), np.append(0, surplus))
    return np.abs(np.diff(sums)).sum() / examples[-1]


def _rows(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])
