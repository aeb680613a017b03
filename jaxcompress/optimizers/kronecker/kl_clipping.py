"""Clipping by the Kullback-Leibler divergence that a natural step would cause."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_transformation
from jaxcompress.core.types import Params
from jaxcompress.optimizers.curvature.vectors import (
    in_dtypes_of,
    in_float32,
    inner_product,
    multiple,
)
from jaxcompress.optimizers.hyperparameters import check_rates, check_sizes
from jaxcompress.optimizers.leafwise import check_gradients
from jaxcompress.optimizers.moments import as_float32, divided


class KlState(NamedTuple):
    """The state of clipping: () int32 updates so far, and the inner state."""

    count: ArrayLike
    inner: optax.OptState


def clip_kl(
    inner: optax.GradientTransformation,
    learning_rate: ArrayLike | optax.Schedule,
    *,
    limit: ArrayLike = 1e-3,
) -> optax.GradientTransformationExtraArgs:
    """Shortens the updates of `inner` so that a step changes predictions only so far.

        update <- update · min(1, sqrt(limit / (learning_rate² · update·g)))

    For update = F⁻¹ g that product is the divergence, to second order and twice.

    Args:
      inner: what makes natural updates of gradients; extra arguments go to it.
      learning_rate: at least 0, the one that comes after: a number, a () array or a
        schedule.
      limit: () at least 0.

    Returns:
      Transformation with a `KlState`; where update·g is not above 0 nothing is clipped.

    Raises:
      ValueError: a number is negative.

    Example:
      >>> clipped = jc.optimizers.clip_kl(optax.identity(), 0.1, limit=0.01)
      >>> clipped.update(jnp.array([3.0, 4.0]), clipped.init(jnp.zeros(2)))[0]
      Array([0.6, 0.8], dtype=float32)

    Source: Ba, Grosse and Martens 2017, "Distributed second-order optimization using
    Kronecker-factored approximations", section 5.
    """
    check_transformation("clip_kl", "inner", inner)
    check_rates("clip_kl", learning_rate=learning_rate)
    check_sizes("clip_kl", limit=limit)
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> KlState:
        return KlState(jnp.zeros((), jnp.int32), inner.init(params))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        check_gradients("clip_kl", updates, params)
        natural, inner_state = inner.update(updates, state.inner, params, **extra)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        wide = in_float32(natural)
        divergence = as_float32(rate) ** 2 * inner_product(wide, in_float32(updates))
        share = jnp.sqrt(divided(jnp.asarray(as_float32(limit)), jnp.maximum(divergence, 0.0)))
        share = jnp.where(divergence > 0, jnp.minimum(share, 1.0), 1.0)
        natural = in_dtypes_of(multiple(share, wide), natural)
        return natural, KlState(optax.safe_increment(state.count), inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
