"""Scores units by their activations."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import as_batches
from jaxcompress.core.kinds import check_function, check_iterable, check_kind
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.surgery.couplings import Couplings
from jaxcompress.graph.surgery.gates import open_gates, reading, with_unit_gates
from jaxcompress.structure.importance.batches import average
from jaxcompress.structure.importance.scores import Importance, Scores, known

Measure = Callable[[Array], Array]
"""What of an activation is averaged, entry by entry."""


def activation(batches: Iterable[Any], measure: Measure = jnp.abs) -> Importance:
    """Scores each unit by its mean activation on a batch.

    Not for: the rise of the loss, which a small activation may move much; take
    `linearized`.

        score_n = mean over examples and positions of measure(z_n)

    added up over the equations that sum over the unit, such as the next layer's dot.
    Also known as: activation magnitude; with `nonzero`, one minus APoZ (the average
    percentage of zeros). Readings travel as gradients, so the model must have one.

    Args:
      batches: each an input or a tuple of the model's inputs.
      measure: `jnp.abs`, or `nonzero` for how often the unit is not exactly 0.

    Returns:
      Importance; scores are at least 0 where the measure is. Families of which nothing
      but zeros is summed up, as in a branch never taken, have empty scores.

    Raises:
      ValueError: there is no batch; when applied: it reaches no family.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.diag(jnp.array([2.0, -1.0])), "out": jnp.ones((2, 1))}
      >>> x = jnp.array([[1.0, 1.0], [3.0, -1.0]])
      >>> score = jc.structure.importance.activation([x])
      >>> score(fn, params, jc.graph.couplings(fn, params, x))
      {'in:1': Array([4. , 0.5], dtype=float32)}

    Source: Hu et al. 2016, arXiv:1607.03250, section 3.1, for the share of zeros, of
    which `nonzero` is what is left of 1.
    """
    check_iterable("activation", "batches", batches, "Pass [batch], also where there is one.")
    check_function("activation", "measure", measure, "For example jnp.abs.")
    pairs = [(inputs, ()) for inputs in as_batches("activation", batches)]

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        program = with_unit_gates(fn, couplings.families, reading(measure))
        gates = open_gates(couplings.families)

        def read(params, inputs, targets):
            del targets
            outputs, pull = jax.vjp(lambda gates: program(params, *inputs, gates=gates), gates)
            (readings,) = pull(jax.tree.map(_cotangent, outputs))
            return readings

        return known("activation", average("activation", None, read, params, pairs))

    return importance


def nonzero(z: Array) -> Array:
    """1 where an activation is not exactly 0, else 0."""
    check_kind("nonzero", "z", z, Array, "Pass the data that units meet.")
    return (z != 0).astype(jnp.float32)


def _cotangent(output):
    if jnp.issubdtype(output.dtype, jnp.inexact):
        return jnp.ones_like(output)
    return jnp.zeros(output.shape, jax.dtypes.float0)
