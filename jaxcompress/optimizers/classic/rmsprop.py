"""RMSprop: a running root mean square, plain and centered, with momentum or without."""

from numbers import Real

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.classic.momentum import scale_by_heavy_ball
from jaxcompress.optimizers.hyperparameters import check_decays, check_sizes, descent
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import average, divided, root
from jaxcompress.optimizers.storage import Storage, float32


def scale_by_rmsprop(
    decay: ArrayLike = 0.9,
    *,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
    storage: Storage = float32(),
) -> optax.GradientTransformation:
    """Divides by the root of the running mean of squared gradients.

        v <- decay · v + (1 - decay) · g²
        update = g / (sqrt(v + eps_root) + eps)

    Args:
      decay: () in [0, 1).
      eps: () at least 0, outside the root, where PyTorch has it.
      eps_root: () at least 0, inside the root, where TensorFlow and optax have theirs.
      initial: () at least 0, what v starts from.
      storage: how v, the moment `second_moment`, is kept.

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
    check_decays("scale_by_rmsprop", decay=decay)
    check_sizes("scale_by_rmsprop", eps=eps, eps_root=eps_root, initial=initial)

    def step(count: Array, gradient: Array, second: Array) -> tuple[Array, Array]:
        del count
        second = average(second, gradient * gradient, decay)
        return divided(gradient, root(second, eps, eps_root)), second

    return leafwise("scale_by_rmsprop", step, initial=initial, second_moment=storage)


def scale_by_centered_rmsprop(
    decay: ArrayLike = 0.9,
    *,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    first_storage: Storage = float32(),
    second_storage: Storage = float32(),
) -> optax.GradientTransformation:
    """Divides by the running standard deviation of gradients.

        m <- decay · m + (1 - decay) · g
        v <- decay · v + (1 - decay) · g²
        update = g / (sqrt(max(v - m², 0) + eps_root) + eps)

    Args:
      decay: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      first_storage: how m, the moment `first_moment`, is kept.
      second_storage: how v, the moment `second_moment`, is kept.

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
    check_decays("scale_by_centered_rmsprop", decay=decay)
    check_sizes("scale_by_centered_rmsprop", eps=eps, eps_root=eps_root)

    def step(count: Array, gradient: Array, first: Array, second: Array) -> tuple[Array, ...]:
        del count
        first = average(first, gradient, decay)
        second = average(second, gradient * gradient, decay)
        variance = jnp.maximum(second - first * first, 0.0)
        return divided(gradient, root(variance, eps, eps_root)), first, second

    return leafwise(
        "scale_by_centered_rmsprop", step, first_moment=first_storage, second_moment=second_storage
    )


def rmsprop(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    momentum: ArrayLike = 0.0,
    storage: Storage = float32(),
) -> optax.GradientTransformation:
    """`scale_by_rmsprop`, then momentum, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      decay: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      momentum: () in [0, 1), of a heavy ball; for the number 0 it keeps no state.
      storage: how the moments are kept.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.rmsprop(0.1, decay=0.75, momentum=0.9)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.2], dtype=float32)

    Source: as `scale_by_rmsprop`. As in PyTorch, momentum comes before the learning
    rate; optax has it after, which differs where the rate changes.
    """
    check_sizes("rmsprop", learning_rate=learning_rate, eps=eps, eps_root=eps_root)
    check_decays("rmsprop", decay=decay, momentum=momentum)
    scaled = scale_by_rmsprop(decay, eps=eps, eps_root=eps_root, storage=storage)
    return optax.chain(scaled, _momentum(momentum, storage), descent(learning_rate))


def centered_rmsprop(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    momentum: ArrayLike = 0.0,
    first_storage: Storage = float32(),
    second_storage: Storage = float32(),
) -> optax.GradientTransformation:
    """`scale_by_centered_rmsprop`, then momentum, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      decay: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      momentum: () in [0, 1), of a heavy ball; for the number 0 it keeps no state.
      first_storage: how the mean and the momentum are kept.
      second_storage: how the mean square is kept.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.centered_rmsprop(0.1, decay=0.5)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.2], dtype=float32)
    """
    check_sizes("centered_rmsprop", learning_rate=learning_rate, eps=eps, eps_root=eps_root)
    check_decays("centered_rmsprop", decay=decay, momentum=momentum)
    scaled = scale_by_centered_rmsprop(
        decay,
        eps=eps,
        eps_root=eps_root,
        first_storage=first_storage,
        second_storage=second_storage,
    )
    return optax.chain(scaled, _momentum(momentum, first_storage), descent(learning_rate))


def _momentum(momentum: ArrayLike, storage: Storage) -> optax.GradientTransformation:
    if isinstance(momentum, Real) and momentum == 0:
        return optax.identity()
    return scale_by_heavy_ball(momentum, storage=storage)
