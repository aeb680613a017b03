"""Leaf by leaf, as in `leafwise`, with moments that some axes of a leaf share."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.names import leaf_names, map_named
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.leafwise import (
    MomentsState,
    check_gradients,
    check_trainable,
    map_to_trees,
)

Within = Callable[[LeafAxes, int], tuple[int, ...]]
"""(the roles of a leaf's axes, how many there are) -> the axes that share a moment."""


def axiswise(
    caller: str, step: Callable[..., tuple[Any, ...]], axes: Axes | None, **within: Within
) -> optax.GradientTransformation:
    """Runs `step` on every leaf in float32, its moments of size 1 along some axes.

    Args:
      caller: the name that errors give.
      step: (roles, count () int32 from 1, gradient (…), *moments (…)) -> (update,
        *moments), all float32 but the count.
      axes: from `graph.axes`; None for the layout of `assumed_axes`.
      within: by the name of each moment, in the order in which `step` takes them, along
        which axes it has size 1.

    Returns:
      Transformation with a `MomentsState`. Moments have the rank of their leaf, so
      they broadcast to it. Updates have the dtype of the gradients.

    Raises:
      ValueError: when `init` sees the params: `axes` was made for others.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> def step(roles, count, gradient, largest):
      ...     return gradient, jnp.maximum(largest, jnp.max(gradient, 0, keepdims=True))
      >>> rows = axiswise("rows", step, None, largest=lambda roles, ndim: (0,))
      >>> grads = jnp.array([[1.0, 2.0, 0.0], [3.0, 1.0, 0.0]])
      >>> rows.update(grads, rows.init(grads))[1].moments["largest"]
      Array([[3., 2., 0.]], dtype=float32)
    """
    known = named_axes(caller, axes)

    def init(params: Params) -> MomentsState:
        check_trainable(caller, params)

        def zeros(name: str, leaf: Array, shared: Within) -> Array:
            along = shared(axes_of(name, leaf, known), jnp.ndim(leaf))
            # A sum, so that what is left of the leaf's sharding stays.
            return jnp.sum(jnp.zeros_like(leaf, jnp.float32), axis=along, keepdims=True)

        def started(shared: Within) -> PyTree:
            return map_named(lambda name, leaf: zeros(name, leaf, shared), params)

        moments = {name: started(shared) for name, shared in within.items()}
        return MomentsState(jnp.zeros((), jnp.int32), moments)

    def update(updates: optax.Updates, state: Any, params: Params = None):
        check_gradients(caller, updates, params)
        count = optax.safe_increment(state.count)

        def on_leaf(name: str, gradient: Array, *moments: Array) -> tuple[Any, ...]:
            roles = axes_of(name, gradient, known)
            update, *after = step(roles, count, gradient.astype(jnp.float32), *moments)
            return narrowed(update, gradient.dtype), *after

        rest = [state.moments[name] for name in within]
        results = 1 + len(within)
        updates, *moments = map_to_trees(on_leaf, results, leaf_names(updates), updates, *rest)
        return updates, MomentsState(count, dict(zip(within, moments, strict=True)))

    return optax.GradientTransformation(init, update)


def mean_along(x: Array, axes: tuple[int, ...]) -> Array:
    """The mean along axes that stay with size 1; 0 of no numbers.

    Example:
      >>> mean_along(jnp.array([[1.0, 3.0]]), (1,))
      Array([[2.]], dtype=float32)
    """
    count = math.prod(x.shape[axis] for axis in axes)
    return jnp.sum(x, axis=axes, keepdims=True) / max(count, 1)
