"""Metrics of the class that a model answers: shares of examples."""

import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import agreement as logits_agreement
from jaxcompress.validate.logits import checked_labels, checked_logits
from jaxcompress.validate.metrics.confusion import answers
from jaxcompress.validate.metrics.metric import Mean, Metric


def accuracy() -> Metric:
    """The share of examples whose highest logit is the label's.

    Not for: rare classes; `balanced_accuracy` and `matthews` see them.

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
    return Metric("accuracy", answers("accuracy"), right)


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


def agreement() -> Metric:
    """The share of examples on which a model answers as another does.

    Not for: whether answers are right, since two models may err alike; take `accuracy`.

    Outputs are logits (n, classes), targets the other model's logits, usually the
    original's; see `validate.agreement`.

    Returns:
      The metric, in [0, 1], by the name "agreement".

    Also known as: fidelity of a student, top-1 agreement, one minus the churn.

    Example:
      >>> metric = jc.validate.metrics.agreement()
      >>> metric(jnp.eye(2), jnp.array([[3.0, 1.0], [2.0, 1.0]]))
      0.5
    """
    return Metric("agreement", logits_agreement)
