"""Metrics of the probabilities that a classifier gives: how likely, how calibrated."""

from jaxcompress.core.labels import cross_entropy as log_loss
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits
from jaxcompress.validate.metrics.metric import Metric


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
