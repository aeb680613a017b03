"""Sparse variational dropout: noise of its own size on every weight, learned with it.

Maths on one array. Where the noise drowns a weight, nothing is lost without it.

    w = mean + exp(log_variance / 2) · noise,   log_alpha = log_variance - log mean²
"""

import jax
import jax.numpy as jnp

from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Key

K1, K2, K3 = 0.63576, 1.87320, 1.48695
"""Of the fitted approximation of the divergence."""

TINY = 1e-16
"""Added to squared means, so that log_alpha is finite at 0."""


def noisy(mean: Array, log_variance: Array, key: Key) -> Array:
    """One draw of the weights, for training.

        w = mean + exp(log_variance / 2) · noise

    One draw serves a whole batch. Where a layer is at hand, drawing its outputs from
    N(x @ mean, x² @ variance) gives gradients of less variance.

    Args:
      mean: (...) float.
      log_variance: of the same shape; begin with about -10.
      key: random key.

    Returns:
      (...) of the dtype of `mean`.

    Example:
      >>> jc.prune.noisy(jnp.array([2.0]), jnp.array([-40.0]), jax.random.key(0))
      Array([2.], dtype=float32)

    Source: Molchanov et al. 2017, arXiv:1701.05369, section 4.2, additive noise.
    """
    noise = jax.random.normal(key, mean.shape, jnp.float32)
    wide = mean.astype(jnp.float32) + jnp.exp(log_variance.astype(jnp.float32) / 2) * noise
    return narrowed(wide, mean.dtype)


def log_noise_ratio(mean: Array, log_variance: Array) -> Array:
    """How the noise of each weight compares with the weight: prune what is above 3.

        log_alpha = log_variance - log(mean² + 1e-16)

    Args:
      mean: (...) float.
      log_variance: of the same shape.

    Returns:
      (...) float32; its negative is a score for `constant`.

    Example:
      >>> jc.prune.log_noise_ratio(jnp.array([1.0, 0.01]), jnp.array([-5.0, -5.0]))
      Array([-5.  ,  4.21], dtype=float32)

    Source: Molchanov et al. 2017, arXiv:1701.05369, section 4.2.
    """
    squares = jnp.square(mean.astype(jnp.float32))
    return log_variance.astype(jnp.float32) - jnp.log(squares + TINY)


def variational_loss(log_alpha: Array) -> Array:
    """The divergence of noisy weights from the prior that favours none: add to a loss.

        KL = Σ 0.63576 - 0.63576 · sigmoid(1.87320 + 1.48695 · log_alpha)
               + log(1 + 1 / alpha) / 2

    It falls as the noise grows, to 0. To be added to the mean loss of an example as
    `variational_loss(log_alpha) / examples`, raised from 0 over the first epochs.

    Args:
      log_alpha: (...) as `log_noise_ratio` gives it.

    Returns:
      () float32, at least 0 up to rounding.

    Example:
      >>> jc.prune.variational_loss(jnp.array([-8.0, 0.0, 20.0]))
      Array(5.07, dtype=float32)

    Source: Molchanov et al. 2017, arXiv:1701.05369, equation 14.
    """
    log_alpha = log_alpha.astype(jnp.float32)
    fitted = K1 * jax.nn.sigmoid(-(K2 + K3 * log_alpha))
    return jnp.sum(fitted + jax.nn.softplus(-log_alpha) / 2)
