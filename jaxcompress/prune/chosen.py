"""The leaves that a target chooses, and their masks, in training and after it."""

import functools
import numbers
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_concrete, check_finite, check_range, check_real
from jaxcompress.core.evidence import without_data
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.selectors import axes_of, weights
from jaxcompress.core.trees import check_arrays, chosen_by
from jaxcompress.core.types import Array, Masks, Params, PyTree
from jaxcompress.prune.criterion import Criterion
from jaxcompress.prune.ranking import count_true
from jaxcompress.prune.target import Sparsity, Target

Check = Callable[[str, str, Array], None]
"""Raises an error for a leaf that cannot be pruned: (caller, leaf name, leaf)."""


class Group(NamedTuple):
    """Leaves that share one sparsity: those that one rule is the first to match."""

    sparsity: Sparsity
    axes: dict[str, LeafAxes]


def check_leaf(caller: str, name: str, leaf) -> None:
    """Raises an error for a leaf that is compressed, empty or not real floating."""
    if is_compressed(leaf):
        raise TypeError(
            f"{caller}: leaf {name!r} is a {type(leaf).__name__}, already compressed. "
            "Prune first, then quantize with the masks; or leave it out with select=."
        )
    check_real(caller, name, leaf)


def check_sized(caller: str, name: str, leaf) -> None:
    """As `check_leaf`, but a complex leaf passes: it is worth its absolute values."""
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating) and not is_compressed(leaf):
        leaf = jax.ShapeDtypeStruct(leaf.shape, jnp.float32)
    check_leaf(caller, name, leaf)


def groups(
    caller: str,
    params: Params,
    target: Target,
    check: Check = check_leaf,
) -> list[Group]:
    """The leaves to prune, by the rule that says how much; nothing is computed.

    `check` refuses leaves.

    Raises:
      TypeError: a leaf to prune is compressed, or not of a real floating dtype.
      ValueError: no leaf of a tree that has leaves is to be pruned, a rule is never
        used, a leaf to prune is empty, or the axes are of another tree.
    """
    leaves = named_leaves(params)
    check_arrays(caller, "params", params)
    selected = chosen_by(f"{caller}: Target", target.select or weights(target.axes), params)
    amounts = as_rules(target.sparsity).pairs
    rules = Rules((pattern, rank) for rank, (pattern, _) in enumerate(amounts))
    assigned = rules.assign([name for name in leaves if selected[name]])
    if leaves and not assigned:
        raise ValueError(
            f"{caller}: Target(select=...) selects no leaf. Leaves are: {', '.join(leaves)}. "
            "By default leaves that meet data in a dot, convolution or gather are selected."
        )
    known = None if target.axes is None else named_leaves(target.axes)
    found = [Group(amount, {}) for _, amount in amounts]
    for name, rank in assigned.items():
        check(caller, name, leaves[name])
        found[rank].axes[name] = axes_of(name, leaves[name], known)
    return found


def fixed_groups(
    caller: str, params: Params, target: Target, check: Check = check_leaf
) -> list[Group]:
    """The leaves to prune at sparsities that are numbers, each with its axes."""
    for _, sparsity in as_rules(target.sparsity).pairs:
        check_range(caller, "target", float(sparsity), 0, 1)
    return groups(caller, params, target, check)


def with_data(
    caller: str, found: list[Group], unreached: Mapping[str, str], target: Target
) -> tuple[list[Group], dict[str, str]]:
    """The groups without leaves that no data reached, and why those are left out.

    Raises:
      ValueError: such a leaf was asked for by name, or no other is left.
    """
    names = [name for group in found for name in group.axes]
    left = without_data(caller, unreached, names, target.select, target.sparsity)
    return [
        Group(amount, {name: each for name, each in axes.items() if name not in left})
        for amount, axes in found
    ], left


def masks_at(
    count: ArrayLike,
    scores: dict[str, Array],
    found: list[Group],
    target: Target,
) -> dict[str, Array]:
    """The mask of every leaf in `found` at step `count`, by name."""
    masks = {}
    for amount, axes in found:
        if not axes:
            continue
        share = {name: scores[name] for name in axes}
        sparsities = target.allocate(share, axes, value_at(count, amount))
        for name in axes:
            score = share[name]
            if masks:
                score = _after(next(reversed(masks.values())), score)
            masks[name] = target.pattern(score, sparsities[name], axes[name])
    return masks


def _after(mask: Array, score: Array) -> Array:
    """The score, from when the mask is known: so leaves use the same memory in turn.

    A step holds the memory of a refresh also when it makes none. No count is negative.
    """
    return jnp.where(count_true(mask, tuple(range(mask.ndim))).reshape(()) >= 0, score, 0)


def are_known(count: ArrayLike, scores: dict[str, Array], found: list[Group]) -> Array:
    """Whether all scores and sparsities at step `count` are numbers, () bool."""
    unknown = [jnp.any(jnp.isnan(scores[name])) for _, axes in found for name in axes]
    unknown += [jnp.isnan(value_at(count, amount)) for amount, _ in found]
    return ~functools.reduce(jnp.logical_or, unknown, jnp.zeros((), bool))


def scores_of(
    caller: str, criterion: Criterion, params: Params, found: list[Group]
) -> dict[str, Array]:
    """What the criterion makes of params at once, by name; not for use inside jit.

    Raises:
      ValueError: a leaf to prune is not finite, the criterion has seen nothing, or its
        scores hold a NaN.
    """
    leaves = named_leaves(params)
    for name in (name for group in found for name in group.axes):
        check_finite(caller, name, leaves[name])
    weights = targeted(selection(params, found), params)
    scores = named_leaves(criterion.score(criterion.init(weights), weights))
    check_concrete(caller, criterion=scores)
    for name, score in scores.items():
        if bool(jnp.any(jnp.isnan(score))):
            raise ValueError(
                f"{caller}(criterion=...) scores weights of leaf {name!r} as NaN. "
                "Leave the leaf out with select=, or take another criterion."
            )
    return scores


def value_at(count: ArrayLike, amount: Sparsity) -> Array | float:
    """The sparsity at a step; an array, whose value may be traced, is clipped."""
    value = amount(count) if callable(amount) else amount
    if isinstance(value, numbers.Real):
        return float(value)
    return jnp.clip(jnp.asarray(value, jnp.float32), 0, 1)


def selection(params: Params, found: list[Group]) -> PyTree:
    """Which leaves are pruned, a tree of bool."""
    names = {name for group in found for name in group.axes}
    return map_named(lambda name, _: name in names, params)


def targeted(selected: PyTree, tree: Params) -> Params:
    """The tree with a () float32 zero for every leaf that is not pruned."""
    return jax.tree.map(
        lambda chosen, leaf: leaf if chosen else jnp.zeros((), jnp.float32), selected, tree
    )


def mask_tree(masks: dict[str, Array], params: Params) -> Masks:
    """The masks in the params' structure, () True for every leaf that is not named."""
    return map_named(lambda name, _: masks.get(name, jnp.ones((), bool)), params)
