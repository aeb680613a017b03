"""Annealed gradient noise: large at first, then less and less."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_key
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.optimizers.hyperparameters import check_sizes
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.moments import as_float32


class NoiseState(NamedTuple):
    """The state of the noise: () int32 updates so far, and the key of the next."""

    count: ArrayLike
    key: Key


def gradient_noise(
    key: Key, *, variance: ArrayLike = 0.01, decay: ArrayLike = 0.55
) -> optax.GradientTransformation:
    """Adds normal noise whose variance falls with the steps; first in a chain.

        g <- g + sqrt(variance / (1 + t)^decay) · normal,   t from 0

    Args:
      key: PRNG key; the state holds it, so a run that was resumed sees the same noise.
        Under `inject_hyperparams` it goes into `static_args`.
      variance: () at least 0, of the first step.
      decay: () at least 0, how fast the variance falls.

    Returns:
      Transformation with a `NoiseState`, in float32 inside; updates keep their dtype.

    Raises:
      ValueError: a number is negative.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> noise = jc.optimizers.gradient_noise(jax.random.key(0), variance=0.0)
      >>> noise.update(jnp.ones(2), noise.init(jnp.zeros(2)))[0]
      Array([1., 1.], dtype=float32)

    Source: Neelakantan et al. 2015, arXiv:1511.06807, equation 1. Differs from
    `optax.add_noise`: narrow gradients are not widened.
    """
    check_key("gradient_noise", "key", key)
    check_sizes("gradient_noise", variance=variance, decay=decay)

    def init(params: Params) -> NoiseState:
        check_trainable("gradient_noise", params)
        return NoiseState(jnp.zeros((), jnp.int32), key)

    def update(updates: optax.Updates, state: Any, params: Params = None):
        check_gradients("gradient_noise", updates, params)
        following, current = jax.random.split(state.key)
        time = 1.0 + state.count.astype(jnp.float32)
        deviation = jnp.sqrt(as_float32(variance) * time ** -as_float32(decay))
        leaves, outline = jax.tree.flatten(updates)
        keys = jax.random.split(current, len(leaves)) if leaves else ()

        def noisy(leaf: Array, key: Key) -> Array:
            normal = jax.random.normal(key, leaf.shape, jnp.float32)
            return narrowed(leaf.astype(jnp.float32) + deviation * normal, leaf.dtype)

        updates = outline.unflatten([noisy(*pair) for pair in zip(leaves, keys, strict=True)])
        return updates, NoiseState(optax.safe_increment(state.count), following)

    return optax.GradientTransformation(init, update)
