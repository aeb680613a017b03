"""One-shot pruning, outside training."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.left_out import is_constant
from jaxcompress.core.masks import apply_masks, fitted, kept
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.selectors import reasons_left_out
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Masks, Params
from jaxcompress.prune import chosen
from jaxcompress.prune.criterion import Criterion, check_criterion
from jaxcompress.prune.kinds import sized
from jaxcompress.prune.target import Aim, Target, without_steps

INSIDE = "Inside, prune.prune finds masks at each step, and views.by_magnitude of given weights."


class Sparsities(NamedTuple):
    """Fractions of weights that masks remove.

    Attributes:
      overall: of all weights of the tree, in [0, 1].
      leaves: of each leaf, by name.
    """

    overall: float
    leaves: dict[str, float]


def one_shot(
    params: Params,
    criterion: Criterion,
    target: Aim,
) -> tuple[Params, Report]:
    """Sets the weights with the lowest scores to exactly 0, at once.

    Not for: the least loss without training, which `reconstruct` comes nearer to, as it
    adjusts the weights that stay.

    For a model that is not trained further, or as a start; `prune` does it while
    training. The params keep their shapes and bytes in memory: a file of them is what
    gets smaller.

    Also known as: one-shot pruning, post-training pruning.

    Args:
      params: finite, not yet quantized.
      criterion: what a weight is worth; one that watches gradients, `informed`.
      target: which weights, how much and where: a `Target`, or its sparsity. By default
        the real leaves that meet data, without those that are already compressed, that
        the criterion cannot score or that the pattern does not fit; of complex leaves
        that it selects the absolute values count.

    Returns:
      (params, report): the same structure, shapes and dtypes; what
      was done to each leaf.

    Raises:
      ValueError: a sparsity is outside [0, 1), nothing is selected, a rule is never
        used, a selected leaf holds values that are not finite; the criterion has seen
        no gradients and needs them, or its scores hold a NaN; a leaf that `select` or a
        rule other than "*" names is empty, is not scored, or the pattern does not fit
        it; or no leaf is left.
      TypeError: such a leaf is not floating or already compressed, or a sparsity is a
        schedule.

    Example:
      >>> kernel = jnp.array([[0.1, -2.0], [3.0, -0.4]])
      >>> params = {"kernel": kernel, "bias": jnp.ones(2)}
      >>> magnitude = jc.prune.criteria.magnitude()
      >>> pruned, report = jc.prune.one_shot(params, magnitude, 0.5)
      >>> pruned["kernel"]
      Array([[ 0., -2.],
             [ 3.,  0.]], dtype=float32)
      >>> report.leaves[1].action
      '50.0 % removed'
    """
    check_arrays("one_shot", "params", params)
    check_criterion("one_shot", criterion)
    check_concrete("one_shot", INSIDE, params=params)
    target = without_steps("one_shot", target)
    choice = _choice("one_shot", params, criterion, target)
    removing = _masks("one_shot", params, criterion, choice, target)
    pruned = apply_masks(removing, params)
    return pruned, removal_report("one_shot", params, removing, choice, target)


def masks(
    params: Params,
    criterion: Criterion,
    target: Aim,
) -> Masks:
    """Gives the masks that `one_shot` applies.

    Arguments and errors are those of `one_shot`.

    Returns:
      Tree of the params' structure: bool of a pruned leaf's shape,
      () True for the others.

    Example:
      >>> params = {"kernel": jnp.array([[0.1, -2.0]]), "bias": jnp.ones(2)}
      >>> jc.prune.masks(params, jc.prune.criteria.magnitude(), 0.5)
      {'bias': Array(True, dtype=bool), 'kernel': Array([[False,  True]], dtype=bool)}
    """
    check_arrays("masks", "params", params)
    check_criterion("masks", criterion)
    check_concrete("masks", INSIDE, params=params)
    target = without_steps("masks", target)
    choice = _choice("masks", params, criterion, target)
    return _masks("masks", params, criterion, choice, target)


def sparsity_of(masks: Masks, params: Params) -> Sparsities:
    """Gives the fraction of weights that masks remove, overall and per leaf.

    Args:
      masks: a mask for each leaf; looked up by name.
      params: arrays or shapes.

    Returns:
      Fractions in [0, 1], overall and of each leaf.

    Raises:
      ValueError: a leaf has no mask, a mask has no leaf, or does not broadcast to it.

    Example:
      >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(2)}
      >>> masks = {"kernel": jnp.array([[True, False, False]]), "bias": jnp.array(True)}
      >>> jc.prune.sparsity_of(masks, params)
      Sparsities(overall=0.5, leaves={'bias': 0.0, 'kernel': 0.667})
    """
    check_arrays("sparsity_of", "params", params)
    check_concrete("sparsity_of", masks=masks)
    every = named_leaves(fitted("sparsity_of", masks, params))
    sizes = {
        name: leaf.size
        for name, leaf in named_leaves(params).items()
        if not is_constant(leaf) and leaf.size
    }
    removed = {name: size - int(kept(every[name], size)) for name, size in sizes.items()}
    return Sparsities(
        sum(removed.values()) / max(sum(sizes.values()), 1),
        {name: count / sizes[name] for name, count in removed.items()},
    )


def _choice(caller: str, params: Params, criterion: Criterion, target: Target) -> chosen.Choice:
    return chosen.choose_fixed(caller, params, target, criterion=criterion, kind=sized)


def _masks(
    caller: str,
    params: Params,
    criterion: Criterion,
    choice: chosen.Choice,
    target: Target,
) -> Masks:
    # Criteria see the absolute values of complex leaves.
    params = map_named(
        lambda name, leaf: (
            jnp.abs(leaf) if name in choice.axes and jnp.iscomplexobj(leaf) else leaf
        ),
        params,
    )
    scores = chosen.scores_of(caller, criterion, params, choice.groups)
    return chosen.mask_tree(chosen.masks_at(0, scores, choice.groups, target), params)


def removal_report(
    caller: str,
    params: Params,
    removing: Masks,
    choice: chosen.Choice,
    target: Target,
) -> Report:
    """Reports what masks removed from each leaf, and why other leaves were kept."""
    unselected = {} if target.select else reasons_left_out(params, target.axes)
    left = {name: f"not selected: {reason}" for name, reason in unselected.items()}
    left |= choice.left_out
    fractions = sparsity_of(removing, params)
    rows = tuple(
        LeafReport(
            name,
            np.shape(leaf),
            *_action(fractions.leaves.get(name, 0.0), choice.axes.get(name), left.get(name)),
            size_bytes(leaf),
            size_bytes(leaf),
        )
        for name, leaf in named_leaves(params).items()
    )
    return Report(f"{caller}: {100 * fractions.overall:.1f} % of the weights removed", rows)


def _action(fraction: float, axes: LeafAxes | None, left: str | None) -> tuple[str, str]:
    if axes is None:
        return KEPT, left or "not selected, or without a rule"
    reason = "axes assumed" if axes.assumed else "axes from the program"
    return (f"{100 * fraction:.1f} % removed", reason) if fraction else (KEPT, "sparsity 0")
