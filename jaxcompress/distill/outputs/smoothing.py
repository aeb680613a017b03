"""Label smoothing, the teacher-free baseline."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_share
from jaxcompress.core.labels import counted, cross_entropy
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import checked_labels, checked_logits


def smoothed_labels(
    logits: ArrayLike, labels: ArrayLike, *, smoothing: float = 0.1, ignore: int | None = None
) -> Array:
    """Cross-entropy with labels of which a share goes to all classes alike.

    Not for: what classes have in common, as all wrong ones get one share;
    `soft_targets` has it from a teacher.

        loss = -(1 - smoothing) · log q_label - smoothing · mean_j log q_j

    What distillation gains beyond it is what the teacher knows: a teacher that says
    the same of every wrong class teaches no more than this.

    Also known as: label smoothing, label-smoothing regularization (LSR), teacher-free
    knowledge distillation (Tf-KD) with a uniform virtual teacher.

    Args:
      logits: (..., classes), floating. A class at -inf gets no share.
      labels: (...), integer in [0, classes). Any other label gives NaN and a gradient
        of NaN.
      smoothing: in [0, 1], may be traced; 0 is `hard_targets`.
      ignore: the label of examples whose loss and gradient are 0; divide the sum of
        losses by that of `counted`.

    Returns:
      (...) float32, least where the probabilities are the smoothed label.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: the shapes do not fit, smoothing is outside [0, 1], or `ignore` is no
        integer label.

    Example:
      >>> loss = jc.distill.outputs.smoothed_labels
      >>> loss(jnp.zeros((1, 2)), jnp.array([1])) / jnp.log(2)
      Array([1.], dtype=float32)

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7; as distillation Yuan et
    al. 2019, arXiv:1909.11723.
    """
    logits = checked_logits("smoothed_labels", "logits", logits)
    labels = checked_labels("smoothed_labels", labels, logits, ignore)
    check_share("smoothed_labels", "smoothing", smoothing)
    share = as_float32(smoothing)
    counts = counted(labels, ignore=ignore)
    hard = cross_entropy(logits, labels, ignore)
    # Logits that do not count may hold anything, also for the gradient.
    logits = jnp.where(counts[..., None], logits.astype(jnp.float32), 0.0)
    possible = logits != -jnp.inf
    mean = jnp.mean(jnp.where(possible, logits, 0.0), axis=-1, where=possible)
    uniform = jax.nn.logsumexp(logits, axis=-1) - mean
    return (1 - share) * hard + share * jnp.where(counts, uniform, 0.0)
