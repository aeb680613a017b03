"""AdaHessian: Adam whose second moment is of the Hessian's diagonal."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.kinds import check_key
from jaxcompress.core.names import map_named
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.trees import named_axes
from jaxcompress.core.types import Array, Key, Params, Selector
from jaxcompress.optimizers.curvature.curvature import (
    CurvatureState,
    Diagonal,
    read_diagonal,
    require_function,
    zeros_in_float32,
)
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_decays, check_sizes
from jaxcompress.optimizers.leafwise import check_gradients, check_trainable, map_to_trees
from jaxcompress.optimizers.moments import average, divided, root, unbiased


def scale_by_adahessian(
    key: Key,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    *,
    eps: ArrayLike = 1e-4,
    axes: Axes | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The mean of gradients over the root of the mean square of the Hessian's diagonal.

        d = diagonal(key), its mean over the window of each convolution kernel
        m <- b1 · m + (1 - b1) · g
        v <- b2 · v + (1 - b2) · d²
        update = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    `update` takes the extra argument `diagonal`, a function of a key that is called at
    each step: `diagonal=lambda key: hutchinson(loss, params, key)`.

    Args:
      key: PRNG key of the estimates; the state holds it. Under `inject_hyperparams` it
        goes into `static_args`.
      b1: () in [0, 1), how long the mean of gradients remembers.
      b2: () in [0, 1), how long the mean of squares remembers.
      eps: () at least 0.
      axes: from `graph.axes`, which names convolution kernels and their output axis;
        see `window`. By default leaves of rank 4 and more are kernels whose window is
        all but the last two axes, as in HWIO.

    Returns:
      Transformation with a `CurvatureState`; an update is 0 where the divisor is.

    Raises:
      ValueError: a number is outside its range; in `update`: there is no `diagonal`, or
        it gives other shapes.
      TypeError: when `init` sees the params: a leaf is not real floating; in `update`:
        `diagonal` cannot be called.

    Example:
      >>> loss = lambda w: jnp.sum(jnp.array([1.0, 100.0]) * w**2) / 2
      >>> newton = {"b1": 0.0, "b2": 0.0, "eps": 0.0}
      >>> scaled = jc.optimizers.scale_by_adahessian(jax.random.key(0), **newton)
      >>> w = jnp.array([3.0, -2.0])
      >>> diagonal = lambda key: jc.optimizers.hutchinson(loss, w, key)
      >>> scaled.update(jax.grad(loss)(w), scaled.init(w), w, diagonal=diagonal)[0]
      Array([ 3., -2.], dtype=float32)

    Source: Yao et al. 2020, arXiv:2006.00719, algorithm 1. Differs from the authors'
    code: as in the paper, d keeps its sign in the mean over a kernel's window.
    """
    check_key("scale_by_adahessian", "key", key)
    check_decays("scale_by_adahessian", b1=b1, b2=b2)
    check_sizes("scale_by_adahessian", eps=eps)
    known = named_axes("scale_by_adahessian", axes)

    def smoothed(name: str, diagonal: Array) -> Array:
        within = window(axes_of(name, diagonal, known))
        mean = jnp.mean(diagonal, axis=within, keepdims=True) if within else diagonal
        return jnp.broadcast_to(mean, diagonal.shape)

    def init(params: Params) -> CurvatureState:
        check_trainable("scale_by_adahessian", params)
        moments = {name: zeros_in_float32(params) for name in ("first_moment", "second_moment")}
        # A copy, so that a caller who gives the state away keeps the key.
        return CurvatureState(jnp.zeros((), jnp.int32), jnp.copy(key), moments)

    def update(
        updates: optax.Updates,
        state: Any,
        params: Params = None,
        *,
        diagonal: Diagonal | None = None,
        **extra,
    ):
        del extra
        check_gradients("scale_by_adahessian", updates, params, state.moments["first_moment"])
        mend = "lambda key: hutchinson(loss, params, key)"
        diagonal_of = require_function("scale_by_adahessian", "diagonal", diagonal, mend)
        count = optax.safe_increment(state.count)
        following, now = jax.random.split(state.key)
        curvature = map_named(
            smoothed, read_diagonal("scale_by_adahessian", diagonal_of, now, updates)
        )

        def on_leaf(
            gradient: Array, curvature: Array, first: Array, second: Array
        ) -> tuple[Any, ...]:
            first = average(first, gradient.astype(jnp.float32), b1)
            second = average(second, curvature * curvature, b2)
            divisor = root(unbiased(second, count, b2), eps, 0.0)
            step = divided(unbiased(first, count, b1), divisor)
            return narrowed(step, gradient.dtype), first, second

        moments = state.moments["first_moment"], state.moments["second_moment"]
        updates, first, second = map_to_trees(on_leaf, 3, updates, curvature, *moments)
        moments = {"first_moment": first, "second_moment": second}
        return updates, CurvatureState(count, following, moments)

    return optax.GradientTransformationExtraArgs(init, update)


def adahessian(
    learning_rate: ArrayLike | optax.Schedule,
    key: Key,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-4,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    axes: Axes | None = None,
) -> optax.GradientTransformationExtraArgs:
    """`scale_by_adahessian`, then decoupled `weight_decay`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; the paper trains
        ResNets with 0.15, a hundred times Adam's.
      key: PRNG key of the estimates. Under `inject_hyperparams` it goes into
        `static_args`.
      b1: () in [0, 1).
      b2: () in [0, 1).
      eps: () at least 0.
      weight_decay: () at least 0.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.
      axes: from `graph.axes`, which names convolution kernels.

    Raises:
      ValueError: a number is outside its range; in `update`: there is no `diagonal`,
        or, with a decay, params are missing.

    Example:
      >>> newton = {"b1": 0.0, "b2": 0.0, "eps": 0.0}
      >>> optimizer = jc.optimizers.adahessian(1.0, jax.random.key(0), **newton)
      >>> w = jnp.array([3.0])
      >>> diagonal = lambda key: jc.optimizers.hutchinson(lambda w: w[0] ** 2, w, key)
      >>> optimizer.update(2 * w, optimizer.init(w), w, diagonal=diagonal)[0]
      Array([-3.], dtype=float32)
    """
    check_key("adahessian", "key", key)
    check_sizes("adahessian", eps=eps)
    check_decays("adahessian", b1=b1, b2=b2)
    named_axes("adahessian", axes)
    scaled = scale_by_adahessian(key, b1, b2, eps=eps, axes=axes)
    return descending("adahessian", scaled, learning_rate, weight_decay, select)


def window(axes: LeafAxes) -> tuple[int, ...]:
    """The axes of a leaf along which a convolution slides; none for other leaves.

    Of the axes that a convolution sums over, the one nearest to the output axis (the
    later of two) holds the input features, as in HWIO, OIHW and HWOI; the rest are the
    window. Where only the layout is assumed, rank 4 and more is a convolution.

    Example:
      >>> window(jc.LeafAxes((1, 2, 3), (0,), primitive="conv_general_dilated"))
      (2, 3)
    """
    convolves = axes.primitive == "conv_general_dilated"
    if not convolves and not (axes.assumed and len(axes.order) >= 4):
        return ()

    def distance(axis: int) -> tuple[int, int]:
        return min(abs(axis - output) for output in axes.output), -axis

    features = min(axes.contracting, key=distance)
    return tuple(axis for axis in axes.contracting if axis != features)
