"""Penalties that shrink whole units during training, as optax transformations.

What is then removed is decided by `amounts`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxcompress.core import exports, penalties
from jaxcompress.core.axes import Axes
from jaxcompress.core.checks import check_real, check_size, require_params
from jaxcompress.core.kinds import check_select
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.proximal import Operator, proximal
from jaxcompress.core.selectors import axes_of, weights
from jaxcompress.core.trees import chosen_by, named_axes
from jaxcompress.core.types import Array, Params, Selector

exports.list_definitions(globals())

Groups = dict[str, tuple[int, ...]]
"""By leaf name, the axes along which the entries of one group lie."""


def group_lasso(
    weight: ArrayLike, *, axes: Axes | None = None, select: Selector | None = None
) -> optax.GradientTransformation:
    """Adds the gradient of a group lasso over output units to the updates.

    Not for: units that are exactly 0, to which `proximal_group_lasso` brings them.

    Also known as: structured sparsity learning (SSL), L2,1 penalty.

    All weights into one unit (an output channel) form a group, so that whole units
    shrink. Comes first in a chain, where updates are gradients. Groups get small,
    rarely exactly 0: for that there is `proximal_group_lasso`.

        gradient <- gradient + weight · sqrt(entries) · w / ‖w‖   in each group

    Args:
      weight: () at least 0.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.
      select: which leaves; by default those that meet data.

    Returns:
      Stateless transformation.

    Raises:
      ValueError: a number is negative or not finite; when the params are seen: nothing
        is selected, or a selected leaf is empty or has no output units;
        params are missing.
      TypeError: a selected leaf is compressed or not real floating.

    Example:
      >>> params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 0.0]])}
      >>> penalty = jc.structure.penalties.group_lasso(0.1)
      >>> grads = {"kernel": jnp.zeros((2, 2))}
      >>> penalty.update(grads, penalty.init(params), params)[0]["kernel"]
      Array([[0.0849, 0.    ],
             [0.1131, 0.    ]], dtype=float32)

    Source: Wen et al. 2016, arXiv:1608.03665, equation 2. Differs: the sqrt of the
    group's size weighs groups of different sizes alike, as in Yuan and Lin 2006.
    """
    named_axes("group_lasso", axes)
    check_select("group_lasso", select)
    check_size("group_lasso", "weight", weight)

    def gradient(leaf: Array, within: tuple[int, ...]) -> Array:
        return penalties.group_lasso_subgradient(leaf, within) * weight

    def units(params: Params) -> Groups:
        return _groups("group_lasso", params, axes, select)

    return _added("group_lasso", gradient, units)


def proximal_group_lasso(
    learning_rate: ArrayLike | optax.Schedule,
    weight: ArrayLike,
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
) -> optax.GradientTransformation:
    """Shrinks the weights of each output unit after a step, small ones to exactly 0.

    Not for: a size that must be met, which the weight only steers; `remove` takes a
    budget.

    Also known as: proximal gradient with group lasso, block soft thresholding.

    Comes last in a chain, where updates are what `apply_updates` adds:

        w <- prox(w + update),   per group
        prox(v) = v · max(0, 1 - learning_rate · weight · sqrt(entries) / ‖v‖)

    A unit may return where the gradient is strong enough.

    Args:
      learning_rate: that of the chain before it: a number, a () array or a schedule.
      weight: () at least 0.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.
      select: which leaves; by default those that meet data.

    Returns:
      Transformation with a `ProximalState`.

    Raises:
      ValueError: a number is negative or not finite; when the params are seen: nothing
        is selected, or a selected leaf is empty or has no output units;
        params are missing.
      TypeError: a selected leaf is compressed or not real floating.

    Example:
      >>> params = {"kernel": jnp.array([[3.0, 0.1], [4.0, 0.1]])}
      >>> proximal = jc.structure.penalties.proximal_group_lasso(0.5, weight=2**0.5)
      >>> optimizer = optax.chain(optax.sgd(0.5), proximal)
      >>> grads = {"kernel": jnp.zeros((2, 2))}
      >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
      >>> optax.apply_updates(params, updates)["kernel"]
      Array([[2.4, 0. ],
             [3.2, 0. ]], dtype=float32)

    Source: Parikh and Boyd 2014, "Proximal Algorithms", sections 4.2 and 6.5.1.
    """
    named_axes("proximal_group_lasso", axes)
    check_select("proximal_group_lasso", select)

    def operators(params: Params) -> dict[str, Operator]:
        groups = _groups("proximal_group_lasso", params, axes, select)
        return {name: partial(_shrunk, within) for name, within in groups.items()}

    return proximal("proximal_group_lasso", learning_rate, weight, operators)


def _shrunk(within: tuple[int, ...], target: Array, threshold: ArrayLike) -> Array:
    return penalties.shrink_groups(target, threshold, within).astype(target.dtype)


def _added(
    caller: str,
    gradient: Callable[[Array, tuple[int, ...]], Array],
    groups: Callable[[Params], Groups],
) -> optax.GradientTransformation:
    """Adds `gradient(leaf, within)` to the updates of the leaves that have groups."""

    def init(params: Params) -> optax.EmptyState:
        groups(params)
        return optax.EmptyState()

    def update(updates: optax.Updates, state: Any, params: Params = None):
        require_params(caller, params)
        within = groups(params)

        def with_penalty(name: str, leaf: Array, update: Array) -> Array:
            if name not in within:
                return update
            return update + gradient(leaf, within[name]).astype(update.dtype)

        return map_named(with_penalty, params, updates), state

    return optax.GradientTransformation(init, update)


def _groups(caller: str, params: Params, axes: Axes | None, select: Selector | None) -> Groups:
    """The groups of output units."""
    known = named_axes(caller, axes)
    within = {}
    for name, leaf in _selected(caller, params, select or weights(axes)).items():
        within[name] = axes_of(name, leaf, known).contracting
        if not within[name]:
            raise ValueError(
                f"{caller}: leaf {name!r} of shape {tuple(leaf.shape)} has no output units with "
                "weights into them. Leave it out with select=."
            )
    return within


def _selected(caller: str, params: Params, select: Selector) -> dict[str, Array]:
    """The leaves to penalise, by name; nothing is computed."""
    leaves, chosen = named_leaves(params), chosen_by(caller, select, params)
    selected = {name: leaf for name, leaf in leaves.items() if chosen[name]}
    if leaves and not selected:
        raise ValueError(f"{caller}(select=...) selects no leaf. Leaves are: {', '.join(leaves)}.")
    for name, leaf in selected.items():
        if is_compressed(leaf):
            raise TypeError(
                f"{caller}: leaf {name!r} is {leaf!r}, whose arrays are no weights. Leave it out "
                "with select=."
            )
        check_real(caller, name, leaf)
    return selected
