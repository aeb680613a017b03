"""AdaGrad: each number's rate falls with all the gradients it has seen."""

import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_sizes
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import divided, root


def scale_by_adagrad(
    *,
    eps: ArrayLike = 1e-10,
    eps_root: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """Divides by the root of the sum of all squared gradients.

        S <- S + g²
        update = g / (sqrt(S + eps_root) + eps)

    Args:
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      initial: () at least 0, what S starts from.

    Returns:
      Transformation with a `MomentsState`; an update is 0 where the divisor is.

    Raises:
      ValueError: a number is negative.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_adagrad()
      >>> scaled.update(jnp.array([0.0, -3.0]), scaled.init(jnp.zeros(2)))[0]
      Array([ 0., -1.], dtype=float32)

    Source: Duchi et al. 2011, "Adaptive Subgradient Methods", the diagonal form.
    PyTorch's defaults; optax's are `initial=0.1, eps=0, eps_root=1e-7`.
    """
    return _adagrad("scale_by_adagrad", eps, eps_root, initial)


def adagrad(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    eps: ArrayLike = 1e-10,
    eps_root: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
) -> optax.GradientTransformation:
    """`scale_by_adagrad`, then the learning rate.

    Not for: long runs of dense gradients, under whose sum of squares steps only shrink;
    take `adam`.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      initial: () at least 0, what the sum of squares starts from.

    Raises:
      ValueError: a number is negative.

    Example:
      >>> optimizer = jc.optimizers.adagrad(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)

    Also known as: adaptive gradient.
    """
    return descending("adagrad", _adagrad("adagrad", eps, eps_root, initial), learning_rate)


def _adagrad(
    caller: str, eps: ArrayLike, eps_root: ArrayLike, initial: ArrayLike
) -> optax.GradientTransformation:
    check_sizes(caller, eps=eps, eps_root=eps_root, initial=initial)

    def step(count: Array, gradient: Array, second: Array) -> tuple[Array, Array]:
        del count
        second = second + gradient * gradient
        return divided(gradient, root(second, eps, eps_root)), second

    return leafwise(caller, step, "second_moment", initial=initial)
