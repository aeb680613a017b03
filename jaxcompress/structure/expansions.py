"""What a unit is worth by derivatives: of the loss, or of the outputs, in its gate.

The loss without a unit is expanded around the model as it is, so that a pass or a few
score all units at once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array, Loss, Model, Params
from jaxcompress.graph.couplings import Couplings
from jaxcompress.structure.gating import full, gated
from jaxcompress.structure.importance import (
    Batches,
    Importance,
    Scores,
    average,
    known,
    per_example,
)


def taylor(loss: Loss, batches: Batches) -> Importance:
    """How much the loss changes without a unit, to first order and whatever its sign.

        score_n = mean over examples of |sum over positions of dL/dz_n · z_n|

    for the activation z_n where it is summed up: the derivative by a gate of 1 there.
    One backward pass per example scores all families.

    Args:
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs.

    Returns:
      Importance; scores are at least 0.

    Raises:
      ValueError: when applied: there is no batch, it reaches no family, or the loss
        is not one number per example.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> x = jnp.ones((1, 2))
      >>> outputs = lambda outputs, targets: outputs.sum(-1) * targets
      >>> couplings = jc.graph.couplings(fn, params, x)
      >>> taylor(outputs, [(x, jnp.array([-1.0]))])(fn, params, couplings)
      {'in:1': Array([3., 1.], dtype=float32)}

    Source: Molchanov et al. 2017, arXiv:1611.06440, equation 8. Differs: the sum over
    positions, which estimates the loss itself, where they divide by the positions;
    `normalized` gives what both agree on.
    """

    def score(gradients: Array) -> Array:
        return jnp.mean(jnp.abs(gradients), axis=0)

    return _by_gradients("taylor", loss, batches, score)


def taylor_squared(loss: Loss, batches: Batches) -> Importance:
    """The squared change of the loss without a unit, to first order.

        score_n = mean over batches of (dL/dgate_n)² = (sum over its weights of g · w)²

    Args:
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs.

    Returns:
      Importance; scores are at least 0.

    Raises:
      ValueError: when applied: there is no batch, it reaches no family, or the loss
        is not one number per example.

    Source: Molchanov et al. 2019, arXiv:1906.10771, equations 8 and 9. Differs: the
    gate stands where the unit is summed up, behind its bias, norm and activation.
    """

    def score(gradients: Array) -> Array:
        return jnp.mean(gradients, axis=0) ** 2

    return _by_gradients("taylor_squared", loss, batches, score)


def second_order(loss: Loss, batches: Batches) -> Importance:
    """How much the loss rises without a unit at a minimum, to second order.

        score_n = h_nn · gate_n² / 2,   h_nn = mean over examples of (dL/dgate_n)²

    The Fisher information of a unit's gate stands for its curvature, so all its weights
    count together, and interactions of units do not.

    Args:
      loss: (outputs, targets) to one number per example, a negative log likelihood.
      batches: (inputs, targets) pairs.

    Returns:
      Importance; scores are at least 0.

    Raises:
      ValueError: when applied: there is no batch, it reaches no family, or the loss
        is not one number per example.

    Source: LeCun et al. 1990, "Optimal Brain Damage", equation 5, on gates; the Fisher
    form of Theis et al. 2018, arXiv:1801.05787, equation 6.
    """

    def score(gradients: Array) -> Array:
        return jnp.mean(gradients**2, axis=0) / 2

    return _by_gradients("second_order", loss, batches, score)


def linearized(loss: Loss, batches: Batches) -> Importance:
    """How much the mean loss rises without a unit, were outputs linear in its gate.

        score_n = mean over examples of L(y - dy/dgate_n) - L(y)

    Signed, as `exact` is, and far nearer to it than derivatives of the loss are: these
    vanish where the model fits its data, while the loss itself is taken as it is here.
    Exact where what follows the units is linear, as after the last hidden layer. It
    takes as many derivatives per example as there are outputs, or units if they are
    fewer, and holds units · outputs numbers for each example of a batch.

    Args:
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs.

    Returns:
      Importance; a score is negative where the model does better without the unit.

    Raises:
      ValueError: when applied: there is no batch, it reaches no family, or the loss
        is not one number per example.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> x = jnp.ones((1, 2))
      >>> squares = lambda outputs, targets: ((outputs - targets) ** 2).sum(-1)
      >>> couplings = jc.graph.couplings(fn, params, x)
      >>> linearized(squares, [(x, jnp.full((1, 1), 4.0))])(fn, params, couplings)
      {'in:1': Array([9., 1.], dtype=float32)}

    Source: Molchanov et al. 2017, arXiv:1611.06440, equation 7. Differs: what is taken
    to first order are the outputs and not the loss, as in Gauss-Newton methods.
    """

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        program = gated(fn, couplings.families)
        gates = {family.name: full(family) for family in couplings.families}

        def of_example(params, inputs, target):
            one = jax.tree.map(lambda array: array[None], (inputs, target))

            def outputs(gates):
                return program(params, *one[0], gates=gates)

            def total(outputs):
                return jnp.sum(per_example("linearized", loss, outputs, one[1]))

            before = outputs(gates)
            rises = jax.vmap(
                lambda change: total(jax.tree.map(jnp.subtract, before, change)) - total(before)
            )
            return _each_gate(rises, _jacobian(outputs, gates), before, gates)

        def scores(params, inputs, targets):
            rises = jax.vmap(of_example, in_axes=(None, 0, 0))(params, inputs, targets)
            return jax.tree.map(lambda rise: jnp.mean(rise, axis=0), rises)

        return average("linearized", scores, params, batches)

    return importance


def _jacobian(outputs: Callable, gates: Scores):
    """Derivatives of all outputs in all gates, in whichever mode has less to do."""
    units = sum(gate.size for gate in gates.values())
    numbers = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(outputs, gates)))
    return (jax.jacrev if numbers < units else jax.jacfwd)(outputs)(gates)


def _each_gate(function: Callable, jacobian, outputs, gates: Scores) -> Scores:
    """What a function of changes of the outputs, (units, …), gives for every gate."""
    leaves, structure = jax.tree.flatten(outputs)
    rows = structure.flatten_up_to(jacobian)

    def of_family(name: str, gate: Array) -> Array:
        changes = [
            jnp.moveaxis(row[name].reshape(*leaf.shape, gate.size), -1, 0)
            for leaf, row in zip(leaves, rows, strict=True)
        ]
        return function(structure.unflatten(changes)).reshape(gate.shape)

    return {name: of_family(name, gate) for name, gate in gates.items()}


def _by_gradients(
    caller: str, loss: Loss, batches: Batches, score: Callable[[Array], Array]
) -> Importance:
    """Scores from each example's gradient in the gates, (examples, …)."""

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        program = gated(fn, couplings.families)
        gates = {family.name: full(family) for family in couplings.families}

        def of_example(params, inputs, target):
            one = jax.tree.map(lambda array: array[None], (inputs, target))

            def total(gates):
                outputs = program(params, *one[0], gates=gates)
                return jnp.sum(per_example(caller, loss, outputs, one[1]))

            return jax.grad(total)(gates)

        def scores(params, inputs, targets):
            gradients = jax.vmap(of_example, in_axes=(None, 0, 0))(params, inputs, targets)
            return jax.tree.map(score, gradients)

        return known(caller, average(caller, scores, params, batches))

    return importance
