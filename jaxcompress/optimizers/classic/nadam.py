"""NAdam: Adam whose mean of gradients looks one step ahead."""

import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_decays, check_sizes
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import average, divided, root, unbiased


def scale_by_nadam(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    *,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """Adam with Nesterov's momentum.

        m <- b1 · m + (1 - b1) · g
        v <- b2 · v + (1 - b2) · g²
        ahead = b1 · m / (1 - b1^(t+1)) + (1 - b1) · g / (1 - b1^t)
        update = ahead / (sqrt(v / (1 - b2^t) + eps_root) + eps)

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
      >>> scaled = jc.optimizers.scale_by_nadam(0.5)
      >>> scaled.update(jnp.array([0.0, -3.0]), scaled.init(jnp.zeros(2)))[0]
      Array([ 0.   , -1.333], dtype=float32)

    Source: Dozat 2016, "Incorporating Nesterov Momentum into Adam", algorithm 2 with a
    constant b1, as in optax. Differs: no further factor b2 on v; PyTorch besides lets
    b1 grow from half its value.
    """
    return _nadam("scale_by_nadam", b1, b2, eps, eps_root)


def nadam(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """`scale_by_nadam`, then the learning rate.

    Not for: weight decay that gradients do not scale; `adamw` has it.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      b1: () in [0, 1).
      b2: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.nadam(0.3, b1=0.5)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.4], dtype=float32)

    Also known as: Nesterov-accelerated Adam.
    """
    return descending("nadam", _nadam("nadam", b1, b2, eps, eps_root), learning_rate)


def _nadam(
    caller: str, b1: ArrayLike, b2: ArrayLike, eps: ArrayLike, eps_root: ArrayLike
) -> optax.GradientTransformation:
    check_decays(caller, b1=b1, b2=b2)
    check_sizes(caller, eps=eps, eps_root=eps_root)

    def step(count: Array, gradient: Array, first: Array, second: Array) -> tuple[Array, ...]:
        first = average(first, gradient, b1)
        second = average(second, gradient * gradient, b2)
        # The average of both after correction, with weight b1 on the moment.
        ahead = average(unbiased(first, count + 1, b1), unbiased(gradient, count, b1), b1)
        divisor = root(unbiased(second, count, b2), eps, eps_root)
        return divided(ahead, divisor), first, second

    return leafwise(caller, step, "first_moment", "second_moment")
