"""AMSGrad: Adam whose divisor never falls."""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_decays, check_sizes
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import average, divided, root, unbiased


def scale_by_amsgrad(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    *,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """The mean of gradients over the root of the largest mean of squares so far.

        m <- b1 · m + (1 - b1) · g
        v <- b2 · v + (1 - b2) · g²
        largest <- max(largest, v / (1 - b2^t))
        update = m / (1 - b1^t) / (sqrt(largest + eps_root) + eps)

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
      >>> scaled = jc.optimizers.scale_by_amsgrad(b1=0.0, b2=0.0)
      >>> scaled.update(jnp.array([0.0, -3.0]), scaled.init(jnp.zeros(2)))[0]
      Array([ 0., -1.], dtype=float32)

    Source: Reddi et al. 2018, arXiv:1904.09237, algorithm 2. Differs: both moments are
    corrected for their start, v before its largest is taken, as in optax; PyTorch
    corrects afterwards.
    """
    return _amsgrad("scale_by_amsgrad", b1, b2, eps, eps_root)


def amsgrad(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """`scale_by_amsgrad`, then the learning rate.

    Not for: gradients that are large early on only, since its divisor never falls; take
    `adam`.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      b1: () in [0, 1).
      b2: () in [0, 1).
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.amsgrad(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)

    Also known as: `amsgrad=True` of PyTorch's Adam.
    """
    return descending("amsgrad", _amsgrad("amsgrad", b1, b2, eps, eps_root), learning_rate)


def _amsgrad(
    caller: str, b1: ArrayLike, b2: ArrayLike, eps: ArrayLike, eps_root: ArrayLike
) -> optax.GradientTransformation:
    check_decays(caller, b1=b1, b2=b2)
    check_sizes(caller, eps=eps, eps_root=eps_root)

    def step(
        count: Array, gradient: Array, first: Array, second: Array, largest: Array
    ) -> tuple[Array, ...]:
        first = average(first, gradient, b1)
        second = average(second, gradient * gradient, b2)
        largest = jnp.maximum(largest, unbiased(second, count, b2))
        update = divided(unbiased(first, count, b1), root(largest, eps, eps_root))
        return update, first, second, largest

    return leafwise(caller, step, "first_moment", "second_moment", "largest_moment")
