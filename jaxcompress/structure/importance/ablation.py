"""Scores units by ablation: the loss without each, measured."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import as_pairs
from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Loss, Model, Params
from jaxcompress.graph.surgery.couplings import Couplings
from jaxcompress.graph.surgery.families import Family
from jaxcompress.graph.surgery.gates import with_unit_gates
from jaxcompress.structure.importance.batches import Batches, average, check_judged, per_example
from jaxcompress.structure.importance.scores import Importance, Scores, known


def exact(loss: Loss, batches: Batches, *, chunk: int = 32) -> Importance:
    """Scores each unit by how much the mean loss rises when it alone is left out.

    Not for: thousands of units, each of which takes a run of the model; `linearized`
    ranks nearly alike where outputs are few, `taylor` takes one pass.

        score_n = L(model without n) - L(model)

    Also known as: oracle pruning, ablation, leave-one-out importance.

    The model runs once per unit and batch, compiled once per family.

    Args:
      loss: (outputs, targets) to one number per example, or a `BatchLoss`.
      batches: (inputs, targets) pairs.
      chunk: units left out side by side; memory grows with it.

    Returns:
      Importance; a score is negative where the model does better without the unit.
      Families without a unit that changes the loss have empty scores.

    Raises:
      ValueError: `chunk` is no count; there is no batch; when applied: no unit changes
        the loss, or the loss is not one number per example.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> x = jnp.ones((1, 2))
      >>> squares = lambda outputs, targets: ((outputs - targets) ** 2).sum(-1)
      >>> batches = [(x, jnp.full((1, 1), 4.0))]
      >>> score = jc.structure.importance.exact(squares, batches)
      >>> score(fn, params, jc.graph.couplings(fn, params, x))
      {'in:1': Array([9., 1.], dtype=float32)}

    Source: the oracle of Molchanov et al. 2017, arXiv:1611.06440, section 2.2.
    """
    check_judged("exact", loss, batches)
    chunk = check_count("exact", "chunk", chunk)
    batches = as_pairs("exact", batches)

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        rises = {
            family.name: average("exact", loss, _rise(fn, family, loss, chunk), params, batches)
            for family in couplings.families
        }
        return known("exact", rises)

    return importance


def _rise(fn: Model, family: Family, loss: Loss, chunk: int) -> Callable[..., Any]:
    """The mean rise of a batch's loss without each unit."""
    program = with_unit_gates(fn, [family])
    shape = family.unit_shape
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
