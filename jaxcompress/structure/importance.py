"""What a unit is worth: how much the loss would rise without it, or a simpler guess.

Every importance is made by a factory and has one form. Guesses from derivatives of the
loss are in `expansions`. How many units go, and in which order families lose them, is
the matter of `amounts`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.leaf import materialize
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import matching, weights
from jaxcompress.core.sharding import gathered
from jaxcompress.core.types import Array, Key, Loss, Model, Params, Selector
from jaxcompress.graph.couplings import Couplings, Family, Place
from jaxcompress.structure.gating import full, gated, met, reading, score_shape

Scores = dict[str, Array]
"""By family name one float32 number per unit, the higher the more it is worth:
(units,), or (layers, units) for a family whose layers may lose units of their own. Of a
family that no data reached none are known, and its array is empty, (0,): see `known`. A
family of which the importance says nothing is not there."""

Importance = Callable[[Model, Params, Couplings], Scores]
"""(fn, params, couplings) to scores. A family without scores keeps its units."""

Batches = Sequence[Any]
"""Pairs (inputs, targets), gone through more than once; inputs are one input of the
model or a tuple of them. Axis 0 of every array counts examples."""

Measure = Callable[[Array], Array]
"""What of an activation is averaged, entry by entry."""


def exact(loss: Loss, batches: Batches, *, chunk: int = 32) -> Importance:
    """How much the mean loss rises without a unit, by leaving each out in turn.

        score_n = L(model without n) - L(model)

    The model runs once per unit and batch, compiled once per family.

    Args:
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs.
      chunk: units left out side by side; memory grows with it.

    Returns:
      Importance; a score is negative where the model does better without the unit.
      Families without a unit that changes the loss have empty scores.

    Raises:
      ValueError: `chunk` is no count; when applied: there is no batch, no unit changes
        the loss, or the loss is not one number per example.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> x = jnp.ones((1, 2))
      >>> squares = lambda outputs, targets: ((outputs - targets) ** 2).sum(-1)
      >>> couplings = jc.graph.couplings(fn, params, x)
      >>> exact(squares, [(x, jnp.full((1, 1), 4.0))])(fn, params, couplings)
      {'in:1': Array([9., 1.], dtype=float32)}

    Source: the oracle of Molchanov et al. 2017, arXiv:1611.06440, section 2.2.
    """
    chunk = check_count("exact", "chunk", chunk)

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        rises = {
            family.name: average("exact", _rise(fn, family, loss, chunk), params, batches)
            for family in couplings.families
        }
        return known("exact", rises)

    return importance


def magnitude(*, order: int = 2, select: Selector | None = None) -> Importance:
    """The size of all weights of a unit: into it, out of it, wherever it lies.

        score_n = (sum over its weights of |w|^order)^(1 / order)

    Args:
      order: 1 or 2.
      select: the leaves that count; by default those of rank 2 and more.

    Returns:
      Importance; scores are at least 0. Families without a selected leaf have none.

    Raises:
      ValueError: `order` is neither 1 nor 2.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> couplings = jc.graph.couplings(fn, params, jnp.ones((1, 2)))
      >>> magnitude(order=1)(fn, params, couplings)
      {'in:1': Array([4., 2.], dtype=float32)}

    Source: Li et al. 2017, arXiv:1608.08710, section 3.1. Differs: over the whole
    family instead of the filter alone.
    """
    if order not in (1, 2):
        raise ValueError(f"magnitude(order={order}) must be 1 or 2.")
    select = weights() if select is None else select

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        del fn
        chosen = named_leaves(select(params))

        def sums(leaves):
            scores = {}
            for family in couplings.families:
                places = [place for place in family.places if chosen[place.leaf]]
                if places:
                    sums = [_powers(leaves[place.leaf], place, family, order) for place in places]
                    scores[family.name] = sum(sums[1:], start=sums[0]) ** (1 / order)
            return scores

        return jax.jit(sums)(named_leaves(params))

    return importance


def norm_scale(select: Selector | None = None) -> Importance:
    """The magnitude of a unit's norm scale.

    It tells little where other scales come after it, and most after training
    with `scale_l1`.

        score_n = |scale_n|

    Args:
      select: the scales; by default `matching("*scale")`.

    Returns:
      Importance; families without a scale have no score.

    Source: Liu et al. 2017, arXiv:1708.06519, section 3.
    """
    return magnitude(order=1, select=matching("*scale") if select is None else select)


def activation(batches: Sequence[Any], measure: Measure = jnp.abs) -> Importance:
    """What units say on average, where they are summed up.

        score_n = mean over examples and positions of measure(z_n)

    summed over the places where the unit is summed up. The derivative of the outputs is
    run through, so the model must have one.

    Args:
      batches: each an input or a tuple of the model's inputs.
      measure: `jnp.abs`, or `nonzero` for how often the unit says anything.

    Returns:
      Importance; scores are at least 0 where the measure is. Families of which nothing
      but zeros is summed up, as in a branch never taken, have empty scores.

    Raises:
      ValueError: when applied: there is no batch, or it reaches no family.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.diag(jnp.array([2.0, -1.0])), "out": jnp.ones((2, 1))}
      >>> couplings = jc.graph.couplings(fn, params, jnp.ones((1, 2)))
      >>> activation([jnp.array([[1.0, 1.0], [3.0, -1.0]])])(fn, params, couplings)
      {'in:1': Array([4. , 0.5], dtype=float32)}

    Source: Hu et al. 2016, arXiv:1607.03250, section 3.1, for the share of zeros, of
    which `nonzero` is what is left of 1.
    """

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        program = met(fn, couplings.families, reading(measure))
        gates = {family.name: full(family) for family in couplings.families}

        def read(params, inputs, targets):
            del targets
            outputs, pull = jax.vjp(lambda gates: program(params, *inputs, gates=gates), gates)
            (readings,) = pull(jax.tree.map(_cotangent, outputs))
            return readings

        pairs = [(inputs, ()) for inputs in batches]
        return known("activation", average("activation", read, params, pairs))

    return importance


def nonzero(z: Array) -> Array:
    """1 where an activation is not exactly 0, else 0."""
    return (z != 0).astype(jnp.float32)


def random(key: Key) -> Importance:
    """Uniform noise in [0, 1): the control that an importance has to beat.

    Args:
      key: of the draw; the same key gives the same scores.

    Returns:
      Importance.
    """

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        del fn, params
        return {
            family.name: jax.random.uniform(jax.random.fold_in(key, i), score_shape(family))
            for i, family in enumerate(couplings.families)
        }

    return importance


def normalized(importance: Importance) -> Importance:
    """The same importance with scores of length 1 in each layer, so layers compare.

        score_n <- score_n / sqrt(sum over the layer's units of score²)

    Args:
      importance: any.

    Returns:
      Importance; a layer of zeros stays one.

    Raises:
      ValueError: when applied: a score is not finite.

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2.
    """

    def scaled(scores: Array) -> Array:
        # By the largest first: float32 holds no squares of 1e-23 or 1e20.
        largest = jnp.max(jnp.abs(scores), axis=-1, keepdims=True)
        scores = scores / jnp.where(largest > 0, largest, 1)
        norm = jnp.linalg.norm(scores, axis=-1, keepdims=True)
        return scores / jnp.where(norm > 0, norm, 1)

    def of_length_one(fn: Model, params: Params, couplings: Couplings) -> Scores:
        scores = importance(fn, params, couplings)
        for name, each in scores.items():
            check_scores("normalized", name, each)
        return {name: scaled(each) if each.size else each for name, each in scores.items()}

    return of_length_one


def known(caller: str, scores: Scores) -> Scores:
    """The scores, emptied for families that no data reached.

    Where every unit of a layer scores exactly 0, its data never arrived (a branch never
    taken, an expert without tokens) or say nothing: which unit is worth least is not
    known, so its family is left whole.

    Raises:
      ValueError: no family is left.
    """
    found = {
        name: each if bool(jnp.all(jnp.any(each != 0, axis=-1))) else jnp.zeros(0, each.dtype)
        for name, each in scores.items()
    }
    if scores and not any(each.size for each in found.values()):
        raise ValueError(
            f"{caller}(batches=...): all units of {', '.join(scores)} score 0, so no data reached "
            "them, or nothing depends on them. Give data that reach them."
        )
    return found


def check_scores(caller: str, name: str, scores: Array | np.ndarray) -> None:
    """Raises a ValueError where a score of a family, layer, or block is not finite."""
    array = np.atleast_1d(np.asarray(scores))
    if not np.isfinite(array).all():
        first = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{caller}(importance=...) scores unit {first} of {name!r} as {array[first]}. Score on "
            "data and params that are finite, or leave it out."
        )


def _rise(fn: Model, family: Family, loss: Loss, chunk: int) -> Callable:
    """The mean rise of a batch's loss without each unit."""
    program = gated(fn, [family])
    shape = score_shape(family)
    count = math.prod(shape)

    def rise(params, inputs, targets):
        before = per_example("exact", loss, fn(params, *inputs), targets)

        def without(unit):
            gate = (jnp.arange(count) != unit).astype(jnp.float32).reshape(shape)
            outputs = program(params, *inputs, gates={family.name: gate})
            return jnp.mean(per_example("exact", loss, outputs, targets) - before)

        units = jnp.arange(count)
        return jax.lax.map(without, units, batch_size=min(chunk, count)).reshape(shape)

    return rise


def average(caller: str, measure: Callable, params: Params, batches: Batches):
    """The mean over examples of what a batch gives, its own mean over examples."""
    jitted = jax.jit(measure)
    total, count = None, 0
    for inputs, targets in batches:
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        size = _examples(caller, inputs, targets)
        share = jax.tree.map(lambda x, size=size: size * x, jitted(params, inputs, targets))
        total = share if total is None else jax.tree.map(jnp.add, total, share)
        count += size
    if total is None:
        raise ValueError(f"{caller}(batches=[]) holds no batch. Pass at least one.")
    return jax.tree.map(lambda x: x / count, total)


def _examples(caller: str, inputs: tuple, targets) -> int:
    """How many examples a batch holds."""
    sizes = {jnp.shape(array)[:1] for array in jax.tree.leaves((inputs, targets))}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        shapes = [jnp.shape(array) for array in jax.tree.leaves((inputs, targets))]
        raise ValueError(
            f"{caller}(batches=...): axis 0 of inputs and targets must count the same examples, "
            f"but the shapes are {', '.join(map(str, shapes))}."
        )
    return sizes.pop()[0]


def per_example(caller: str, loss: Loss, outputs, targets) -> Array:
    """The losses of a batch, (examples,) float32, checked."""
    losses = loss(outputs, targets)
    expected = jax.tree.leaves(targets)[0].shape[:1]
    if losses.shape != expected:
        raise ValueError(
            f"{caller}(loss=...) gives shape {losses.shape}; one number per example has shape "
            f"{expected}."
        )
    return losses.astype(jnp.float32)


def _powers(leaf, place: Place, family: Family, order: int) -> Array:
    """Sum of |w|^order of every unit at one place, of the scores' shape."""
    powers = jnp.abs(jnp.asarray(materialize(leaf), jnp.float32)) ** order
    kept = (0, place.axis) if family.layers else (place.axis,)
    others = tuple(axis for axis in range(powers.ndim) if axis not in kept)
    return gathered(jnp.sum(powers, axis=others))[..., place.positions].sum(axis=-1)


def _cotangent(output):
    if jnp.issubdtype(output.dtype, jnp.inexact):
        return jnp.ones_like(output)
    return jnp.zeros(output.shape, jax.dtypes.float0)
