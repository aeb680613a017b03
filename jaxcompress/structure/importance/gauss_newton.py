"""Scores units as if the outputs were linear in their gates, as in Gauss-Newton."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr
from jax.flatten_util import ravel_pytree

from jaxcompress.core.batches import as_pairs
from jaxcompress.core.checks import check_count
from jaxcompress.core.types import Array, Loss, Model, Params
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.surgery.couplings import Couplings
from jaxcompress.graph.surgery.gates import open_gates, with_unit_gates
from jaxcompress.graph.traversal import programs
from jaxcompress.structure.importance.batches import (
    Batches,
    alone,
    apart,
    average,
    check_judged,
    per_example,
)
from jaxcompress.structure.importance.scores import Importance, Scores, known


def linearized(loss: Loss, batches: Batches, *, chunk_bytes: int = 2**21) -> Importance:
    """Scores each unit by the loss's rise if outputs were linear in the unit's gate.

    Not for: models of thousands of outputs, each of which takes a pass; `taylor` takes
    one.

        score_n = mean over examples of L(y - dy/dgate_n) - L(y)

    Also known as: linearized ablation, Gauss-Newton importance.

    Signed, as `exact` is, and far nearer to it than derivatives of the loss are: these
    vanish where the model fits its data, while the loss itself is taken as it is here.
    Exact where what follows the units is linear, as after the last hidden layer.

    It needs dy/dgate_n whole, so each example costs one backward pass per output
    number, or one forward-mode pass per unit where those are fewer; `exact` costs one
    pass per unit. It pays where outputs are few, as in a classifier: ten classes take
    ten passes for any number of units. For thousands of outputs take the units of some
    families, a head of few outputs, or `taylor`, which takes one pass.

    Args:
      loss: (outputs, targets) to one number per example, or a `BatchLoss`.
      batches: (inputs, targets) pairs.
      chunk_bytes: as many passes run side by side, at least one, as the largest array
        of the model fits into this. About what a core has near it is fastest on a CPU;
        give an accelerator more. Beside it an example holds units · outputs numbers
        where outputs are fewer.

    Returns:
      Importance; a score is negative where the model does better without the unit.

    Raises:
      ValueError: `chunk_bytes` is no count; there is no batch; when applied: it reaches
        no family, or the loss is not one number per example.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> x = jnp.ones((1, 2))
      >>> squares = lambda outputs, targets: ((outputs - targets) ** 2).sum(-1)
      >>> batches = [(x, jnp.full((1, 1), 4.0))]
      >>> score = jc.structure.importance.linearized(squares, batches)
      >>> score(fn, params, jc.graph.couplings(fn, params, x))
      {'in:1': Array([9., 1.], dtype=float32)}

    Source: Molchanov et al. 2017, arXiv:1611.06440, equation 7. Differs: what is taken
    to first order are the outputs and not the loss, as in Gauss-Newton methods.
    """
    check_judged("linearized", loss, batches)
    chunk_bytes = check_count("linearized", "chunk_bytes", chunk_bytes)
    batches = as_pairs("linearized", batches)

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        program = with_unit_gates(fn, couplings.families)
        gates = open_gates(couplings.families)
        units = sum(gate.size for gate in gates.values())

        def scores(params, inputs, targets):
            def of_example(example):
                one = alone(loss, example)

                def outputs(gates):
                    return program(params, *one[0], gates=gates)

                def total(outputs):
                    return jnp.sum(per_example("linearized", loss, outputs, one[1]))

                way = _in_reverse if numbers < units else _forward
                return way(outputs, total, gates, chunk)

            examples = apart(loss, (inputs, targets))
            first, _ = alone(loss, jax.tree.map(lambda array: array[0], examples))
            traced = jax.make_jaxpr(lambda: program(params, *first, gates=gates))()
            numbers = sum(math.prod(result.shape) for result in traced.out_avals)
            chunk = max(1, chunk_bytes // _largest_bytes(traced))
            together = max(1, chunk // min(numbers, units))
            rises = _mapped(of_example, examples, together)
            return jax.tree.map(lambda rise: jnp.mean(rise, axis=0), rises)

        return known("linearized", average("linearized", loss, scores, params, batches))

    return importance


def _in_reverse(
    outputs: Callable[..., Any], total: Callable[..., Any], gates: Scores, chunk: int
) -> Scores:
    """The rise for each gate, by one backward pass per output."""
    before, pull = jax.vjp(outputs, gates)
    flat, unflatten = ravel_pytree(before)

    def row(index):
        return pull(unflatten(jnp.zeros_like(flat).at[index].set(1)))[0]

    rows = _mapped(row, jnp.arange(flat.size), chunk)  # by family (outputs, units…)
    start = total(before)

    def rises(rows):
        changes = rows.reshape(flat.size, -1).T  # (units, outputs)
        return jax.vmap(lambda change: total(unflatten(flat - change)) - start)(changes)

    return {name: rises(rows[name]).reshape(gate.shape) for name, gate in gates.items()}


def _forward(
    outputs: Callable[..., Any], total: Callable[..., Any], gates: Scores, chunk: int
) -> Scores:
    """The rise for each gate, by one forward-mode pass per unit.

    Linearized for one family at a time, so that a pass begins where its units are.
    """

    def of_family(name: str, gate: Array) -> Array:
        before, push = jax.linearize(lambda own: outputs({**gates, name: own}), gate)
        start = total(before)

        def rise(unit):
            change = push(jnp.zeros(gate.size, gate.dtype).at[unit].set(1).reshape(gate.shape))
            return total(jax.tree.map(jnp.subtract, before, change)) - start

        return _mapped(rise, jnp.arange(gate.size), chunk).reshape(gate.shape)

    return {name: of_family(name, gate) for name, gate in gates.items()}


def _largest_bytes(jaxpr: ClosedJaxpr) -> int:
    """Of the arrays that a program makes, at any depth; 1 where it makes none."""
    made = [
        math.prod(aval_of(result).shape) * aval_of(result).dtype.itemsize
        for inner in programs(jaxpr)
        for eqn in inner.jaxpr.eqns
        for result in eqn.outvars
    ]
    return max([1, *made])


def _mapped(function: Callable[..., Any], xs, size: int):
    """The function along axis 0, up to `size` entries side by side, groups in turn."""
    length = len(jax.tree.leaves(xs)[0])
    groups = -(-length // size)
    return jax.lax.map(function, xs, batch_size=-(-length // groups))
