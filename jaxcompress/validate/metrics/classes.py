"""Metrics of the class that a model answers: shares of examples, and of each class."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits, classes_of
from jaxcompress.validate.metrics.counting import divided, sums_by_group
from jaxcompress.validate.metrics.metric import Mean, Metric, Statistics

TWO_CLASSES = "labels of two classes or more"


def accuracy() -> Metric:
    """The share of examples whose highest logit is the label's.

    Outputs are logits (n, classes), targets labels (n,). Statistics are `predicted` and
    `label`; the value of an example is a bool.

    Returns:
      The metric, in [0, 1], by the name "accuracy".

    Also known as: top-1 accuracy, micro-averaged F1 of single labels.

    Example:
      >>> jc.validate.metrics.accuracy()(jnp.eye(4), jnp.array([0, 1, 2, 0]))
      0.75
    """
    right = Mean(lambda answers: answers["predicted"] == answers["label"])
    return Metric("accuracy", partial(answers, "accuracy"), right)


def top_k(k: int) -> Metric:
    """The share of examples whose label is among the k highest logits.

    Among equal logits the earlier class counts, as in `accuracy`, which is `top_k(1)`.

    Args:
      k: at least 1; at most the number of classes.

    Returns:
      The metric, in [0, 1], by the name "top_5" for k of 5.

    Raises:
      ValueError: k is no count; there are fewer classes, seen where outputs are.

    Example:
      >>> logits = jnp.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
      >>> jc.validate.metrics.top_k(2)(logits, jnp.array([1, 2]))
      0.5
    """
    k = check_count("top_k", "k", k)
    name = f"top_{k}"

    def per_example(logits: Array, labels: Array) -> Array:
        logits = checked_logits(name, "logits", logits)
        labels = checked_labels(name, labels, logits)
        classes = jnp.arange(logits.shape[-1])[None]
        if k > classes.size:
            raise ValueError(f"top_k(k={k}) needs {k} classes or more, not {classes.size}.")
        labels = labels[:, None]
        chosen = jnp.max(jnp.where(classes == labels, logits, -jnp.inf), axis=-1, keepdims=True)
        before = (logits > chosen) | ((logits == chosen) & (classes < labels))
        return jnp.sum(before, axis=-1) < k

    return Metric(name, per_example)


def balanced_accuracy() -> Metric:
    """The mean over classes of the share of their examples that are answered correctly.

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
        table = per_class(statistics, counts)
        recalls = np.where(table["actual"] > 0, divided(table["both"], table["actual"]), 0)
        present = np.sum(table["actual"] > 0, axis=-1)
        return np.where(present > 1, divided(recalls.sum(axis=-1), present), np.nan)

    return Metric(
        "balanced_accuracy", partial(answers, "balanced_accuracy"), summary, needs=TWO_CLASSES
    )


def answers(name: str, logits: Array, labels: Array) -> dict[str, Array]:
    """The class predicted and the label of each example, (n,) int32."""
    logits = checked_logits(name, "logits", logits)
    return {"predicted": classes_of(logits), "label": checked_labels(name, labels, logits)}


def per_class(statistics: Statistics, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Counts of each class among labels, predictions and both, (…, classes)."""
    predicted, label = statistics["predicted"], statistics["label"]
    classes = int(max(predicted.max(), label.max())) + 1
    return {
        "actual": sums_by_group(counts, label, classes),
        "predicted": sums_by_group(counts, predicted, classes),
        "both": sums_by_group(counts * (predicted == label), label, classes),
    }
