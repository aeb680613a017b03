"""Confidences: how sure an answer is, from its logits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.logits import checked_logits

Confidence = Callable[[Array], Array]
"""Logits (..., classes) -> (...) float32, higher where the answer is surer."""


def largest_probability(logits: ArrayLike) -> Array:
    """Confidence: the probability of the class answered.

    Not for: the chance that an answer is right, unless the model is calibrated;
    `fit_cascade` finds a threshold by labels.

    Args:
      logits: (..., classes), floating.

    Returns:
      (...) float32 in [1 / classes, 1].

    Example:
      >>> jc.distill.ensembles.largest_probability(jnp.log(jnp.array([0.75, 0.25])))
      Array(0.75, dtype=float32)

    Also known as: maximum softmax probability, MSP.
    """
    logits = checked_logits("largest_probability", "logits", logits)
    return jnp.max(jax.nn.softmax(logits.astype(jnp.float32), axis=-1), axis=-1)


def margin(logits: ArrayLike) -> Array:
    """Confidence: how far the first class is above the second, in probability.

    Args:
      logits: (..., classes), floating, of two classes or more.

    Returns:
      (...) float32 in [0, 1].

    Raises:
      ValueError: there are fewer than two classes.

    Example:
      >>> jc.distill.ensembles.margin(jnp.log(jnp.array([0.75, 0.25])))
      Array(0.5, dtype=float32)
    """
    logits = checked_logits("margin", "logits", logits)
    if logits.shape[-1] < 2:
        raise ValueError(f"margin(logits of shape {logits.shape}) needs two classes or more.")
    best, _ = jax.lax.top_k(jax.nn.softmax(logits.astype(jnp.float32), axis=-1), 2)
    return best[..., 0] - best[..., 1]


def negative_entropy(logits: ArrayLike) -> Array:
    """Confidence: minus the entropy of the probabilities, in nats.

    Args:
      logits: (..., classes), floating.

    Returns:
      (...) float32 in [-log(classes), 0].

    Example:
      >>> -jc.distill.ensembles.negative_entropy(jnp.zeros(2)) / jnp.log(2)
      Array(1., dtype=float32)
    """
    logits = checked_logits("negative_entropy", "logits", logits)
    logs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    return jnp.sum(jax.scipy.special.xlogy(jnp.exp(logs), jnp.exp(logs)), axis=-1)


def confidences_of(caller: str, confidence: Confidence, logits: Array) -> Array:
    """How sure each answer is, in float32."""
    sure = confidence(logits)
    floating = jnp.issubdtype(getattr(sure, "dtype", np.dtype(bool)), jnp.floating)
    if not floating or sure.shape != logits.shape[:-1]:
        raise TypeError(
            f"{caller}(confidence) gives {shown(sure)} for logits of shape {logits.shape}, which "
            f"must be floating, of shape {logits.shape[:-1]}."
        )
    return jnp.asarray(sure, jnp.float32)
