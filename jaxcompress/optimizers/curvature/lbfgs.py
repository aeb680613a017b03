"""L-BFGS: an inverse Hessian from the last few steps and changes of the gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import require_params
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.curvature.curvature import zeros_in_float32
from jaxcompress.optimizers.curvature.line_search import zoom_search
from jaxcompress.optimizers.curvature.vectors import (
    in_dtypes_of,
    in_float32,
    inner_product,
    multiple,
    plus,
)
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_counts
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable
from jaxcompress.optimizers.moments import divided

COSINE = 2.0**-23
SMALLEST = 1e-30
"""A pair is kept when s·y is above SMALLEST and above COSINE · ‖s‖ ‖y‖."""


class LbfgsState(NamedTuple):
    """The state of L-BFGS, in float32.

    Attributes:
      count: () int32, updates so far.
      params: tree like the params, where the last gradient was taken.
      gradient: tree like the params, the last gradient.
      steps: tree like the params with a leading axis of `memory`: the differences s of
        params, newest last, 0 where there is none yet.
      changes: the same for the differences y of gradients.
      weights: (memory,), 1 / (s·y), and 0 where there is no pair.
    """

    count: ArrayLike
    params: PyTree
    gradient: PyTree
    steps: PyTree
    changes: PyTree
    weights: Any


def scale_by_lbfgs(memory: int = 10) -> optax.GradientTransformation:
    """The gradient times an inverse Hessian of the last `memory` steps.

        s = change of the params,  y = change of the gradient since the last update
        H <- (I - s yᵀ / s·y) H (I - y sᵀ / s·y) + s sᵀ / s·y    for each pair, oldest
             first, from the newest pair's (s·y / y·y) · I
        update = H g

    Without a pair it is g / max(1, ‖g‖). For gradients of one and the same loss: what
    differs from batch to batch would pass for curvature.

    Args:
      memory: pairs that are kept, at least 1; each takes two copies of the params.

    Returns:
      Transformation with an `LbfgsState`; updates keep their dtype.

    Raises:
      ValueError: `memory` is below 1; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> loss = lambda w: jnp.sum(w**2)
      >>> scaled = jc.optimizers.scale_by_lbfgs()
      >>> first, second = jnp.array([3.0, -4.0]), jnp.array([2.0, -1.0])
      >>> state = scaled.init(first)
      >>> _, state = scaled.update(jax.grad(loss)(first), state, first)
      >>> scaled.update(jax.grad(loss)(second), state, second)[0]
      Array([ 2., -1.], dtype=float32)

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.4 and 7.5.
    Differs: a pair whose s·y is not clearly positive is left out, so that H stays
    positive definite. Unlike `optax.scale_by_lbfgs` the state is float32 for narrow
    params, too.
    """
    (memory,) = check_counts("scale_by_lbfgs", memory=memory)

    def init(params: Params) -> LbfgsState:
        check_trainable("scale_by_lbfgs", params)

        def history() -> PyTree:
            return jax.tree.map(lambda leaf: jnp.stack([leaf] * memory), zeros_in_float32(params))

        return LbfgsState(
            count=jnp.zeros((), jnp.int32),
            params=zeros_in_float32(params),
            gradient=zeros_in_float32(params),
            steps=history(),
            changes=history(),
            weights=jnp.zeros(memory, jnp.float32),
        )

    def update(updates: optax.Updates, state: Any, params: Params = None):
        require_params("scale_by_lbfgs", params)
        check_gradients("scale_by_lbfgs", updates, params)
        place, gradient = in_float32(params), in_float32(updates)
        steps, changes, weights = _with_newest(state, place, gradient)
        scale = _first_scale(gradient, steps, changes, weights)
        direction = two_loops(gradient, steps, changes, weights, scale)
        count = optax.safe_increment(state.count)
        following = LbfgsState(count, place, gradient, steps, changes, weights)
        return in_dtypes_of(direction, updates), following

    return optax.GradientTransformation(init, update)


def lbfgs(
    learning_rate: ArrayLike | optax.Schedule | None = None, *, memory: int = 10
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_lbfgs`, then a line search or, where one is given, a learning rate.

    The line search is optax's zoom search; `update` then takes its extra arguments,
    `value`, `grad` and `value_fn`. With `optax.value_and_grad_from_state` it costs no
    gradient beyond its own. The search works in float32: where params are narrow, take
    value and gradient from `jax.value_and_grad`.

    Args:
      learning_rate: None for a line search, else at least 0: a number, a () array or a
        schedule.
      memory: pairs that are kept, at least 1. Under `inject_hyperparams` it goes into
        `static_args`.

    Raises:
      ValueError: a number is outside its range; in `update`: params are missing.

    Example:
      >>> loss = lambda w: jnp.sum(jnp.array([1.0, 10.0]) * w**2)
      >>> optimizer = jc.optimizers.lbfgs()
      >>> w = jnp.array([3.0, -2.0])
      >>> opt_state = optimizer.init(w)
      >>> value_and_grad = optax.value_and_grad_from_state(loss)
      >>> for _ in range(8):
      ...     value, grad = value_and_grad(w, state=opt_state)
      ...     updates, opt_state = optimizer.update(
      ...         grad, opt_state, w, value=value, grad=grad, value_fn=loss
      ...     )
      ...     w = optax.apply_updates(w, updates)
      >>> bool(loss(w) < 1e-8)
      True

    Source: Liu and Nocedal 1989, "On the limited memory BFGS method for large scale
    optimization". The line search is that of `optax.lbfgs`.
    """
    check_counts("lbfgs", memory=memory)
    if learning_rate is not None:
        return descending("lbfgs", scale_by_lbfgs(memory), learning_rate)
    return optax.chain(scale_by_lbfgs(memory), optax.scale(-1.0), zoom_search("lbfgs"))


def two_loops(
    gradient: PyTree, steps: PyTree, changes: PyTree, weights: Array, scale: Array
) -> PyTree:
    """The inverse Hessian of the pairs times the gradient.

    Args:
      gradient: tree of float32 arrays.
      steps: the same with a leading axis of pairs, oldest first.
      changes: the same.
      weights: (pairs,) float32, 1 / (s·y); a pair of weight 0 has no effect.
      scale: () float32, of the identity that stands for the inverse before the pairs.

    Returns:
      Tree like `gradient`.

    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithm 7.4.
    """

    def newest_first(vector: PyTree, pair: tuple[Any, ...]) -> tuple[PyTree, Array]:
        step, change, weight = pair
        share = weight * inner_product(step, vector)
        return plus(vector, -share, change), share

    def oldest_first(vector: PyTree, row: tuple[Any, ...]) -> tuple[PyTree, None]:
        (step, change, weight), share = row
        return plus(vector, share - weight * inner_product(change, vector), step), None

    pairs = (steps, changes, weights)
    vector, shares = jax.lax.scan(newest_first, gradient, pairs, reverse=True)
    return jax.lax.scan(oldest_first, multiple(scale, vector), (pairs, shares))[0]


def _with_newest(state: LbfgsState, params: PyTree, gradient: PyTree) -> tuple[Any, ...]:
    """Steps, changes and weights with the newest pair, if it is good enough."""
    step = plus(params, -1.0, state.params)
    change = plus(gradient, -1.0, state.gradient)
    product = inner_product(step, change)
    lengths = jnp.sqrt(inner_product(step, step)) * jnp.sqrt(inner_product(change, change))
    good = (product > SMALLEST) & (product > COSINE * lengths) & jnp.greater(state.count, 0)

    def shifted(history: Array, newest: Array) -> Array:
        return jnp.where(good, jnp.concatenate([history[1:], newest[None]]), history)

    return (
        jax.tree.map(shifted, state.steps, step),
        jax.tree.map(shifted, state.changes, change),
        shifted(state.weights, divided(jnp.ones_like(product), product)),
    )


def _first_scale(gradient: PyTree, steps: PyTree, changes: PyTree, weights: Array) -> Array:
    """Of the initial inverse Hessian: s·y / y·y of the newest pair, or a unit step."""
    step, change = jax.tree.map(lambda leaf: leaf[-1], (steps, changes))
    by_pair = divided(inner_product(step, change), inner_product(change, change))
    length = jnp.sqrt(inner_product(gradient, gradient))
    return jnp.where(weights[-1] != 0, by_pair, 1 / jnp.maximum(length, 1.0))
