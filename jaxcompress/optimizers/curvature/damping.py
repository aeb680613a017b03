"""Levenberg-Marquardt: steps of a damped quadratic model, and how its damping moves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive, check_range, require_params
from jaxcompress.core.types import Array, Params
from jaxcompress.optimizers.curvature.conjugate import conjugate_gradients
from jaxcompress.optimizers.curvature.vectors import in_dtypes_of, in_float32, inner_product, plus
from jaxcompress.optimizers.hyperparameters import check_counts
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable

LEAST, MOST = 1e-12, 1e12
"""The damping stays between these."""

ROUNDING = 2.0**-20
"""Relative error that a float32 loss is taken to have."""


class NewtonState(NamedTuple):
    """The state of a Newton step: () float32, the damping of the next one."""

    damping: ArrayLike


def damped(
    caller: str, products: Callable[..., Any], damping: float, iterations: int, tolerance: float
) -> optax.GradientTransformationExtraArgs:
    """Solves for a step by conjugate gradients, tries it, and adapts the damping.

    Args:
      caller: the name that errors give.
      products: (params, **extra arguments of `update`) -> (loss, multiply): a function
        of params, and the curvature at these params times a tree. All in float32.
      damping: the first one, above 0.
      iterations: most products per step.
      tolerance: of the residual, as a share of the gradient.

    Returns:
      Transformation with a `NewtonState`; a step that would raise the loss is 0.
    """

    def init(params: Params) -> NewtonState:
        check_trainable(caller, params)
        return NewtonState(jnp.full((), damping, jnp.float32))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        require_params(caller, params)
        check_gradients(caller, updates, params)
        place, gradient = in_float32(params), in_float32(updates)
        loss, multiply = products(place, **extra)
        step = conjugate_gradients(
            lambda vector: plus(multiply(vector), state.damping, vector),
            gradient,
            iterations=iterations,
            tolerance=tolerance,
        )
        before = jnp.asarray(loss(place), jnp.float32)
        actual = before - jnp.asarray(loss(plus(place, -1.0, step)), jnp.float32)
        predicted = inner_product(gradient, step) - inner_product(step, multiply(step)) / 2
        resolution = ROUNDING * jnp.abs(before)
        lowers = actual >= -resolution
        taken = jax.tree.map(lambda leaf: jnp.where(lowers, leaf, 0.0), step)
        damping = adapted(state.damping, actual, predicted, resolution)
        return in_dtypes_of(taken, updates), NewtonState(damping)

    return optax.GradientTransformationExtraArgs(init, update)


def adapted(damping: Array, actual: Array, predicted: Array, resolution: Array) -> Array:
    """The next damping, from the actual and the predicted reduction of the loss.

    Args:
      damping: () float32.
      actual: () float32, by how much the step lowers the loss; NaN counts as no
        reduction.
      predicted: () float32, the same by the quadratic model.
      resolution: () float32; reductions below it are noise and change nothing.

    Returns:
      () float32 in [1e-12, 1e12].

    Example:
      >>> one = jnp.float32(1.0)
      >>> [float(adapted(one, share * one, one, 0 * one)) for share in (0.1, 0.5, 1.0)]
      [1.5, 1.0, 0.667]
    """
    worse = ~(actual >= predicted / 4)
    factor = jnp.where(worse, 1.5, jnp.where(actual > 0.75 * predicted, 2 / 3, 1.0))
    resolved = ~(jnp.maximum(predicted, jnp.abs(actual)) <= resolution)
    return jnp.clip(damping * jnp.where(resolved, factor, 1.0), LEAST, MOST)


def check_search(caller: str, damping: float, iterations: int, tolerance: float) -> None:
    """Raises a ValueError for a number outside its range."""
    check_positive(caller, "damping", damping)
    check_range(caller, "tolerance", tolerance, 0, 1)
    check_counts(caller, iterations=iterations)
