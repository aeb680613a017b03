"""Lion: the sign of a momentum; every weight moves by the learning rate."""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, Selector
from jaxcompress.optimizers.decay import decay_after
from jaxcompress.optimizers.hyperparameters import check_decays, check_sizes, descent
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import average
from jaxcompress.optimizers.storage import Storage, float32


def scale_by_lion(
    b1: ArrayLike = 0.9, b2: ArrayLike = 0.99, *, storage: Storage = float32()
) -> optax.GradientTransformation:
    """The sign of an average of momentum and gradient.

        update = sign(b1 · m + (1 - b1) · g)
        m <- b2 · m + (1 - b2) · g

    Args:
      b1: () in [0, 1), the momentum's share in the update.
      b2: () in [0, 1), how long the momentum remembers.
      storage: how m, the moment `first_moment`, is kept.

    Returns:
      Transformation with a `MomentsState`; updates are -1, 0 or 1.

    Raises:
      ValueError: a number is outside its range.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_lion()
      >>> scaled.update(jnp.array([0.0, -3.0]), scaled.init(jnp.zeros(2)))[0]
      Array([ 0., -1.], dtype=float32)

    Source: Chen et al. 2023, arXiv:2302.06675, program 1.
    """
    check_decays("scale_by_lion", b1=b1, b2=b2)

    def step(count: Array, gradient: Array, first: Array) -> tuple[Array, Array]:
        del count
        return jnp.sign(average(first, gradient, b1)), average(first, gradient, b2)

    return leafwise("scale_by_lion", step, first_moment=storage)


def lion(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
    storage: Storage = float32(),
) -> optax.GradientTransformation:
    """`scale_by_lion`, then decoupled `weight_decay`, then the learning rate.

    Args:
      learning_rate: at least 0: a number, a () array or a schedule; a third to a tenth
        of Adam's, with a decay as many times larger, is what the paper advises.
      b1: () in [0, 1).
      b2: () in [0, 1).
      weight_decay: () at least 0.
      select: which leaves decay; by default matrices and kernels, see `weights`. Under
        `inject_hyperparams` it goes into `static_args`.
      storage: how the momentum is kept.

    Raises:
      ValueError: a number is outside its range; in `update`, with a decay: params are
        missing.

    Example:
      >>> optimizer = jc.optimizers.lion(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    check_sizes("lion", learning_rate=learning_rate, weight_decay=weight_decay)
    check_decays("lion", b1=b1, b2=b2)
    scaled = scale_by_lion(b1, b2, storage=storage)
    return optax.chain(decay_after(scaled, weight_decay, select), descent(learning_rate))
