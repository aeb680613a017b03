"""Scores units by the gradient of the loss with respect to their gates.

One backward pass scores all units at once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import as_pairs
from jaxcompress.core.types import Array, Loss, Model, Params
from jaxcompress.graph.surgery.couplings import Couplings
from jaxcompress.graph.surgery.gates import open_gates, with_unit_gates
from jaxcompress.structure.importance.batches import (
    Batches,
    alone,
    apart,
    average,
    check_judged,
    per_example,
)
from jaxcompress.structure.importance.scores import Importance, Scores, known


def taylor(loss: Loss, batches: Batches) -> Importance:
    """Scores each unit by the size of the loss's change without it, to first order.

    Not for: ranking units by what the loss rises without each; `linearized` and `exact`
    come nearer.

        score_n = mean over examples of |sum over positions of dL/dz_n · z_n|

    for the activation z_n where it is summed up: the derivative by a gate of 1 there.
    One backward pass per example scores all families.

    Also known as: Taylor pruning, first-order Taylor expansion, gradient times
    activation.

    Args:
      loss: (outputs, targets) to one number per example, or a `BatchLoss`.
      batches: (inputs, targets) pairs.

    Returns:
      Importance; scores are at least 0.

    Raises:
      ValueError: there is no batch; when applied: it reaches no family, or the loss
        is not one number per example.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> x = jnp.ones((1, 2))
      >>> loss = lambda outputs, targets: outputs.sum(-1) * targets
      >>> score = jc.structure.importance.taylor(loss, [(x, jnp.array([-1.0]))])
      >>> score(fn, params, jc.graph.couplings(fn, params, x))
      {'in:1': Array([3., 1.], dtype=float32)}

    Source: Molchanov et al. 2017, arXiv:1611.06440, equation 8. Differs: the sum over
    positions, which estimates the loss itself, where they divide by the positions;
    `normalized` gives what both agree on.
    """
    check_judged("taylor", loss, batches)

    def score(gradients: Array) -> Array:
        return jnp.mean(jnp.abs(gradients), axis=0)

    return _by_gradients("taylor", loss, batches, score)


def taylor_squared(loss: Loss, batches: Batches) -> Importance:
    """Scores each unit by the squared change of the loss, to first order.

    Not for: models that fit their data, whose gradients are small; `linearized` ranks
    nearly as `exact`.

        score_n = mean over batches of (dL/dgate_n)² = (sum over its weights of g · w)²

    Also known as: Taylor-FO, Taylor-FO-BN, group Taylor importance.

    Args:
      loss: (outputs, targets) to one number per example, or a `BatchLoss`.
      batches: (inputs, targets) pairs.

    Returns:
      Importance; scores are at least 0.

    Raises:
      ValueError: there is no batch; when applied: it reaches no family, or the loss
        is not one number per example.

    Source: Molchanov et al. 2019, arXiv:1906.10771, equations 8 and 9. Differs: the
    gate stands where the unit is summed up, behind its bias, norm and activation.
    """
    check_judged("taylor_squared", loss, batches)

    def score(gradients: Array) -> Array:
        return jnp.mean(gradients, axis=0) ** 2

    return _by_gradients("taylor_squared", loss, batches, score)


def second_order(loss: Loss, batches: Batches) -> Importance:
    """Scores each unit by the loss's rise without it at a minimum, to second order.

    Not for: models that fit their data, where it ranked a dense layer's units no better
    than `taylor`; `linearized` ranks nearly as `exact`.

        score_n = h_nn · gate_n² / 2,   h_nn = mean over examples of (dL/dgate_n)²

    Also known as: Optimal Brain Damage on units, Fisher pruning.

    The Fisher information of a unit's gate stands for its curvature, so all its weights
    count together, and interactions of units do not.

    Args:
      loss: (outputs, targets) to one number per example, a negative log likelihood.
      batches: (inputs, targets) pairs.

    Returns:
      Importance; scores are at least 0.

    Raises:
      ValueError: there is no batch; when applied: it reaches no family, or the loss
        is not one number per example.

    Source: LeCun et al. 1990, "Optimal Brain Damage", equation 5, on gates; the Fisher
    form of Theis et al. 2018, arXiv:1801.05787, equation 6.
    """
    check_judged("second_order", loss, batches)

    def score(gradients: Array) -> Array:
        return jnp.mean(gradients**2, axis=0) / 2

    return _by_gradients("second_order", loss, batches, score)


def _by_gradients(
    caller: str, loss: Loss, batches: Batches, score: Callable[[Array], Array]
) -> Importance:
    """Scores from each example's gradient in the gates, (examples, …)."""
    batches = as_pairs(caller, batches)

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        program = with_unit_gates(fn, couplings.families)
        gates = open_gates(couplings.families)

        def of_example(params, inputs, target):
            one = alone(loss, (inputs, target))

            def total(gates):
                outputs = program(params, *one[0], gates=gates)
                return jnp.sum(per_example(caller, loss, outputs, one[1]))

            return jax.grad(total)(gates)

        def scores(params, inputs, targets):
            examples = apart(loss, (inputs, targets))
            gradients = jax.vmap(of_example, in_axes=(None, 0, 0))(params, *examples)
            return jax.tree.map(score, gradients)

        return known(caller, average(caller, loss, scores, params, batches))

    return importance
