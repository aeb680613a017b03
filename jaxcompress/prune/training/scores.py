"""Weights that stay by scores which are trained beside them: movement pruning.

The scores are a dict from leaf name to arrays, trained by an optimizer of the user's.
The model sees `soft_movement(params, scores, …)` or `hard_movement(params, scores, …)`
inside the loss, and that is what is stored in the end. The criterion `movement` sums
the same scores in the state of `prune`, without a tree of its own.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_number
from jaxcompress.core.masks import apply_mask
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.numerics import straight_through
from jaxcompress.core.selectors import weights
from jaxcompress.core.types import Array, Params, Selector
from jaxcompress.prune import chosen
from jaxcompress.prune.target import Aim, without_steps

Scores = dict[str, Array]
"""By leaf name, of the leaf's shape; the larger, the more a weight is worth."""


def movement_scores(
    params: Params, start: float = 0.0, *, select: Selector | None = None
) -> Scores:
    """One score for each weight, all alike: what movement pruning begins with.

    Args:
      params: tree of arrays.
      start: of every score, finite.
      select: which leaves; by default those that meet data.

    Returns:
      Scores by name, float32, to be trained.

    Raises:
      ValueError: `start` is not finite, or a selected leaf is empty.
      TypeError: a selected leaf is not real floating, or is already compressed.

    Example:
      >>> jc.prune.movement_scores({"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)})
      {'kernel': Array([[0., 0.]], dtype=float32)}
    """
    check_number("movement_scores", "start", start)
    selected = named_leaves((select or weights())(params))
    scores = {}
    for name, leaf in named_leaves(params).items():
        if selected[name]:
            chosen.check_leaf("movement_scores", name, leaf)
            scores[name] = jnp.zeros_like(leaf, jnp.float32) + start
    return scores


def soft_movement(params: Params, scores: Scores, threshold: ArrayLike) -> Params:
    """The params whose scores lie above a threshold; the scores learn what matters.

        value = where(S > threshold, w, 0)
        d value / d w = where(S > threshold, 1, 0)
        d value / d S = w

    A score rises while the gradient pulls its weight away from 0, masked or not. How
    many weights go follows from the threshold and the weight of `score_penalty`.

    Args:
      params: tree of arrays.
      scores: by name; leaves without scores stay as they are.
      threshold: () below the scores' start, if all weights are to be there at first; it
        may be traced, so it may rise.

    Returns:
      Tree of the same structure, shapes and dtypes; gradients reach both arguments.

    Raises:
      ValueError: there are no scores, or some are of no leaf or not of its shape.
      TypeError: a leaf with scores is not real floating, or is already compressed.

    Example:
      >>> params = {"kernel": jnp.array([2.0, 3.0])}
      >>> scores = {"kernel": jnp.array([-1.0, 1.0])}
      >>> view = lambda scores: jc.prune.soft_movement(params, scores, 0.0)["kernel"]
      >>> view(scores)
      Array([0., 3.], dtype=float32)
      >>> jax.grad(lambda scores: view(scores).sum())(scores)
      {'kernel': Array([2., 3.], dtype=float32)}

    Source: Sanh et al. 2020, arXiv:2005.07683, section 4, soft movement pruning.
    """
    _check("soft_movement", params, scores)
    masks = {name: jax.lax.stop_gradient(each > threshold) for name, each in scores.items()}
    return _seen(params, scores, masks)


def hard_movement(
    params: Params,
    scores: Scores,
    target: Aim,
) -> Params:
    """The params without those whose learned scores are lowest.

    The gradients are those of `soft_movement`; the mask is that of a pattern at a given
    sparsity, and needs no penalty.

    Args:
      params: tree of arrays.
      scores: by name; leaves without scores stay as they are.
      target: how much and where: a `Target`, or its sparsity; a () array, such as
        `schedule(step)`, may be traced. The leaves are those with scores.

    Returns:
      Tree of the same structure, shapes and dtypes; gradients reach both arguments.

    Raises:
      ValueError: there are no scores, or some are of no leaf or not of its shape; a
        number is outside [0, 1), or a rule is never used.
      TypeError: a sparsity is a schedule; a leaf with scores is not real floating, or
        is already compressed.

    Example:
      >>> params = {"kernel": jnp.array([[2.0, 3.0]])}
      >>> scores = {"kernel": jnp.array([[1.0, -1.0]])}
      >>> jc.prune.hard_movement(params, scores, 0.5)
      {'kernel': Array([[2., 0.]], dtype=float32)}

    Source: Sanh et al. 2020, arXiv:2005.07683, section 4, movement pruning.
    """
    target = without_steps("hard_movement", target)
    _check("hard_movement", params, scores)

    def scored(params: Params):
        return map_named(lambda name, _: name in scores, params)

    found = chosen.groups("hard_movement", params, dataclasses.replace(target, select=scored))
    fixed = jax.lax.stop_gradient(scores)
    return _seen(params, scores, chosen.masks_at(0, fixed, found, target))


def score_penalty(scores: Scores) -> Array:
    """The mean of sigmoid(S) over all scores: times a weight, a loss that lowers them.

    Args:
      scores: by name.

    Returns:
      () float32 in [0, 1], differentiable.

    Raises:
      ValueError: there are no scores.

    Example:
      >>> jc.prune.score_penalty({"kernel": jnp.array([0.0, -100.0])})
      Array(0.25, dtype=float32)

    Source: Sanh et al. 2020, arXiv:2005.07683, section 4, the penalty of soft movement
    pruning. Differs: the mean in place of the sum.
    """
    _require("score_penalty", scores)
    size = sum(each.size for each in scores.values())
    totals = [jnp.sum(jax.nn.sigmoid(each.astype(jnp.float32))) for each in scores.values()]
    return sum(totals[1:], start=totals[0]) / size


def _seen(params: Params, scores: Scores, masks: dict[str, Array]) -> Params:
    """Shows where(mask, w, 0), whose gradient of a score is the weight."""

    def of_leaf(name: str, leaf):
        if name not in masks:
            return leaf
        # Of this only the gradient is used: mask · dw + w · dS.
        learning = apply_mask(masks[name], leaf).astype(jnp.float32)
        learning += jax.lax.stop_gradient(leaf).astype(jnp.float32) * scores[name]
        return straight_through(
            apply_mask(masks[name], leaf), learning.astype(leaf.dtype), jnp.ones((), bool)
        )

    return map_named(of_leaf, params)


def _require(caller: str, scores: Scores) -> None:
    if not scores:
        raise ValueError(
            f"{caller}(scores={{}}) holds no score. Begin with movement_scores(params)."
        )


def _check(caller: str, params: Params, scores: Scores) -> None:
    _require(caller, scores)
    leaves = named_leaves(params)
    for name, each in scores.items():
        if name not in leaves:
            raise ValueError(
                f"{caller}(scores=...): there is no leaf {name!r}. Leaves are: {', '.join(leaves)}."
            )
        chosen.check_leaf(caller, name, leaves[name])
        if each.shape != leaves[name].shape:
            raise ValueError(
                f"{caller}(scores=...): the scores of leaf {name!r} have shape {each.shape}, the "
                f"leaf has {tuple(leaves[name].shape)}. Begin with movement_scores(params)."
            )
