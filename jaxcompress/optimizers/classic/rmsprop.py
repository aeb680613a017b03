"""RMSprop: a running root mean square, plain and centered, with momentum or without."""

from numbers import Real

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.classic.momentum import scale_by_heavy_ball
from jaxcompress.optimizers.descent import descent
from jaxcompress.optimizers.hyperparameters import check_decays, check_rates, check_sizes
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import average, divided, root


def scale_by_rmsprop(
    decay: ArrayLike = 0.9,
    *,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """Divides by the root of the running mean of squared gradients.

        v <- decay · v + (1 - decay) · g²
        update = g / (sqrt(v + eps_root) + eps)

    Args:
      decay: () in [0, 1).
      eps: () at least 0, outside the root, where PyTorch has it.
      eps_root: () at least 0, inside the root, where TensorFlow and optax have theirs.
      initial: () at least 0, what v starts from.

    Returns:
      Transformation with a `MomentsState`; an update is 0 where the divisor is.

    Raises:
      ValueError: a number is outside its range.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_rmsprop(0.75)
      >>> scaled.update(jnp.array([0.0, -3.0]), scaled.init(jnp.zeros(2)))[0]
      Array([ 0., -2.], dtype=float32)

    Source: Hinton 2012, "Neural Networks for Machine Learning", lecture 6.
    """
    return _rmsprop("scale_by_rmsprop", decay, eps, eps_root, initial)


def scale_by_centered_rmsprop(
    decay: ArrayLike = 0.9,
    *,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """Divides by the running standard deviation of gradients.

        m <- decay · m + (1 - decay) · g
        v <- decay · v + (1 - decay) · g²
        update = g / (sqrt(max(v - m², 0) + eps_root) + eps)

    Args:
      decay: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.

    Returns:
      Transformation with a `MomentsState`; an update is 0 where the divisor is.

    Raises:
      ValueError: a number is outside its range.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_centered_rmsprop(0.5)
      >>> scaled.update(jnp.array([0.0, -3.0]), scaled.init(jnp.zeros(2)))[0]
      Array([ 0., -2.], dtype=float32)

    Source: Graves 2013, arXiv:1308.0850, equations 38 to 41. Differs: the variance is
    kept from falling below 0 by rounding, which elsewhere gives NaN.
    """
    return _centered("scale_by_centered_rmsprop", decay, eps, eps_root)


def rmsprop(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    momentum: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """`scale_by_rmsprop`, then momentum, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      decay: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      momentum: () in [0, 1), of a heavy ball; for the number 0 it keeps no state.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.rmsprop(0.1, decay=0.75, momentum=0.9)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.2], dtype=float32)

    Source: as `scale_by_rmsprop`. As in PyTorch, momentum comes before the learning
    rate; optax has it after, which differs where the rate changes.
    """
    scaled = _rmsprop("rmsprop", decay, eps, eps_root, initial=0.0)
    return _descending("rmsprop", scaled, momentum, learning_rate)


def centered_rmsprop(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    momentum: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """`scale_by_centered_rmsprop`, then momentum, then the learning rate.

    Not for: gradients that hardly vary: with their variance near 0 steps have no bound;
    take `rmsprop`.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      decay: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      momentum: () in [0, 1), of a heavy ball; for the number 0 it keeps no state.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.centered_rmsprop(0.1, decay=0.5)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.2], dtype=float32)

    Also known as: RMSprop of Graves, `centered=True` elsewhere.
    """
    scaled = _centered("centered_rmsprop", decay, eps, eps_root)
    return _descending("centered_rmsprop", scaled, momentum, learning_rate)


def _rmsprop(
    caller: str, decay: ArrayLike, eps: ArrayLike, eps_root: ArrayLike, initial: ArrayLike
) -> optax.GradientTransformation:
    check_decays(caller, decay=decay)
    check_sizes(caller, eps=eps, eps_root=eps_root, initial=initial)

    def step(count: Array, gradient: Array, second: Array) -> tuple[Array, Array]:
        del count
        second = average(second, gradient * gradient, decay)
        return divided(gradient, root(second, eps, eps_root)), second

    return leafwise(caller, step, "second_moment", initial=initial)


def _centered(
    caller: str, decay: ArrayLike, eps: ArrayLike, eps_root: ArrayLike
) -> optax.GradientTransformation:
    check_decays(caller, decay=decay)
    check_sizes(caller, eps=eps, eps_root=eps_root)

    def step(count: Array, gradient: Array, first: Array, second: Array) -> tuple[Array, ...]:
        del count
        first = average(first, gradient, decay)
        second = average(second, gradient * gradient, decay)
        variance = jnp.maximum(second - first * first, 0.0)
        return divided(gradient, root(variance, eps, eps_root)), first, second

    return leafwise(caller, step, "first_moment", "second_moment")


def _descending(
    caller: str,
    scaled: optax.GradientTransformation,
    momentum: ArrayLike,
    learning_rate: ArrayLike | optax.Schedule,
) -> optax.GradientTransformation:
    """`scaled`, then a heavy ball, then the learning rate; no state for momentum 0."""
    check_decays(caller, momentum=momentum)
    check_rates(caller, learning_rate=learning_rate)
    still = isinstance(momentum, Real) and momentum == 0
    ball = optax.identity() if still else scale_by_heavy_ball(momentum)
    return optax.chain(scaled, ball, descent(learning_rate))
