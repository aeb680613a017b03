"""Movement pruning: each weight has a score that is trained beside it.

The criterion `criteria.movement` sums the same scores in the state of `prune`, without
a tree of its own.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_number
from jaxcompress.core.companions import (
    Companion,
    Companions,
    Step,
    no_penalty,
    of_equal_shape,
    seen,
)
from jaxcompress.core.kinds import check_built, check_select
from jaxcompress.core.masks import apply_mask
from jaxcompress.core.names import map_named
from jaxcompress.core.numerics import straight_through
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.prune import chosen
from jaxcompress.prune.companions.beside import fitting, per_weight
from jaxcompress.prune.kinds import real_leaves
from jaxcompress.prune.target import Aim, as_target


def soft_movement(
    threshold: ArrayLike | optax.Schedule,
    *,
    start: float = 0.0,
    select: Selector | None = None,
) -> Companion:
    """Keeps the weights whose learned scores lie above a threshold.

    Not for: a share of weights that is given, since it follows from threshold and
    penalty; `hard_movement` takes a target.

        value = where(S > threshold, w, 0)
        d value / d w = where(S > threshold, 1, 0)
        d value / d S = w

    A score rises while the gradient pulls its weight away from 0, masked or not. How
    many weights go follows from the threshold and the weight of the penalty, which is
    the mean of sigmoid(S) over all scores.

    Also known as: soft movement pruning, SMvP.

    Args:
      threshold: a number, a () array or a schedule from step to number, below `start`
        if all weights are to be there at first.
      start: of every score, finite.
      select: which leaves; by default those that meet data.

    Returns:
      Companion; one float32 score for each weight, the larger, the more it is worth.

    Raises:
      ValueError: `start` is not finite; when applied: there are no scores, or some are
        of no leaf or not of its shape.
      TypeError: when applied: a selected leaf is not real floating, or is already
        compressed.

    Example:
      >>> technique = jc.prune.companions.soft_movement(0.0)
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> scores = {"kernel": jnp.array([-1.0, 1.0])}
      >>> shown = lambda scores: technique.view(params, scores)["kernel"]
      >>> shown(scores)
      Array([0., 3.], dtype=float32)
      >>> jax.grad(lambda scores: shown(scores).sum())(scores)
      {'kernel': Array([2., 3.], dtype=float32)}

    Source: Sanh et al. 2020, arXiv:2005.07683, section 4. Differs: the penalty is a
    mean in place of a sum.
    """
    check_number("soft_movement", "start", start)
    check_select("soft_movement", select)
    if callable(threshold):
        check_built("soft_movement", "threshold", threshold, 1, "Pass a schedule or a number.")
    else:
        check_number("soft_movement", "threshold", threshold)

    def init(params: Params) -> Companions:
        return per_weight(params, real_leaves("soft_movement", params, select), start)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        companions = fitting("soft_movement", params, companions, of_equal_shape)
        limit = threshold(step.count) if callable(threshold) else threshold
        masks = {name: jax.lax.stop_gradient(each > limit) for name, each in companions.items()}
        return _masked(params, companions, masks)

    return Companion(init, view, view, _mean_sigmoid)


def hard_movement(target: Aim, *, start: float = 0.0) -> Companion:
    """Keeps the weights whose learned scores are highest, as many as a target says.

    Not for: training from random weights, where `magnitude` serves and takes no second
    tree.

    The gradients are those of `soft_movement`; how many weights go is given, so there
    is no penalty.

    Also known as: movement pruning, MvP.

    Args:
      target: which weights, how much and where: a `Target`, or its sparsity, which may
        be a schedule.
      start: of every score, finite.

    Returns:
      Companion; one float32 score for each weight, the larger, the more it is worth.

    Raises:
      ValueError: `start` is not finite, or as `Target`; when applied: nothing is
        selected, a rule is never used, there are no scores, or some are of no leaf or
        not of its shape.
      TypeError: when applied: a selected leaf is not real floating, or is already
        compressed.

    Example:
      >>> technique = jc.prune.companions.hard_movement(0.5)
      >>> params = {"kernel": jnp.array([[2.0, 3.0]])}
      >>> technique.view(params, {"kernel": jnp.array([[1.0, -1.0]])})
      {'kernel': Array([[2., 0.]], dtype=float32)}

    Source: Sanh et al. 2020, arXiv:2005.07683, section 4.
    """
    check_number("hard_movement", "start", start)
    target = as_target("hard_movement", target)

    def init(params: Params) -> Companions:
        return per_weight(params, chosen.choose("hard_movement", params, target).axes, start)

    def view(params: Params, companions: Companions, step: Step = Step()) -> Params:
        companions = fitting("hard_movement", params, companions, of_equal_shape)
        # The leaves are those with scores, also where a user took some scores out.
        scored = dataclasses.replace(
            target, select=lambda params: map_named(lambda name, _: name in companions, params)
        )
        found = chosen.choose("hard_movement", params, scored).groups
        fixed = jax.lax.stop_gradient(companions)
        return _masked(params, companions, chosen.masks_at(step.count, fixed, found, target))

    return Companion(init, view, view, no_penalty)


def _masked(params: Params, scores: Companions, masks: dict[str, Array]) -> Params:
    """Shows where(mask, w, 0), whose gradient of a score is the weight."""

    def of_leaf(name: str, leaf: Array) -> Array:
        # Of this only the gradient is used: mask · dw + w · dS.
        learning = apply_mask(masks[name], leaf).astype(jnp.float32)
        learning += jax.lax.stop_gradient(leaf).astype(jnp.float32) * scores[name]
        return straight_through(
            apply_mask(masks[name], leaf), learning.astype(leaf.dtype), jnp.ones((), bool)
        )

    return seen(params, {name: scores[name] for name in masks}, of_leaf)


def _mean_sigmoid(params: Params, scores: Companions) -> Array:
    """The mean of sigmoid(S) over all scores, () float32 in [0, 1]."""
    scores = fitting("soft_movement", params, scores, of_equal_shape)
    size = sum(each.size for each in scores.values())
    totals = [jnp.sum(jax.nn.sigmoid(each.astype(jnp.float32))) for each in scores.values()]
    return sum(totals[1:], start=totals[0]) / size
