"""Sensitivity analysis: the loss with one leaf pruned at a time."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.batches import as_inputs, as_pairs
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_loss
from jaxcompress.core.left_out import Obstacle, without_data
from jaxcompress.core.masks import apply_mask
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named
from jaxcompress.core.rules import Rules
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Loss, Model, Params
from jaxcompress.graph.calibrate import unreached
from jaxcompress.prune import chosen
from jaxcompress.prune.allocations.sensitivity import Sensitivity
from jaxcompress.prune.criterion import Criterion, check_criterion
from jaxcompress.prune.patterns.pattern import Pattern
from jaxcompress.prune.target import Aim, as_target, check_targets, without_steps


def sensitivity(
    fn: Model,
    params: Params,
    loss: Loss,
    batches: Iterable[Any],
    criterion: Criterion,
    targets: Sequence[Aim] = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98),
) -> Sensitivity:
    """Measures how much the mean loss rises when each leaf alone is pruned.

    Not for: what leaves cost together, since each is pruned alone; `evaluate` the
    pruned model.

    Runs on the host: the model once for each leaf, sparsity and batch, compiled once
    per shape of batch; and once more over the batches, to count what reaches each leaf.

    Also known as: sensitivity analysis, layer-wise sensitivity scan.

    Args:
      fn: the model in evaluation mode, `fn(params, *inputs) -> outputs`.
      params: finite, not yet quantized.
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs, each batch of equal weight; held out, since
        choices follow from them, but not the test set.
      criterion: what a weight is worth; one that watches gradients, `informed`.
      targets: to try, each a `Target` or its sparsity, a number; sparsities rise, in
        (0, 1), and all targets choose the same leaves. A whole leaf gone is tried
        besides, by the pattern of the last. Above the most that a pattern takes, as
        `n_of_m` has one, rises stay what they are there.

    Returns:
      Sensitivity, for `by_sensitivity`, a plot or a file. A leaf that no data reached,
      in a branch never taken or as an expert without tokens, would lose all of its
      weights at no rise of the loss: it is left out, with the reason.

    Raises:
      ValueError: sparsities are outside their range or do not rise, there is no batch
        or an empty one, nothing is selected, a selected leaf is empty or not finite,
        the criterion has seen no gradients and needs them, or its scores hold a NaN; a
        loss is not finite; no data reached a leaf that `select` names, or any.
      TypeError: a selected leaf is not real floating, or is already compressed.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> loss = lambda outputs, targets: (outputs - targets)[:, 0] ** 2
      >>> params = {"kernel": jnp.array([[1.0], [2.0]])}
      >>> batch = (jnp.array([[1.0, 1.0]]), jnp.array([[3.0]]))
      >>> magnitude = jc.prune.criteria.magnitude()
      >>> jc.prune.sensitivity(fn, params, loss, [batch], magnitude, [0.5])
      Sensitivity(sparsities=(0.5, 1.0), rises={'kernel': (1.0, 9.0)}, left_out={})

    Source: Han et al. 2015, arXiv:1506.02626, section 5, figure 6. Differs: the loss in
    place of the accuracy.
    """
    check_model("sensitivity", fn)
    check_arrays("sensitivity", "params", params)
    check_loss("sensitivity", loss)
    check_criterion("sensitivity", criterion)
    check_targets("sensitivity", targets)
    check_concrete("sensitivity", params=params)
    batches = as_pairs("sensitivity", batches)
    trials = _trials(targets)
    target = as_target("sensitivity", targets[0])
    choice = _common(params, criterion, targets)
    examples = [as_inputs(x) for x, _ in batches]
    unknown = without_data(unreached(fn, params, examples))
    choice = choice.without("sensitivity", unknown, target)
    scores = chosen.scores_of("sensitivity", criterion, params, choice.groups)

    @jax.jit
    def of_batch(params, inputs, answers):
        return jnp.mean(loss(fn(params, *inputs), answers).astype(jnp.float32))

    def mean_loss(params: Params) -> float:
        losses = [
            float(of_batch(params, inputs, answers))
            for inputs, (_, answers) in zip(examples, batches, strict=True)
        ]
        return math.fsum(losses) / len(losses)

    def rise(name: str, leaf_axes: LeafAxes, sparsity: float, pattern: Pattern) -> float:
        mask = pattern(scores[name], sparsity, leaf_axes)
        pruned = map_named(
            lambda other, leaf: apply_mask(mask, leaf) if other == name else leaf, params
        )
        change = mean_loss(pruned) - whole
        if not math.isfinite(change):
            raise ValueError(
                f"sensitivity(loss=...): with leaf {name!r} pruned to {sparsity} the mean loss is "
                "not finite. Take a loss that is, or leave the leaf out with select=."
            )
        return change

    whole = mean_loss(params)
    if not math.isfinite(whole):
        raise ValueError(
            f"sensitivity(loss=...): the mean loss of the whole model is {whole}. Check params, "
            "loss and data."
        )
    return Sensitivity(
        tuple(sparsity for sparsity, _ in trials),
        {
            name: tuple(rise(name, each, *trial) for trial in trials)
            for name, each in choice.axes.items()
        },
        choice.left_out,
    )


def _trials(targets: Sequence[Aim]) -> list[tuple[float, Pattern]]:
    """The sparsity and pattern of each trial; the last removes every weight."""
    trials, before = [], 0.0
    for target in (without_steps("sensitivity", target) for target in targets):
        if isinstance(target.sparsity, Rules):
            raise ValueError(
                "sensitivity(targets=...): each leaf is pruned alone, so a target's sparsity is a "
                "number and no Rules. Leave leaves out with Target(select=...)."
            )
        sparsity = float(chosen.value_at(0, target.sparsity))
        if sparsity <= before:
            raise ValueError(
                f"sensitivity(targets=...): the sparsity {sparsity} follows {before}. They must "
                "rise, from above 0."
            )
        trials.append((sparsity, target.pattern))
        before = sparsity
    if not trials:
        raise ValueError("sensitivity(targets=[]) has nothing to try. Give at least one target.")
    return [*trials, (1.0, trials[-1][1])]


def _common(params: Params, criterion: Criterion, targets: Sequence[Aim]) -> chosen.Choice:
    """The leaves that every target chooses, and that the patterns of all fit."""
    aims = [as_target("sensitivity", target) for target in targets]
    first, *rest = [chosen.choose("sensitivity", params, aim, criterion=criterion) for aim in aims]
    left = first.left_out
    for each in rest:
        left = left | each.left_out
        one, other = (
            {n: x for n, x in choice.axes.items() if n not in left} for choice in (first, each)
        )
        if one != other:
            raise ValueError(
                "sensitivity(targets=...) must all choose the same leaves, with the same axes. "
                f"One takes {', '.join(first.axes)}; another {', '.join(each.axes)}."
            )
    obstacles = {name: Obstacle(reason) for name, reason in left.items()}
    return first.without("sensitivity", obstacles, aims[0])._replace(left_out=left)
