"""Lion: the sign of a momentum; every weight moves by the learning rate."""

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, Selector
from jaxcompress.optimizers.descent import descending
from jaxcompress.optimizers.hyperparameters import check_decays
from jaxcompress.optimizers.leafwise import leafwise
from jaxcompress.optimizers.moments import average


def scale_by_lion(b1: ArrayLike = 0.9, b2: ArrayLike = 0.99) -> optax.GradientTransformation:
    """The sign of an average of momentum and gradient.

        update = sign(b1 · m + (1 - b1) · g)
        m <- b2 · m + (1 - b2) · g

    Args:
      b1: () in [0, 1), the momentum's share in the update.
      b2: () in [0, 1), how long the momentum remembers.

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
    return _lion("scale_by_lion", b1, b2)


def lion(
    learning_rate: ArrayLike | optax.Schedule,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
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

    Raises:
      ValueError: a number is outside its range; in `update`, with a decay: params are
        missing.

    Example:
      >>> optimizer = jc.optimizers.lion(0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    return descending("lion", _lion("lion", b1, b2), learning_rate, weight_decay, select)


def _lion(caller: str, b1: ArrayLike, b2: ArrayLike) -> optax.GradientTransformation:
    check_decays(caller, b1=b1, b2=b2)

    def step(count: Array, gradient: Array, first: Array) -> tuple[Array, Array]:
        del count
        return jnp.sign(average(first, gradient, b1)), average(first, gradient, b2)

    return leafwise(caller, step, "first_moment")
