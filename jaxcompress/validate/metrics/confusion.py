"""Metrics of the confusion of classes: how many of each are found, and found rightly.

All are of counts of labels and predictions by class, so that classes of few examples
count as much as others where a metric means them to.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import KnownValueError, check_count
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits, classes_of
from jaxcompress.validate.metrics.counting import divided, sums_by_group
from jaxcompress.validate.metrics.metric import Metric, Statistics
from jaxcompress.validate.metrics.shares import Share

Figure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Counts of one class among labels, answers and both (…) to values (…)."""
TWO_CLASSES = "labels of two classes or more"


def balanced_accuracy() -> Metric:
    """The mean over classes of the share of their examples that are answered correctly.

    Not for: false alarms among many negatives, which hardly count; take `precision`.

    Classes without examples are left out.

    Returns:
      The metric, in [0, 1], by the name "balanced_accuracy".

    Also known as: macro-averaged recall, mean per-class accuracy.

    Example:
      >>> logits, labels = jnp.eye(2)[jnp.array([0, 0, 0, 0])], jnp.array([0, 0, 0, 1])
      >>> jc.validate.metrics.balanced_accuracy()(logits, labels)
      0.5

    Source: Brodersen et al. 2010, ICPR, equation 5, of any number of classes.
    """

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        actual, _, both = per_class(statistics, counts)
        present = np.sum(actual > 0, axis=-1)
        recalls = np.nansum(divided(both, actual), axis=-1)
        return np.where(present > 1, recalls / np.maximum(present, 1), np.nan)

    name = "balanced_accuracy"
    return Metric(name, answers(name), summary, needs=TWO_CLASSES)


def precision(positive: int = 1) -> Metric:
    """The share of examples answered as one class that are of it.

    Not for: what is missed; take `recall` too, or `f1`.

    Where nothing is answered as it, 0.

    Args:
      positive: the class.

    Returns:
      The metric, in [0, 1], by the name "precision".

    Raises:
      ValueError: it is no class; where outputs are seen, that there are fewer classes.

    Also known as: positive predictive value.

    Example:
      >>> logits = jnp.eye(2)[jnp.array([1, 1, 1, 0])]
      >>> round(jc.validate.metrics.precision()(logits, jnp.array([1, 0, 0, 1])), 3)
      0.333
    """

    def summary(actual: np.ndarray, predicted: np.ndarray, both: np.ndarray) -> np.ndarray:
        return both / np.maximum(predicted, 1)

    return _of_one_class("precision", positive, summary, lambda label, predicted: predicted)


def recall(positive: int = 1) -> Metric:
    """The share of examples of one class that are answered as it.

    Not for: false alarms; take `precision` too, or `f1`.

    Args:
      positive: the class.

    Returns:
      The metric, in [0, 1], by the name "recall".

    Raises:
      ValueError: it is no class; where outputs are seen, that there are fewer classes.

    Also known as: sensitivity, true positive rate, hit rate; of class 0 specificity.

    Example:
      >>> logits = jnp.eye(2)[jnp.array([1, 1, 1, 0])]
      >>> jc.validate.metrics.recall()(logits, jnp.array([1, 0, 0, 1]))
      0.5
    """

    def summary(actual: np.ndarray, predicted: np.ndarray, both: np.ndarray) -> np.ndarray:
        return divided(both, actual)

    return _of_one_class("recall", positive, summary, lambda label, predicted: label)


def f1(positive: int = 1) -> Metric:
    """The harmonic mean of precision and recall of one class.

    Not for: both classes alike, since it ignores true negatives; take `matthews`.

        F1 = 2 · both / (actual + predicted)

    Args:
      positive: the class.

    Returns:
      The metric, in [0, 1], by the name "f1".

    Raises:
      ValueError: it is no class; where outputs are seen, that there are fewer classes.

    Also known as: F-measure, Dice coefficient.

    Example:
      >>> logits = jnp.eye(2)[jnp.array([1, 1, 1, 0])]
      >>> jc.validate.metrics.f1()(logits, jnp.array([1, 0, 0, 1]))
      0.4

    Source: van Rijsbergen 1979, Information Retrieval, chapter 7.
    """

    def summary(actual: np.ndarray, predicted: np.ndarray, both: np.ndarray) -> np.ndarray:
        return 2 * both / np.maximum(actual + predicted, 1)

    # F1 is 2 J / (1 + J) of Jaccard's index J, the share among labels and answers.
    among, of_share = np.logical_or, lambda share: 2 * share / (1 + share)
    return _of_one_class("f1", positive, summary, among, of_share)


def macro_f1() -> Metric:
    """The mean of `f1` over the classes that are among labels or answers.

    Returns:
      The metric, in [0, 1], by the name "macro_f1".

    Example:
      >>> logits = jnp.eye(2)[jnp.array([1, 1, 1, 0])]
      >>> round(jc.validate.metrics.macro_f1()(logits, jnp.array([1, 0, 0, 1])), 3)
      0.2
    """

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        actual, predicted, both = per_class(statistics, counts)
        present = np.sum(actual + predicted > 0, axis=-1)
        return np.nansum(divided(2 * both, actual + predicted), axis=-1) / present

    return Metric("macro_f1", answers("macro_f1"), summary)


def micro_f1() -> Metric:
    """F1 over all pairs of an example and a class, where examples have several labels.

    Not for: rare classes, which frequent ones drown; take `average_precision` of each.

        F1 = 2 · sum both / (sum actual + sum predicted)

    Outputs are logits (n, classes), a class is answered where its logit is above 0;
    targets (n, classes) are 0 and 1. Of one label per example it is the accuracy.

    Returns:
      The metric, in [0, 1], by the name "micro_f1".

    Also known as: micro-averaged F1, multi-label F1.

    Example:
      >>> logits = jnp.array([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
      >>> targets = jnp.array([[1, 0, 0], [1, 0, 1]])
      >>> round(jc.validate.metrics.micro_f1()(logits, targets), 3)
      0.667
    """

    def per_example(logits: Array, targets: Array) -> dict[str, Array]:
        logits = checked_logits("micro_f1", "logits", logits)
        if jnp.shape(targets) != logits.shape:
            raise ValueError(
                f"micro_f1(targets of shape {jnp.shape(targets)}) needs the shape of the logits,"
                f" {logits.shape}: for each class 0 or 1."
            )
        if isinstance(targets, np.ndarray) and not np.isin(targets, (0, 1)).all():
            raise KnownValueError("micro_f1(targets) must be 0 and 1, for each class.")
        actual, predicted = jnp.asarray(targets) != 0, logits > 0
        parts = {"actual": actual, "predicted": predicted, "both": actual & predicted}
        return {name: jnp.sum(part, axis=-1, dtype=jnp.int32) for name, part in parts.items()}

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        actual, predicted, both = (
            counts @ statistics[part] for part in ("actual", "predicted", "both")
        )
        return np.where(actual > 0, 2 * both / np.maximum(actual + predicted, 1), np.nan)

    return Metric("micro_f1", per_example, summary, needs="a label of 1")


def matthews() -> Metric:
    """The correlation of answers with labels, of any number of classes.

    Not for: sets with other shares of classes, with which it moves; take
    `balanced_accuracy`.

        (c · n - sum_k p_k t_k) / sqrt((n² - sum_k p_k²) (n² - sum_k t_k²))

    with c correct of n, and class k answered p_k times and the label t_k times. Where
    all answers are one class, 0.

    Returns:
      The metric, in [-1, 1], by the name "matthews".

    Also known as: Matthews correlation coefficient, MCC, phi coefficient, R_K.

    Example:
      >>> logits = jnp.eye(2)[jnp.array([1, 1, 0, 0])]
      >>> round(jc.validate.metrics.matthews()(logits, jnp.array([1, 1, 0, 1])), 3)
      0.577

    Source: Gorodkin 2004, Comput. Biol. Chem. 28, equation 8; Matthews 1975 for two.
    """

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        actual, predicted, both = per_class(statistics, counts)
        n = counts.sum(axis=-1)
        covariance = both.sum(axis=-1) * n - np.sum(actual * predicted, axis=-1)
        of_labels = n**2 - np.sum(actual**2, axis=-1)
        of_answers = n**2 - np.sum(predicted**2, axis=-1)
        found = covariance / np.sqrt(np.maximum(of_labels * of_answers, 1))
        return np.where(of_labels > 0, found, np.nan)

    return Metric("matthews", answers("matthews"), summary, needs=TWO_CLASSES)


def answers(name: str) -> Callable[[Array, Array], dict[str, Array]]:
    """Statistics `predicted` and `label`, (n,) int32, of logits (n, classes)."""

    def per_example(logits: Array, labels: Array) -> dict[str, Array]:
        logits = checked_logits(name, "logits", logits)
        return {"predicted": classes_of(logits), "label": checked_labels(name, labels, logits)}

    return per_example


def per_class(
    statistics: Statistics, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of each class among labels, answers and both, (…, classes) each."""
    predicted, label = statistics["predicted"], statistics["label"]
    classes = int(max(predicted.max(), label.max())) + 1
    return (
        sums_by_group(counts, label, classes),
        sums_by_group(counts, predicted, classes),
        sums_by_group(counts * (predicted == label), label, classes),
    )


def _of_one_class(
    name: str,
    positive: int,
    figure: Figure,
    among: Callable[..., Any],
    *of_share: Callable[[float], float],
) -> Metric:
    positive = check_count(name, "positive", positive, least=0)
    inner = answers(name)

    def per_example(logits: Array, labels: Array) -> dict[str, Array]:
        found = inner(logits, labels)
        if positive >= jnp.shape(logits)[-1]:
            raise ValueError(
                f"{name}(positive={positive}) is no class of logits of shape {jnp.shape(logits)}."
            )
        return {part: each == positive for part, each in found.items()}

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        predicted, label = statistics["predicted"], statistics["label"]
        actual = counts @ label
        found = figure(actual, counts @ predicted, counts @ (label & predicted))
        return np.where(actual > 0, found, np.nan)

    def parts(statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        predicted, label = statistics["predicted"], statistics["label"]
        return predicted & label, among(label, predicted)

    share = Share(summary, parts, *of_share)
    return Metric(name, per_example, share, needs=f"an example of class {positive}")
