"""Adam: running means of gradients and of their squares; AdamW decays beside it."""

import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, Selector
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_decays, check_sizes
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import average, divided, root, unbiased


def scale_by_adam(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    *,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """The mean of gradients over the root of the mean of their squares.

        m <- b1 · m + (1 - b1) · g
        v <- b2 · v + (1 - b2) · g²
        update = m / (1 - b1^t) / (sqrt(v / (1 - b2^t) + eps_root) + eps)

    Args:
      b1: () in [0, 1), how long the mean of gradients remembers.
      b2: () in [0, 1), how long the mean of squares remembers.
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.

    Returns:
      Transformation with a `MomentsState`; an update is 0 where the divisor is.

    Raises:
      ValueError: a number is outside its range.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_adam(b1=0.0, b2=0.0)
      >>> scaled.update(jnp.array([0.0, -3.0]), scaled.init(jnp.zeros(2)))[0]
      Array([ 0., -1.], dtype=float32)

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1. Differs: `unbiased` forms
    1 - b^t without cancellation, so first steps agree with float64 to the last digits.
    """
    return _adam("scale_by_adam", b1, b2, eps, eps_root)


def adam(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """`scale_by_adam`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      b1: () in [0, 1).
      b2: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.adam(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    return descending("adam", _adam("adam", b1, b2, eps, eps_root), learning_rate)


def adamw(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.01,
    select: Selector | None = None,
) -> optax.GradientTransformation:
    """`scale_by_adam`, then decoupled `weight_decay`, then the learning rate.

    Not for: the fewest steps; `muon` brought a character transformer to the same loss
    in half of them.

        w <- w - learning_rate · (Adam's update + weight_decay · w)

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      b1: () in [0, 1).
      b2: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      weight_decay: () at least 0.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.

    Raises:
      ValueError: a number is outside its range; in `update`: params are missing.

    Example:
      >>> optimizer = jc.optimizers.adamw(0.1, weight_decay=0.5)
      >>> params = jnp.array([[4.0]])
      >>> optimizer.update(jnp.array([[2.0]]), optimizer.init(params), params)[0]
      Array([[-0.3]], dtype=float32)

    Also known as: Adam with decoupled weight decay.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2, with the
    differences of `weight_decay`.
    """
    scaled = _adam("adamw", b1, b2, eps, eps_root)
    return descending("adamw", scaled, learning_rate, weight_decay, select)


def _adam(
    caller: str, b1: ArrayLike, b2: ArrayLike, eps: ArrayLike, eps_root: ArrayLike
) -> optax.GradientTransformation:
    check_decays(caller, b1=b1, b2=b2)
    check_sizes(caller, eps=eps, eps_root=eps_root)

    def step(count: Array, gradient: Array, first: Array, second: Array) -> tuple[Array, ...]:
        first = average(first, gradient, b1)
        second = average(second, gradient * gradient, b2)
        divisor = root(unbiased(second, count, b2), eps, eps_root)
        return divided(unbiased(first, count, b1), divisor), first, second

    return leafwise(caller, step, "first_moment", "second_moment")
