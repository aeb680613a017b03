"""Losses on labels that are drawn from the model's own predictions.

With such labels the mean square of gradients is the Fisher matrix, which for these
losses is the Gauss-Newton matrix. With the labels of the data it is neither.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_key, check_shape
from jaxcompress.core.types import Array, Key, PyTree

Likelihood = Callable[[PyTree, Key], Array]
"""(outputs, key) -> minus log-likelihoods of labels that are drawn, one per example."""


def categorical(logits: Array, key: Key) -> Array:
    """Minus the log-probability of classes drawn from softmax(logits).

    Args:
      logits: (…, classes) float; all leading axes count examples.
      key: PRNG key of the draw.

    Returns:
      (…) float32. Its gradient takes the classes as given.

    Example:
      >>> losses = jc.optimizers.categorical(jnp.zeros((3, 4)), jax.random.key(0))
      >>> losses.shape, float(losses[0])
      ((3,), 1.386)
    """
    check_shape("categorical", "logits", logits, "(…, classes)")
    check_key("categorical", "key", key)
    logits = logits.astype(jnp.float32)
    classes = jax.random.categorical(key, jax.lax.stop_gradient(logits))
    chosen = jax.nn.one_hot(classes, logits.shape[-1], dtype=jnp.float32)
    return -jnp.sum(jax.nn.log_softmax(logits) * chosen, axis=-1)


def gaussian(means: Array, key: Key) -> Array:
    """Half the squared distance to targets drawn around `means` with variance 1.

    Args:
      means: (examples, …) float; the first axis counts examples.
      key: PRNG key of the draw.

    Returns:
      (examples,) float32: -log p up to a constant, for losses ‖output - target‖² / 2.

    Example:
      >>> jc.optimizers.gaussian(jnp.zeros((3, 4)), jax.random.key(0)).shape
      (3,)
    """
    check_shape("gaussian", "means", means, "(examples, …)")
    check_key("gaussian", "key", key)
    means = means.astype(jnp.float32)
    noise = jax.random.normal(key, means.shape, jnp.float32)
    distances = means - jax.lax.stop_gradient(means + noise)
    return jnp.sum(jnp.square(distances), axis=tuple(range(1, means.ndim))) / 2
