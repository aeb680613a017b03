"""Hard-concrete gates (L0 regularization): switches that are often exactly 0 or 1.

Maths on one array of gates. A gate per weight, or per unit: gates broadcast to what
they multiply. Which units have a gate, and when it is read off, is decided elsewhere.

    s = sigmoid((log u - log(1 - u) + log_alpha) / TEMPERATURE),   u uniform in (0, 1)
    z = clip(s · (HIGH - LOW) + LOW, 0, 1)
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, Key

TEMPERATURE = 2 / 3
LOW, HIGH = -0.1, 1.1
"""The interval a concrete variable is stretched to before it is cut off at 0 and 1."""


def sample(log_alpha: Array, key: Key) -> Array:
    """Draws every gate once, for training.

    Args:
      log_alpha: (…) float, the larger the more often open.
      key: random key.

    Returns:
      (…) of the dtype of `log_alpha`, in [0, 1], both ends included.

    Example:
      >>> sample(jnp.array([-20.0, 20.0]), jax.random.key(0))
      Array([0., 1.], dtype=float32)

    Source: Louizos et al. 2018, arXiv:1712.01312, equations 10 and 11, section 4.1.
    """
    noise = jax.random.logistic(key, log_alpha.shape, jnp.float32)
    stretched = _stretched((noise + log_alpha.astype(jnp.float32)) / TEMPERATURE)
    return stretched.astype(log_alpha.dtype)


def at_test(log_alpha: Array) -> Array:
    """Gives the gate without noise, for evaluation and to decide what to remove.

        z = clip(sigmoid(log_alpha) · (HIGH - LOW) + LOW, 0, 1)

    Args:
      log_alpha: (…) float.

    Returns:
      (…) of the dtype of `log_alpha`, in [0, 1]; exactly 0 or 1 far from 0.

    Example:
      >>> at_test(jnp.array([-3.0, 0.0, 3.0]))
      Array([0. , 0.5, 1. ], dtype=float32)

    Source: Louizos et al. 2018, arXiv:1712.01312, equation 13.
    """
    return _stretched(log_alpha.astype(jnp.float32)).astype(log_alpha.dtype)


def open_probability(log_alpha: Array) -> Array:
    """The probability that a draw of the gate is not 0.

        sigmoid(log_alpha - TEMPERATURE · log(-LOW / HIGH))

    Args:
      log_alpha: (…) float.

    Returns:
      (…) float32 in [0, 1].

    Example:
      >>> open_probability(jnp.zeros(()))
      Array(0.832, dtype=float32)

    Source: Louizos et al. 2018, arXiv:1712.01312, equation 12.
    """
    return jax.nn.sigmoid(log_alpha.astype(jnp.float32) - TEMPERATURE * math.log(-LOW / HIGH))


def penalty(log_alpha: Array, sizes: ArrayLike = 1.0) -> Array:
    """The expected number of weights behind open gates, to be added to a loss.

        Σ sizes · open_probability(log_alpha)

    Args:
      log_alpha: (…) float.
      sizes: weights behind each gate; broadcasts to the gates.

    Returns:
      () float32, at least 0.

    Example:
      >>> penalty(jnp.array([20.0, -20.0]), sizes=30)
      Array(30., dtype=float32)

    Source: Louizos et al. 2018, arXiv:1712.01312, equation 12 and section 2.3.
    """
    return jnp.sum(open_probability(log_alpha) * sizes)


def _stretched(logits: Array) -> Array:
    return jnp.clip(jax.nn.sigmoid(logits) * (HIGH - LOW) + LOW, 0.0, 1.0)
