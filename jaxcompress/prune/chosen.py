"""The leaves that a target chooses, and their masks, in training and after it."""

import functools
import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_concrete, check_finite, check_range
from jaxcompress.core.host import holds_nan
from jaxcompress.core.left_out import Obstacle, UnfitLeafError, left_out
from jaxcompress.core.messages import shown
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.selectors import axes_of, weights
from jaxcompress.core.trees import check_arrays, chosen_by
from jaxcompress.core.types import Array, Masks, Params, PyTree
from jaxcompress.prune.criterion import Criterion
from jaxcompress.prune.kinds import Kind, real
from jaxcompress.prune.patterns.pattern import Pattern, UnknownAxesError
from jaxcompress.prune.ranking import count_true
from jaxcompress.prune.target import Sparsity, Target


class Group(NamedTuple):
    """Leaves that share one sparsity: those that one rule is the first to match."""

    sparsity: Sparsity
    axes: dict[str, LeafAxes]


class Choice(NamedTuple):
    """The leaves to prune, and why others that were chosen by default are left out."""

    groups: list[Group]
    left_out: dict[str, str]

    @property
    def axes(self) -> dict[str, LeafAxes]:
        """Of every leaf to prune, by name."""
        return {name: axes for group in self.groups for name, axes in group.axes.items()}

    def without(self, caller: str, obstacles: Mapping[str, Obstacle], target: Target) -> "Choice":
        """The choice without the leaves in whose way something else stands.

        Raises:
          ValueError: such a leaf was asked for by name, or no other is left.
        """
        left = left_out(caller, obstacles, self.axes, target.select, target.sparsity)
        groups = [
            Group(amount, {name: each for name, each in axes.items() if name not in left})
            for amount, axes in self.groups
        ]
        return Choice(groups, self.left_out | left)


def choose(
    caller: str,
    params: Params,
    target: Target,
    *,
    criterion: Criterion | None = None,
    kind: Kind = real,
) -> Choice:
    """The leaves to prune, by the rule that says how much; nothing is computed.

    Args:
      caller: the verb.
      params: tree of arrays.
      target: which weights, and where in a leaf.
      criterion: whose unscored leaves are not pruned; None where scores are checked.
      kind: what a leaf has to be.

    Raises:
      ValueError: no leaf of a tree that has leaves is to be pruned, a rule is never
        used, or the axes are of another tree; a leaf that was asked for by name is
        empty, has no scores, or the pattern does not fit it; or all are such.
      TypeError: a leaf that was asked for by name is compressed or not of a real
        floating dtype.
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
    obstacles = {name: kind(leaves[name]) for name in assigned}
    for name, rank in assigned.items():
        axes = found[rank].axes[name] = axes_of(name, leaves[name], known)
        if obstacles[name] is None:
            obstacles[name] = _not_scored(name, criterion)
        if obstacles[name] is None:
            obstacles[name] = _not_fitted(caller, name, leaves[name], axes, target.pattern)
    unfit = {name: each for name, each in obstacles.items() if each is not None}
    return Choice(found, {}).without(caller, unfit, target)


def choose_fixed(
    caller: str,
    params: Params,
    target: Target,
    *,
    criterion: Criterion | None = None,
    kind: Kind = real,
) -> Choice:
    """`choose` for sparsities that are numbers."""
    for _, sparsity in as_rules(target.sparsity).pairs:
        check_range(caller, "target", float(sparsity), 0, 1)
    return choose(caller, params, target, criterion=criterion, kind=kind)


def _not_scored(name: str, criterion: Criterion | None) -> Obstacle | None:
    if criterion is None or name not in criterion.unscored:
        return None
    mend = "Give the criterion data that reach it, take another one, or leave it out with select=."
    return Obstacle(criterion.unscored[name], mend)


def _not_fitted(caller: str, name: str, leaf, axes: LeafAxes, pattern: Pattern) -> Obstacle | None:
    """What the pattern has against the shape and axes of a leaf."""
    scores = jax.ShapeDtypeStruct(leaf.shape, jnp.float32)
    try:
        mask = jax.eval_shape(lambda scores: pattern(scores, 0.0, axes), scores)
    except UnknownAxesError as unknown:
        # The call lacks axes=; that is no fault of this leaf, to be left out for.
        raise ValueError(f"{caller}: leaf {name!r}: {unknown}") from None
    except UnfitLeafError as unfit:
        return unfit.obstacle
    if getattr(mask, "dtype", None) != jnp.dtype(bool) or mask.shape != leaf.shape:
        raise TypeError(
            f"{caller}: Target(pattern={shown(pattern)}) gives {shown(mask)} for leaf {name!r}, "
            f"and must give a bool mask of its shape {tuple(leaf.shape)}."
        )
    return None


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
            if not isinstance(sparsities, Mapping) or name not in sparsities:
                raise TypeError(
                    f"Target(allocate={shown(target.allocate)}) gives {shown(sparsities)}, and "
                    f"must give a sparsity by leaf name; {name!r} has none."
                )
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
    scores = scored(caller, criterion, criterion.init(weights), weights, found)
    check_concrete(caller, criterion=scores)
    for name, score in scores.items():
        if holds_nan(score):
            raise ValueError(
                f"{caller}(criterion=...) scores weights of leaf {name!r} as NaN. "
                "Leave the leaf out with select=, or take another criterion."
            )
    return scores


def scored(
    caller: str, criterion: Criterion, state: Any, weights: Params, found: list[Group]
) -> dict[str, Array]:
    """What the criterion makes of weights in a state, by name.

    Raises:
      TypeError: a leaf in `found` has no scores, or those of another shape.
    """
    scores, leaves = named_leaves(criterion.score(state, weights)), named_leaves(weights)
    for name in (name for group in found for name in group.axes):
        each = scores.get(name)
        if getattr(each, "shape", None) != leaves[name].shape:
            raise TypeError(
                f"{caller}(criterion=...) gives {shown(each)} as scores of leaf {name!r}, and must "
                f"give an array of its shape {tuple(leaves[name].shape)}."
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
