"""Pruning at once, outside training: from weights as they are to masks and params."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_range
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.masks import apply_masks, check_masks, kept
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.selectors import reasons_left_out
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.types import Masks, Params, Selector
from jaxcompress.prune import targets
from jaxcompress.prune.allocations.totals import Allocation, uniform
from jaxcompress.prune.criterion import Criterion
from jaxcompress.prune.patterns.pattern import Pattern, unstructured
from jaxcompress.prune.targets import Amount


class Removed(NamedTuple):
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
    *,
    sparsity: Rules[Amount] | Amount,
    pattern: Pattern = unstructured,
    allocate: Allocation = uniform,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> tuple[Params, Report]:
    """The params with the weights that are worth least set to exactly 0.

    For a model that is not trained further, or as a start; `prune` does it while
    training. The params keep their shapes and bytes in memory: a file of them is what
    gets smaller.

    Args:
      params: finite, not yet quantized.
      criterion: what a weight is worth; one that watches gradients, `informed`.
      sparsity: fraction to remove, in [0, 1), or `Rules` of it; leaves
        without a rule stay.
      pattern: where weights may go.
      allocate: how each rule's sparsity is shared out among the leaves it matches.
      select: which leaves; by default the real ones that meet data, without those that
        the criterion's data did not reach. Of complex leaves it sees absolute values.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Returns:
      (params, report): the same structure, shapes and dtypes; what
      was done to each leaf.

    Raises:
      ValueError: a sparsity is outside [0, 1), nothing is selected, a rule is never
        used, a selected leaf is empty, or holds values that are not finite; the
        criterion has seen no gradients and needs them, or its data did not reach a leaf
        that `select` or a rule of its own names, or any; its scores hold a NaN.
      TypeError: a selected leaf is not floating or already compressed, or a
        sparsity is a schedule.

    Example:
      >>> kernel = jnp.array([[0.1, -2.0], [3.0, -0.4]])
      >>> params = {"kernel": kernel, "bias": jnp.ones(2)}
      >>> magnitude = jc.prune.criteria.magnitude()
      >>> pruned, report = jc.prune.one_shot(params, magnitude, sparsity=0.5)
      >>> pruned["kernel"]
      Array([[ 0., -2.],
             [ 3.,  0.]], dtype=float32)
      >>> report.leaves[1].action
      '50.0 % removed'
    """
    found = fixed_groups("one_shot", params, sparsity, select, axes, targets.check_sized)
    found, left = targets.with_data("one_shot", found, criterion.unreached, select, sparsity)
    removing = _masks("one_shot", params, criterion, found, pattern, allocate)
    pruned = apply_masks(removing, params)
    unselected = {} if select else reasons_left_out(params, axes)
    why = {name: f"not selected: {reason}" for name, reason in unselected.items()}
    return pruned, removal_report("one_shot", params, removing, found, why | dict(left))


def masks(
    params: Params,
    criterion: Criterion,
    *,
    sparsity: Rules[Amount] | Amount,
    pattern: Pattern = unstructured,
    allocate: Allocation = uniform,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> Masks:
    """The masks that `one_shot` applies, for trees of one's own.

    Arguments and errors are those of `one_shot`.

    Returns:
      Tree of the params' structure: bool of a pruned leaf's shape,
      () True for the others.

    Example:
      >>> params = {"kernel": jnp.array([[0.1, -2.0]]), "bias": jnp.ones(2)}
      >>> jc.prune.masks(params, jc.prune.criteria.magnitude(), sparsity=0.5)
      {'bias': Array(True, dtype=bool), 'kernel': Array([[False,  True]], dtype=bool)}
    """
    found = fixed_groups("masks", params, sparsity, select, axes, targets.check_sized)
    found, _ = targets.with_data("masks", found, criterion.unreached, select, sparsity)
    return _masks("masks", params, criterion, found, pattern, allocate)


def sparsity_of(masks: Masks, params: Params) -> Removed:
    """How much of the params the masks remove.

    Args:
      masks: of the params' structure.
      params: arrays or shapes.

    Returns:
      Fractions in [0, 1], overall and of each leaf.

    Raises:
      ValueError: a mask does not broadcast to its leaf, or the trees differ.

    Example:
      >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(2)}
      >>> masks = {"kernel": jnp.array([[True, False, False]]), "bias": jnp.array(True)}
      >>> jc.prune.sparsity_of(masks, params)
      Removed(overall=0.5, leaves={'bias': 0.0, 'kernel': 0.667})
    """
    check_masks("sparsity_of", masks, params)
    leaves = named_leaves(params)
    removed = {
        name: leaves[name].size - int(kept(mask, leaves[name].size))
        for name, mask in named_leaves(masks).items()
        if leaves[name].size
    }
    total = sum(leaf.size for leaf in leaves.values())
    return Removed(
        sum(removed.values()) / max(total, 1),
        {name: count / leaves[name].size for name, count in removed.items()},
    )


def fixed_groups(
    caller: str,
    params: Params,
    sparsity: Rules[Amount] | Amount,
    select: Selector | None,
    axes: Axes | None,
    check: Callable = targets.check_target,
) -> list[targets.Group]:
    """The leaves to prune at sparsities that are numbers, each with its axes."""
    targets.refuse_schedule(caller, sparsity)
    for _, amount in as_rules(sparsity).pairs:
        check_range(caller, "sparsity", float(amount), 0, 1)
    return targets.groups(caller, params, sparsity, select, axes, check)


def _masks(
    caller: str,
    params: Params,
    criterion: Criterion,
    found: list[targets.Group],
    pattern: Pattern,
    allocate: Allocation,
) -> Masks:
    params = jax.tree.map(_magnitudes_of_complex, params, is_leaf=is_compressed)
    scores = targets.scores_of(caller, criterion, params, found)
    return targets.mask_tree(targets.masks_at(0, scores, found, pattern, allocate), params)


def _magnitudes_of_complex(leaf):
    """What a criterion sees of a complex leaf: its absolute values."""
    return jnp.abs(leaf) if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else leaf


def removal_report(
    caller: str,
    params: Params,
    removing: Masks,
    found: list[targets.Group],
    left: Mapping[str, str],
) -> Report:
    """What masks removed from each leaf; why some were left out, by name."""
    axes = {name: leaf_axes for group in found for name, leaf_axes in group.axes.items()}
    fractions = sparsity_of(removing, params)
    rows = tuple(
        LeafReport(
            name,
            tuple(leaf.shape),
            *_action(fractions.leaves.get(name, 0.0), axes.get(name), left.get(name)),
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
