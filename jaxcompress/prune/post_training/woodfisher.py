"""WoodFisher: second-order pruning by the Fisher information of blocks of weights.

Scores and updates come from one block-diagonal matrix; which weights go is left to
patterns and allocations.
"""

import functools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.batches import as_inputs, as_pairs
from jaxcompress.core.checks import check_concrete, check_finite
from jaxcompress.core.evidence import missing
from jaxcompress.core.kinds import check_kind, check_loss
from jaxcompress.core.left_out import without_data
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.partition import combine, partition
from jaxcompress.core.report import Report
from jaxcompress.core.sharding import gathered
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Loss, Model, Params
from jaxcompress.prune import chosen
from jaxcompress.prune.post_training.fisher_blocks import (
    FisherBlocks,
    costs,
    from_blocks,
    in_blocks,
    made_up,
)
from jaxcompress.prune.post_training.one_shot import removal_report
from jaxcompress.prune.target import Aim, without_steps


def woodfisher(
    fn: Model,
    params: Params,
    loss: Loss,
    batches: Iterable[Any],
    target: Aim,
    *,
    fisher: FisherBlocks = FisherBlocks(),
) -> tuple[Params, Report]:
    """Prunes the weights whose loss rises least, and updates the others of their block.

    Not for: models without labels; `reconstruct` takes inputs alone.

        F = damping · I + mean over examples of g · gᵀ          a block of weights
        score_q = w_q² / (2 · [F⁻¹]_qq)
        w_S <- w_S + (F_SS)⁻¹ · F_SP · w_P,   w_P <- 0

    where g is the gradient of one example's loss, and P goes of a block and S stays.
    The score is what a minimum's loss rises by without q, all others made up. For
    trained models with labels, in a few rounds of rising sparsity or between phases of
    training. Holds `fisher.size` numbers for each weight.

    Also known as: WoodFisher, oBERT's pruner, OBS (Optimal Brain Surgeon) on the loss.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`; each example runs by itself.
      params: tree of arrays, finite where they are pruned.
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs; inputs are one input of the model or a tuple of
        them, and the first axis of every array counts examples. Some hundred examples
        in all, and more than `fisher.size`.
      target: which weights, how much and where: a `Target`, or its sparsity. Scores are
        rises of one loss, so `allocations.globally` compares leaves.
      fisher: how the Fisher information is approximated.

    Returns:
      (params, report): the same structure, shapes and dtypes; what
      was done to each leaf.

    Raises:
      ValueError: there is no batch, a number is outside its range, nothing is selected,
        a rule is never used; a selected leaf is not finite, or its gradients or scores
        are not; a leaf that `select` or a rule other than "*" names is empty, no
        example has a gradient in it, or the pattern does not fit it; or all are such.
        Taken by default, such a leaf is left out.
      TypeError: such a leaf is not real floating or already compressed, or a sparsity
        is a schedule.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> loss = lambda outputs, targets: outputs[:, 0]
      >>> params = {"kernel": jnp.array([[1.0], [4.0]])}
      >>> batch = (jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.zeros(2))
      >>> pruned, _ = jc.prune.woodfisher(fn, params, loss, [batch], 0.5)
      >>> pruned["kernel"].round(2)
      Array([[0. ],
             [4.5]], dtype=float32)

    Source: Singh and Alistarh 2020, arXiv:2004.14340, sections 3 and 4; in blocks along
    a flattened weight as Kurtic et al. 2022, arXiv:2203.07259. Differs: the Fisher
    matrix is summed and factored, in place of a recursion for its inverse, which is the
    same with less rounding; all weights that go of a block go together, where the sum
    of updates for one weight each is right for one alone.
    """
    check_model("woodfisher", fn)
    check_arrays("woodfisher", "params", params)
    check_loss("woodfisher", loss)
    check_kind("woodfisher", "fisher", fisher, FisherBlocks, "Pass prune.FisherBlocks(size=50).")
    check_concrete("woodfisher", params=params)
    batches = as_pairs("woodfisher", batches)
    target = without_steps("woodfisher", target)
    choice = chosen.choose_fixed("woodfisher", params, target)
    roles, leaves = choice.axes, named_leaves(params)
    for name in roles:
        check_finite("woodfisher", name, leaves[name])
    fishers = _fishers(fn, params, loss, batches, choice, fisher.size)
    reasons = {name: _unreached(each, leaves[name], roles[name]) for name, each in fishers.items()}
    unreached = {name: reason for name, reason in reasons.items() if reason}
    choice = choice.without("woodfisher", without_data(unreached), target)
    roles = choice.axes
    fishers = {name: fishers[name] for name in roles}
    weights = {name: in_blocks(leaves[name], roles[name], fisher.size) for name in roles}
    scores = {}
    for name, each in fishers.items():
        _check_gradients(name, each)
        fishers[name] = each + fisher.damping * jnp.eye(fisher.size, dtype=jnp.float32)[None]
        cost = jax.jit(costs)(weights[name], fishers[name])
        scores[name] = from_blocks(cost, leaves[name].astype(jnp.float32), roles[name])
        _check_scores(name, scores[name])
    masks = chosen.masks_at(0, scores, choice.groups, target)
    solve = jax.jit(made_up)
    for name, mask in masks.items():
        keep = in_blocks(mask, roles[name], fisher.size) > 0
        solved = solve(weights[name], keep, fishers[name])
        leaves[name] = from_blocks(solved, leaves[name], roles[name])
    pruned = map_named(lambda name, _: leaves[name], params)
    removing = chosen.mask_tree(masks, params)
    return pruned, removal_report("woodfisher", params, removing, choice, target)


def _fishers(
    fn: Model,
    params: Params,
    loss: Loss,
    batches: Iterable[Any],
    choice: chosen.Choice,
    size: int,
) -> dict[str, Array]:
    """The mean outer product of gradients, (blocks, size, size) float32 by leaf."""
    roles = choice.axes
    trained, others = partition(params, lambda params: chosen.selection(params, choice.groups))

    def loss_of(trained, others, example):
        inputs, answers = jax.tree.map(lambda x: x[None], example)
        outputs = fn(combine(trained, others), *as_inputs(inputs))
        return jnp.sum(loss(outputs, answers))

    def blocks_of(trained):
        return {name: in_blocks(x, roles[name], size) for name, x in named_leaves(trained).items()}

    @functools.partial(jax.jit, donate_argnums=0)
    def step(totals, trained, others, batch):
        def add(totals, example):
            blocks = blocks_of(jax.grad(loss_of)(trained, others, example))
            outer = jax.tree.map(lambda g: g[:, :, None] * g[:, None, :], blocks)
            return jax.tree.map(jnp.add, totals, outer), None

        return jax.lax.scan(add, totals, batch)[0]

    shapes = jax.eval_shape(blocks_of, trained)
    totals = {name: jnp.zeros((*each.shape, size), jnp.float32) for name, each in shapes.items()}
    for batch in batches:
        totals = step(totals, trained, others, jax.tree.map(gathered, batch))
    count = sum(jax.tree.leaves(batch)[0].shape[0] for batch in batches)
    return {name: total / count for name, total in totals.items()}


def _unreached(fisher: Array, leaf: Array, roles: LeafAxes) -> str:
    """Why a leaf is not known: no example has a gradient in one of its matrices."""
    slices = math.prod(leaf.shape[axis] for axis in roles.batch)
    return missing(jnp.any(fisher.reshape(slices, -1) != 0, axis=1))


def _check_gradients(name: str, fisher: Array) -> None:
    if not bool(jnp.all(jnp.isfinite(fisher))):
        raise ValueError(
            f"woodfisher(batches=...): gradients of leaf {name!r} are not finite. Check params, "
            "loss and data."
        )


def _check_scores(name: str, scores: Array) -> None:
    if not bool(jnp.all(jnp.isfinite(scores))):
        raise ValueError(
            f"woodfisher(fisher=...): scores of leaf {name!r} are not finite. Give more damping, "
            "since its squared gradients are so much larger, or more examples."
        )
