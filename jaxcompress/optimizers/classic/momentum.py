"""Gradient descent, and its two momenta: the heavy ball and Nesterov's."""

import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_decays
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import as_float32


def sgd(learning_rate: ArrayLike | optax.Schedule) -> optax.GradientTransformation:
    """Plain gradient descent; its state is a count alone.

    Not for: narrow valleys, in which it is slow; `nesterov` costs one array more,
    `adamw` two.

        w <- w - learning_rate · g

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.

    Returns:
      Transformation whose updates have the dtype of the gradients.

    Raises:
      ValueError: the learning rate is a negative number.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> optimizer = jc.optimizers.sgd(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.2], dtype=float32)

    Also known as: stochastic gradient descent.
    """
    return descending("sgd", leafwise("sgd", lambda count, gradient: (gradient,)), learning_rate)


def scale_by_heavy_ball(momentum: ArrayLike = 0.9) -> optax.GradientTransformation:
    """Heavy-ball momentum: a sum of gradients that decays exponentially.

        m <- momentum · m + g
        update = m

    Args:
      momentum: () in [0, 1).

    Returns:
      Transformation with a `MomentsState`.

    Raises:
      ValueError: `momentum` is a number outside [0, 1).
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> momentum = jc.optimizers.scale_by_heavy_ball(0.9)
      >>> state = momentum.init(jnp.zeros(1))
      >>> update, state = momentum.update(jnp.ones(1), state)
      >>> momentum.update(jnp.ones(1), state)[0]
      Array([1.9], dtype=float32)

    Source: Polyak 1964, "Some methods of speeding up the convergence of iteration
    methods". Differs: as in optax and PyTorch without dampening, m is not scaled by
    1 - momentum, so a step is up to 1 / (1 - momentum) gradients long.
    """
    return _heavy_ball("scale_by_heavy_ball", momentum)


def scale_by_nesterov(momentum: ArrayLike = 0.9) -> optax.GradientTransformation:
    """Nesterov's momentum: heavy-ball momentum taken one step ahead.

        m <- momentum · m + g
        update = g + momentum · m

    Args:
      momentum: () in [0, 1).

    Returns:
      Transformation with a `MomentsState`.

    Raises:
      ValueError: `momentum` is a number outside [0, 1).
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> momentum = jc.optimizers.scale_by_nesterov(0.9)
      >>> momentum.update(jnp.ones(1), momentum.init(jnp.zeros(1)))[0]
      Array([1.9], dtype=float32)

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in
    deep learning", section 2. Differs: the params here are theirs seen at θ + μ v,
    where the gradient is taken; for a constant rate the sequence is the same.
    """
    return _nesterov("scale_by_nesterov", momentum)


def heavy_ball(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    momentum: ArrayLike = 0.9,
) -> optax.GradientTransformation:
    """Gradient descent with `scale_by_heavy_ball`.

    Not for: layers whose gradients differ in size, as a transformer's do; `adamw` gives
    each number its own step.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      momentum: () in [0, 1).

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.heavy_ball(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.2], dtype=float32)

    Also known as: SGD with momentum, Polyak momentum.
    """
    return descending("heavy_ball", _heavy_ball("heavy_ball", momentum), learning_rate)


def nesterov(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    momentum: ArrayLike = 0.9,
) -> optax.GradientTransformation:
    """Gradient descent with `scale_by_nesterov`.

    Not for: transformers, on one of which `adamw` ended at a lower loss in as many
    steps.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      momentum: () in [0, 1).

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.nesterov(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.38], dtype=float32)

    Also known as: Nesterov's accelerated gradient, NAG.
    """
    return descending("nesterov", _nesterov("nesterov", momentum), learning_rate)


def _heavy_ball(caller: str, momentum: ArrayLike) -> optax.GradientTransformation:
    check_decays(caller, momentum=momentum)

    def step(count: Array, gradient: Array, trace: Array) -> tuple[Array, Array]:
        del count
        trace = as_float32(momentum) * trace + gradient
        return trace, trace

    return leafwise(caller, step, "momentum")


def _nesterov(caller: str, momentum: ArrayLike) -> optax.GradientTransformation:
    check_decays(caller, momentum=momentum)

    def step(count: Array, gradient: Array, trace: Array) -> tuple[Array, Array]:
        del count
        trace = as_float32(momentum) * trace + gradient
        return gradient + as_float32(momentum) * trace, trace

    return leafwise(caller, step, "momentum")
