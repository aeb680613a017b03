"""Clipping by unit: no unit's gradient is long beside its weights.

Clipping by the global norm and by value are `optax.clip_by_global_norm`, `optax.clip`.
"""

from typing import Any

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import require_params
from jaxcompress.core.kinds import check_select
from jaxcompress.core.names import map_named
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.penalties import group_norms
from jaxcompress.core.selectors import axes_of, inexact
from jaxcompress.core.trees import chosen_by, named_axes
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.optimizers.hyperparameters import check_sizes
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.moments import as_float32, divided


def clip_units(
    limit: ArrayLike = 0.01,
    *,
    eps: ArrayLike = 1e-3,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> optax.GradientTransformation:
    """Shortens the gradient of each output unit to `limit` times its weights.

    Not for: a gradient that explodes as a whole; `optax.clip_by_global_norm` keeps its
    direction.

        longest_i = limit · max(‖w_i‖, eps)
        g_i <- g_i · min(1, longest_i / ‖g_i‖)

    It comes first in a chain. A unit is one output with all the weights into it; a leaf
    that meets no data (a bias, a norm) is one unit as a whole.

    Args:
      limit: () at least 0; the longest gradient, in lengths of the weights.
      eps: () at least 0; weights that are shorter count as this long, so that units may
        leave zero.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.
      select: which leaves; by default all. The paper leaves the last layer out:
        `none_of(matching("head/*"))`.

    Returns:
      Stateless transformation, in float32 inside; updates keep their dtype, and NaN and
      infinity pass as they are.

    Raises:
      ValueError: a number is negative; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> params = jnp.array([[3.0, 3.0], [4.0, 4.0]])
      >>> grads = jnp.array([[0.6, 0.0], [0.8, 0.1]])
      >>> clip = jc.optimizers.clip_units(0.1)
      >>> clip.update(grads, clip.init(params), params)[0]
      Array([[0.3, 0. ],
             [0.4, 0.1]], dtype=float32)

    Also known as: adaptive gradient clipping, AGC.

    Source: Brock et al. 2021, arXiv:2102.06171, equation 3. Differs from
    `optax.adaptive_grad_clip`: units follow the program's axes, and norms are taken in
    float32 without overflow.
    """
    check_sizes("clip_units", limit=limit, eps=eps)
    check_select("clip_units", select)
    known = named_axes("clip_units", axes)
    select = select or inexact()

    def init(params: Params) -> optax.EmptyState:
        check_trainable("clip_units", params)
        chosen_by("clip_units", select, params)
        return optax.EmptyState()

    def update(updates: optax.Updates, state: Any, params: Params = None):
        require_params("clip_units", params)
        check_gradients("clip_units", updates, params)

        def clipped(name: str, chosen: bool, leaf: Array, update: Array) -> Array:
            if not chosen:
                return update
            roles = axes_of(name, leaf, known)
            within = roles.contracting if roles.meets_data else tuple(range(leaf.ndim))
            short = shortened(update, leaf, within, limit, eps)
            return narrowed(short, update.dtype)

        return map_named(clipped, select(params), params, updates), state

    return optax.GradientTransformation(init, update)


def shortened(
    gradient: Array, weights: Array, within: tuple[int, ...], limit: ArrayLike, eps: ArrayLike
) -> Array:
    """The gradient of one leaf, each unit no longer than limit · max(‖w‖, eps).

    Args:
      gradient: (…) float.
      weights: of the same shape, float.
      within: the axes of a unit; all others count the units.
      limit: () at least 0.
      eps: () at least 0.

    Returns:
      float32 of the same shape.

    Example:
      >>> shortened(jnp.array([2.0]), jnp.array([1.0]), (0,), 0.5, 1e-3)
      Array([0.5], dtype=float32)
    """
    length = group_norms(gradient, within)
    longest = as_float32(limit) * jnp.maximum(group_norms(weights, within), as_float32(eps))
    share = jnp.where(length > longest, divided(longest, length), 1.0)
    return gradient.astype(jnp.float32) * share
