"""Criteria for pruning at initialization, before training.

Each computes its scores once, when it is built, and gives a criterion that holds them.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import as_inputs, as_pairs
from jaxcompress.core.checks import check_concrete, check_count, check_positive
from jaxcompress.core.kinds import check_loss
from jaxcompress.core.masks import apply_mask
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.partition import combine, partition
from jaxcompress.core.selectors import inexact
from jaxcompress.core.trees import check_arrays, check_entries
from jaxcompress.core.types import Array, Loss, Model, Params, PyTree
from jaxcompress.prune import chosen
from jaxcompress.prune.allocations.totals import globally
from jaxcompress.prune.criteria.weights import constant
from jaxcompress.prune.criterion import Criterion
from jaxcompress.prune.target import Aim, Target, as_target, without_steps

Batches = Iterable[Any]
"""Pairs (inputs, targets); inputs are one input of the model or a tuple of them."""


def snip(fn: Model, params: Params, loss: Loss, batches: Batches) -> Criterion:
    """Scores the absolute first-order change of the loss without each connection.

    Not for: a model that can be trained first: pruned gradually, it ends at a lower
    error.

        score = |g · w|,   g = gradient of the mean loss

    For the first weights, with `allocate=globally`. All batches run in one step.

    Also known as: SNIP.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays as training begins with them.
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs, each batch of equal weight.

    Returns:
      Criterion with constant scores.

    Raises:
      ValueError: there is no batch, one is empty, or scores are not finite.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> loss = lambda outputs, targets: jnp.sum(outputs * targets, axis=-1)
      >>> params = {"kernel": jnp.array([[1.0, -2.0]])}
      >>> batch = (jnp.array([[3.0]]), jnp.array([[1.0, 0.5]]))
      >>> criterion = jc.prune.criteria.snip(fn, params, loss, [batch])
      >>> criterion.init(params)
      {'kernel': Array([[3., 3.]], dtype=float32)}

    Source: Lee et al. 2019, arXiv:1810.02340, section 4.1. Differs: not divided by
    the sum of all scores, which changes no order.
    """

    def score(trained, mean_loss):
        return jax.tree.map(jnp.abs, _times(trained, jax.grad(mean_loss)(trained)))

    return _by_loss("snip", score, fn, params, loss, batches)


def grasp(
    fn: Model, params: Params, loss: Loss, batches: Batches, *, temperature: float = 200.0
) -> Criterion:
    """Scores weights by how much they preserve the gradient flow after pruning.

    Not for: trained weights, whose gradients are near 0; take `magnitude` or
    `woodfisher`.

        score = w · (H g),   of the loss at outputs / temperature

    g and H are gradient and Hessian of the mean loss. To first order -score is how much
    |g|² / 2 would grow without the weight, so weights that hold the gradient back go
    first.

    Also known as: GraSP.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`; an array of logits.
      params: tree of arrays as training begins with them.
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs, each batch of equal weight.
      temperature: divides the outputs, above 0; it makes untrained answers soft.

    Returns:
      Criterion with constant scores, which have a sign.

    Raises:
      ValueError: no batch or an empty one, `temperature` not above 0, or scores that
        are not finite.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> loss = lambda outputs, targets: jnp.sum((outputs - targets) ** 2, axis=-1) / 2
      >>> params = {"kernel": jnp.array([[2.0], [-1.0]])}
      >>> batch = (jnp.array([[1.0, 1.0]]), jnp.array([[0.0]]))
      >>> grasp = jc.prune.criteria.grasp(fn, params, loss, [batch], temperature=1.0)
      >>> grasp.init(params)
      {'kernel': Array([[ 4.],
             [-2.]], dtype=float32)}

    Source: Wang, Zhang and Grosse 2020, arXiv:2002.07376, section 4, algorithm 2.
    Differs: the sign, since here the lowest go.
    """
    check_loss("grasp", loss)
    check_positive("grasp", "temperature", temperature)

    def soft(outputs: Array, targets: Array) -> Array:
        return loss(outputs / temperature, targets)

    def score(trained, mean_loss):
        gradient = jax.grad(mean_loss)
        _, product = jax.jvp(gradient, (trained,), (gradient(trained),))
        return _times(trained, product)

    return _by_loss("grasp", score, fn, params, soft, batches)


def synflow(
    fn: Model,
    params: Params,
    *inputs: Any,
    target: Aim,
    rounds: int = 100,
) -> Criterion:
    """Scores weights by their synaptic flow in many rounds, so no layer is cut off.

    Not for: trained weights, since it sees no data; `wanda` scores by inputs,
    `woodfisher` by the loss.

        R = sum of all outputs of fn(|params|, ones)
        score = |dR/d|w| · w|

    In round k of n the lowest scores are removed until the density is density^(k / n),
    then R is taken of the weights left. Needs no data. As published, all leaves are
    ranked together: a bare sparsity stands for `Target(sparsity, allocate=globally)`
    here. Weights removed in an earlier round score lower than those removed later, so
    give that target to what takes the criterion too.

    Also known as: SynFlow.

    Args:
      fn: the model in evaluation mode, `fn(params, *inputs) -> outputs`.
      params: tree of arrays as training begins with them.
      inputs: trees of arrays; every number of a floating one is replaced by 1.
      target: which weights to remove, how much and where: a `Target`, or its
        sparsity.
      rounds: n, at least 1.

    Returns:
      Criterion with constant scores: the last round's for weights that stay, and
      k - n - 1 for those removed in round k.

    Raises:
      ValueError: a number is outside its range, nothing is selected, or scores are not
        finite because products over layers overflow: make the weights smaller.
      TypeError: a selected leaf is not real floating, or is already compressed.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.array([[1.0, -2.0]]), "out": jnp.array([[3.0], [1.0]])}
      >>> x = jnp.ones((1, 1))
      >>> half = jc.prune.Target(0.5, allocate=jc.prune.allocations.globally)
      >>> criterion = jc.prune.criteria.synflow(fn, params, x, target=half, rounds=2)
      >>> criterion.init(params)
      {'in': Array([[ 3., -2.]], dtype=float32), 'out': Array([[ 3.],
             [-1.]], dtype=float32)}

    Source: Tanaka et al. 2020, arXiv:2006.05467, algorithm 1.
    """
    check_model("synflow", fn)
    check_arrays("synflow", "params", params)
    check_arrays("synflow", "inputs", inputs)
    check_concrete("synflow", params=params, inputs=inputs)
    if not isinstance(target, Target):
        target = dataclasses.replace(as_target("synflow", target), allocate=globally)
    target = without_steps("synflow", target)
    rounds = check_count("synflow", "rounds", rounds)
    choice = chosen.choose_fixed("synflow", params, target)
    found, roles = choice.groups, choice.axes
    inputs = jax.tree.map(
        lambda x: jnp.ones_like(x) if jnp.issubdtype(jnp.result_type(x), jnp.inexact) else x,
        inputs,
    )
    lasts = [float(chosen.value_at(0, group.sparsity)) for group in found]
    # The density falls by the same factor in each round; the last is exact.
    ends = [[1 - (1 - s) ** (k / rounds) for s in lasts] for k in range(1, rounds)] + [lasts]

    def rounds_of(params, inputs):
        trained, others = partition(params, inexact())
        sizes = jax.tree.map(jnp.abs, trained)

        def total(sizes) -> Array:
            outputs = jax.tree.leaves(fn(combine(sizes, others), *inputs))
            totals = [jnp.sum(each.astype(jnp.float32)) for each in outputs]
            return sum(totals[1:], start=totals[0])

        flow = jax.grad(total)

        def go(scores, numbers):
            ends, dropped = numbers
            left = map_named(
                lambda name, size: apply_mask(scores[name] >= 0, size) if name in roles else size,
                sizes,
            )
            fresh = named_leaves(_times(left, flow(left)))
            scores = {
                name: jnp.where(each >= 0, jnp.abs(fresh[name]), each)
                for name, each in scores.items()
            }
            now = [chosen.Group(end, group.axes) for end, group in zip(ends, found, strict=True)]
            keep = chosen.masks_at(0, scores, now, target)
            went = {name: (scores[name] >= 0) & ~keep[name] for name in roles}
            return {name: jnp.where(went[name], dropped, scores[name]) for name in roles}, None

        leaves = named_leaves(params)
        alive = {name: jnp.zeros_like(leaves[name], jnp.float32) for name in roles}
        numbers = jnp.array(ends, jnp.float32), jnp.arange(-rounds, 0, dtype=jnp.float32)
        return jax.lax.scan(go, alive, numbers)[0]

    return _held("synflow", jax.jit(rounds_of)(params, inputs))


def _by_loss(
    caller: str, score: Callable[..., Any], fn: Model, params: Params, loss: Loss, batches: Batches
) -> Criterion:
    """The criterion that holds score(trained leaves, their mean loss)."""
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_loss(caller, loss)
    check_concrete(caller, params=params)
    batches = as_pairs(caller, batches)

    def scores_of(params, batches):
        trained, others = partition(params, inexact())

        def mean_loss(trained):
            params = combine(trained, others)
            losses = []
            for inputs, answers in batches:
                outputs = fn(params, *as_inputs(inputs))
                each = loss(outputs, answers)
                check_entries(caller, "loss(outputs, targets)", each)
                losses.append(jnp.mean(each))
            return sum(losses[1:], start=losses[0]) / len(losses)

        return score(trained, mean_loss)

    return _held(caller, jax.jit(scores_of)(params, batches))


def _held(caller: str, scores: PyTree) -> Criterion:
    """The criterion of scores that are finite."""
    for name, leaf in named_leaves(scores).items():
        if not bool(jnp.all(jnp.isfinite(leaf))):
            raise ValueError(
                f"{caller}: scores of leaf {name!r} are not finite. Check params and data; where "
                "products over layers overflow, make the params smaller."
            )
    return constant(scores)


def _times(weights: PyTree, derivatives: PyTree) -> PyTree:
    """The product of each weight and its derivative, float32."""
    return jax.tree.map(
        lambda weight, derivative: weight.astype(jnp.float32) * derivative.astype(jnp.float32),
        weights,
        derivatives,
    )
