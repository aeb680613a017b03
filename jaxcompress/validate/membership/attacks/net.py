"""The small net that learned attacks share: one hidden layer, trained on all rows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcompress.core.types import Array, Key, Params

HIDDEN, STEPS, RATE = 32, 500, 1e-2


def forward(params: Params, inputs: Array) -> Array:
    """One number per row, (rows, features) to (rows,)."""
    hidden = jnp.tanh(inputs @ params["hidden"] + params["hidden_bias"][None])
    return hidden @ params["out"] + params["out_bias"]


def trained(
    key: Key, inputs: Array, weights: Array, loss: Callable[[Array], Array]
) -> tuple[Params, Array]:
    """Trains on all rows at once by Adam, the rate falling to 0 along a cosine.

    Args:
      key: of the first weights.
      inputs: (rows, features) float32, of mean 0 and standard deviation 1.
      weights: (rows,) float32, of the rows' losses.
      loss: outputs (rows,) to losses (rows,).

    Returns:
      The params, and the mean loss at each step.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def mean_loss(params: Params) -> Array:
        return jnp.sum(weights * loss(forward(params, inputs))) / jnp.sum(weights)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(mean_loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    params = {
        "hidden": jax.random.normal(key, (inputs.shape[1], HIDDEN), jnp.float32)
        / inputs.shape[1] ** 0.5,
        "hidden_bias": jnp.zeros(HIDDEN),
        "out": jnp.zeros(HIDDEN),
        "out_bias": jnp.zeros(()),
    }
    (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), None, STEPS)
    return params, losses


def standardized(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Columns in units of the deviation of those of `by`, from their mean, float32.

    A column without spread becomes 0 where it is the mean, and stays finite elsewhere.
    """
    mean, deviation = by.mean(0), by.std(0)
    return ((values - mean) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
