"""Metrics of sequences, whose examples are of many tokens each."""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.labels import check_ignore, counted
from jaxcompress.core.labels import cross_entropy as log_loss
from jaxcompress.core.types import Array
from jaxcompress.validate.logits import checked_labels, checked_logits
from jaxcompress.validate.metrics.counting import divided
from jaxcompress.validate.metrics.metric import Metric, Statistics


def perplexity(*, ignore: int | None = None) -> Metric:
    """The exponential of the mean cross-entropy over all tokens that count.

        exp(sum_it loss_it / number of tokens that count)

    Outputs are logits (n, time, classes), targets labels (n, time). Long sequences
    weigh more; its interval resamples sequences, since tokens of one depend on one
    another.

    Args:
      ignore: the label of tokens that do not count, such as -100 for padding.

    Returns:
      The metric, at least 1, by the name "perplexity"; lower is better.

    Raises:
      ValueError: `ignore` is no integer label.

    Example:
      >>> metric = jc.validate.metrics.perplexity(ignore=-100)
      >>> round(metric(jnp.zeros((1, 3, 5)), jnp.array([[0, 4, -100]])), 3)
      5.0

    Source: Jelinek et al. 1977, J. Acoust. Soc. Am. 62.
    """
    check_ignore("perplexity", ignore)

    def per_example(logits: Array, labels: Array) -> dict[str, Array]:
        shape = jnp.shape(labels)
        if len(shape) != 2 or jnp.shape(logits)[:-1] != shape:
            raise ValueError(
                f"perplexity(labels of shape {shape}, logits of shape {jnp.shape(logits)}) needs"
                " labels (n, time) and logits (n, time, classes)."
            )
        flat = checked_logits("perplexity", "logits", logits.reshape(-1, logits.shape[-1]))
        flat_labels = checked_labels("perplexity", labels.reshape(-1), flat, ignore)
        losses = log_loss(flat, flat_labels, ignore).reshape(shape)
        tokens = counted(flat_labels, ignore=ignore).reshape(shape)
        return {
            "loss": jnp.sum(losses, axis=-1),
            "tokens": jnp.sum(tokens, axis=-1, dtype=jnp.int32),
        }

    def summary(statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        loss = counts @ statistics["loss"].astype(np.float64)
        with np.errstate(over="ignore"):
            return np.exp(divided(loss, counts @ statistics["tokens"]))

    needs = "a token that counts"
    return Metric("perplexity", per_example, summary, higher_is_better=False, needs=needs)
