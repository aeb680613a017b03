"""WoodFisher: Optimal Brain Surgeon on the loss, by the Fisher information of blocks.

Scores and updates come from one block-diagonal matrix; which weights go is left to
patterns and allocations.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_batches, check_count, check_finite, check_positive
from jaxcompress.core.evidence import missing
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.partition import combine, partition
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.sharding import gathered
from jaxcompress.core.types import Array, Loss, Model, Params, Selector
from jaxcompress.prune import targets
from jaxcompress.prune.allocations.totals import Allocation, uniform
from jaxcompress.prune.patterns.pattern import Pattern, unstructured
from jaxcompress.prune.post_training.fisher_blocks import costs, from_blocks, in_blocks, made_up
from jaxcompress.prune.post_training.one_shot import fixed_groups, removal_report
from jaxcompress.prune.targets import Amount


def woodfisher(
    fn: Model,
    params: Params,
    loss: Loss,
    batches: Sequence[Any],
    *,
    sparsity: Rules[Amount] | Amount,
    pattern: Pattern = unstructured,
    allocate: Allocation = uniform,
    block_size: int = 50,
    damping: float = 1e-5,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> tuple[Params, Report]:
    """Prunes where the loss rises least; the weights around what went make up for it.

        F = damping · I + mean over examples of g · gᵀ          a block of weights
        score_q = w_q² / (2 · [F⁻¹]_qq)
        w_S <- w_S + (F_SS)⁻¹ · F_SP · w_P,   w_P <- 0

    where g is the gradient of one example's loss, and P goes of a block and S stays.
    The score is what a minimum's loss rises by without q, all others made up. For
    trained models with labels, in a few rounds of rising sparsity or between phases of
    training. Holds `block_size` numbers for each weight.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`; each example runs by itself.
      params: tree of arrays, finite where they are pruned.
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs; inputs are one input of the model or a tuple of
        them, and the first axis of every array counts examples. Some hundred examples
        in all, and more than `block_size`.
      sparsity: fraction to remove, in [0, 1), or `Rules` of it; leaves
        without a rule stay.
      pattern: where weights may go.
      allocate: how each rule's sparsity is shared out; scores are rises of one loss, so
        `globally` compares leaves.
      block_size: weights whose gradients are taken as going together, at least 1; they
        are next to each other along the inputs of an output.
      damping: added to the diagonal, above 0; in the unit of a squared gradient.
      select: which leaves; by default those that meet data.
      axes: from `graph.axes`; by default the layout of `assumed_axes`.

    Returns:
      (params, report): the same structure, shapes and dtypes; what
      was done to each leaf.

    Raises:
      ValueError: there is no batch, a number is outside its range, nothing is selected,
        a rule is never used; a selected leaf is empty, not finite, or its gradients or
        scores are not; no example has a gradient in a leaf that `select` or a rule of
        its own names, or in any. A leaf taken by default without one is left out.
      TypeError: a selected leaf is not real floating or already compressed, or a
        sparsity is a schedule.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> loss = lambda outputs, targets: outputs[:, 0]
      >>> params = {"kernel": jnp.array([[1.0], [4.0]])}
      >>> batch = (jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.zeros(2))
      >>> pruned, _ = jc.prune.woodfisher(fn, params, loss, [batch], sparsity=0.5)
      >>> pruned["kernel"].round(2)
      Array([[0. ],
             [4.5]], dtype=float32)

    Source: Singh and Alistarh 2020, arXiv:2004.14340, sections 3 and 4; in blocks along
    a flattened weight as Kurtic et al. 2022, arXiv:2203.07259. Differs: the Fisher
    matrix is summed and factored, in place of a recursion for its inverse, which is the
    same with less rounding; all weights that go of a block go together, where the sum
    of updates for one weight each is right for one alone.
    """
    check_positive("woodfisher", "damping", damping)
    block_size = check_count("woodfisher", "block_size", block_size)
    check_batches("woodfisher", batches)
    found = fixed_groups("woodfisher", params, sparsity, select, axes)
    roles = {name: each for group in found for name, each in group.axes.items()}
    leaves = named_leaves(params)
    for name in roles:
        check_finite("woodfisher", name, leaves[name])
    fishers = _fishers(fn, params, loss, batches, found, block_size)
    unreached = {
        name: _unreached(fisher, leaves[name], roles[name]) for name, fisher in fishers.items()
    }
    unreached = {name: reason for name, reason in unreached.items() if reason}
    found, left = targets.with_data("woodfisher", found, unreached, select, sparsity)
    roles = {name: each for group in found for name, each in group.axes.items()}
    fishers = {name: fishers[name] for name in roles}
    weights = {name: in_blocks(leaves[name], roles[name], block_size) for name in roles}
    scores = {}
    for name, fisher in fishers.items():
        _check_gradients(name, fisher)
        fishers[name] = fisher + damping * jnp.eye(block_size)[None]
        scores[name] = _scores(weights[name], fishers[name], leaves[name], roles[name])
        _check_scores(name, scores[name])
    masks = targets.masks_at(0, scores, found, pattern, allocate)
    solve = jax.jit(made_up)
    for name, mask in masks.items():
        keep = in_blocks(mask, roles[name], block_size) > 0
        solved = solve(weights[name], keep, fishers[name])
        leaves[name] = from_blocks(solved, leaves[name], roles[name])
    pruned = map_named(lambda name, _: leaves[name], params)
    removing = targets.mask_tree(masks, params)
    return pruned, removal_report("woodfisher", params, removing, found, left)


def _fishers(
    fn: Model,
    params: Params,
    loss: Loss,
    batches: Sequence[Any],
    found: list[targets.Group],
    size: int,
) -> dict[str, Array]:
    """The mean outer product of gradients, (blocks, size, size) float32 by leaf."""
    roles = {name: each for group in found for name, each in group.axes.items()}
    trained, others = partition(params, lambda params: targets.selection(params, found))

    def loss_of(trained, others, example):
        inputs, answers = jax.tree.map(lambda x: x[None], example)
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        return jnp.sum(loss(fn(combine(trained, others), *inputs), answers))

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
    totals = {name: jnp.zeros((*each.shape, size)) for name, each in shapes.items()}
    for batch in batches:
        totals = step(totals, trained, others, jax.tree.map(gathered, batch))
    count = sum(jax.tree.leaves(batch)[0].shape[0] for batch in batches)
    return {name: total / count for name, total in totals.items()}


def _unreached(fisher: Array, leaf: Array, roles: LeafAxes) -> str:
    """Why a leaf is not known: no example has a gradient in one of its matrices."""
    slices = math.prod(leaf.shape[axis] for axis in roles.batch)
    return missing(jnp.any(fisher.reshape(slices, -1) != 0, axis=1))


def _scores(weights: Array, fisher: Array, leaf: Array, roles: LeafAxes) -> Array:
    return from_blocks(jax.jit(costs)(weights, fisher), leaf.astype(jnp.float32), roles)


def _check_gradients(name: str, fisher: Array) -> None:
    if not bool(jnp.all(jnp.isfinite(fisher))):
        raise ValueError(
            f"woodfisher(batches=...): gradients of leaf {name!r} are not finite. Check params, "
            "loss and data."
        )


def _check_scores(name: str, scores: Array) -> None:
    if not bool(jnp.all(jnp.isfinite(scores))):
        raise ValueError(
            f"woodfisher(damping=...): scores of leaf {name!r} are not finite. Give more, since "
            "its squared gradients are so much larger, or more examples."
        )
