"""The proximal step after an update: one transformation for all penalties with one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_rate, check_size, require_params
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named
from jaxcompress.core.types import Array, Params

Operator = Callable[[Array, ArrayLike], Array]
"""(leaf with its update added, threshold) -> what it becomes, of the same dtype."""


class ProximalState(NamedTuple):
    """State of the proximal step: () int32, updates so far."""

    count: ArrayLike


def proximal(
    caller: str,
    learning_rate: ArrayLike | optax.Schedule,
    weight: ArrayLike,
    operators: Callable[[Params], dict[str, Operator]],
) -> optax.GradientTransformation:
    """Moves each leaf to where its operator puts it, after the updates before.

        w <- operator(w + update, learning_rate · weight)

    Args:
      caller: whom errors name.
      learning_rate: that of the chain before it: a number, a () array or a schedule.
      weight: () at least 0.
      operators: by leaf name, of params as the update would leave them; leaves without
        one keep their updates.

    Returns:
      Transformation with a `ProximalState`.

    Raises:
      ValueError: a number is negative or not finite; params are missing.

    Source: Parikh and Boyd 2014, "Proximal Algorithms", section 4.2.
    """
    check_rate(caller, "learning_rate", learning_rate)
    check_size(caller, "weight", weight)

    def init(params: Params) -> ProximalState:
        operators(params)
        return ProximalState(jnp.zeros((), jnp.int32))

    def update(updates: optax.Updates, state: Any, params: Params = None):
        require_params(caller, params)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        reached = map_named(lambda _, leaf, update: _sum(leaf, update), params, updates)
        known = operators(reached)

        def landing(name: str, leaf: Array, target: Array, update: Array) -> Array:
            if name not in known:
                return update
            # The sum with the parameter is then exactly 0 where the target is.
            return known[name](target, rate * weight) - leaf.astype(target.dtype)

        updates = map_named(landing, params, reached, updates)
        return updates, ProximalState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def _sum(leaf: Array, update: Array) -> Array:
    if is_compressed(leaf):
        return leaf
    wide = jnp.promote_types(jnp.promote_types(leaf.dtype, update.dtype), jnp.float32)
    return leaf.astype(wide) + update.astype(wide)
