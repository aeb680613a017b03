"""Metrics of the probabilities that a classifier gives."""

import jax
import jax.numpy as jnp

from jaxcompress.core.labels import cross_entropy as log_loss
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits
from jaxcompress.validate.metrics.metric import Metric


def cross_entropy() -> Metric:
    """The mean of minus the log probability that the model gives to the label.

    Not for: wrong labels, a few of which may decide the mean; `brier` is bounded.

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

    Not for: answers that are wrong for certain, each of which costs at most 2; take
    `cross_entropy`.

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


def kl_divergence() -> Metric:
    """The mean divergence of a model's probabilities from another's.

    Not for: whether answers are right; take `cross_entropy` on labels.

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
