"""AdaGrad: each number's rate falls with all the gradients it has seen."""

import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.hyperparameters import check_sizes, descent
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import divided, root
from jaxcompress.optimizers.storage import Storage, float32


def scale_by_adagrad(
    *,
    eps: ArrayLike = 1e-10,
    eps_root: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
    storage: Storage = float32(),
) -> optax.GradientTransformation:
    """Divides by the root of the sum of all squared gradients.

        S <- S + g²
        update = g / (sqrt(S + eps_root) + eps)

    Args:
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      initial: () at least 0, what S starts from.
      storage: how S, the moment `second_moment`, is kept. In `bfloat16` the sum stops
        growing after a few hundred equal terms.

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
    check_sizes("scale_by_adagrad", eps=eps, eps_root=eps_root, initial=initial)

    def step(count: Array, gradient: Array, second: Array) -> tuple[Array, Array]:
        del count
        second = second + gradient * gradient
        return divided(gradient, root(second, eps, eps_root)), second

    return leafwise("scale_by_adagrad", step, initial=initial, second_moment=storage)


def adagrad(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    eps: ArrayLike = 1e-10,
    eps_root: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
    storage: Storage = float32(),
) -> optax.GradientTransformation:
    """`scale_by_adagrad`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule.
      eps: () at least 0, outside the root.
      eps_root: () at least 0, inside the root.
      initial: () at least 0, what the sum of squares starts from.
      storage: how the sum is kept.

    Raises:
      ValueError: a number is negative.

    Example:
      >>> optimizer = jc.optimizers.adagrad(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    check_sizes("adagrad", learning_rate=learning_rate, eps=eps, eps_root=eps_root, initial=initial)
    scaled = scale_by_adagrad(eps=eps, eps_root=eps_root, initial=initial, storage=storage)
    return optax.chain(scaled, descent(learning_rate))
