"""Weight penalties, coupled to the gradient (L1, L2) or decoupled from it."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array, Selector
from jaxcompress.optimizers.hyperparameters import check_sizes
from jaxcompress.optimizers.leafwise import on_selected
from jaxcompress.optimizers.moments import as_float32


def l1(weight: ArrayLike, *, select: Selector | None = None) -> optax.GradientTransformation:
    """Adds the gradient of weight · Σ|w|; it comes first in a chain.

    Not for: weights of exactly 0; `prune.penalties.proximal_l1` lands on it.

        g <- g + weight · sign(w)

    Weights get small and change sign, rarely exactly 0: pruning is for that. On the
    scales of norms, `select=jc.matching("*/scale")`, it drives whole channels towards
    0, which `structure.importance.norm_scale` then finds.

    Args:
      weight: () at least 0.
      select: which leaves; by default matrices and kernels, see `weights`.

    Returns:
      Stateless transformation, in float32 inside; updates keep their dtype.

    Raises:
      ValueError: `weight` is a negative number; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> penalty = jc.optimizers.l1(0.5)
      >>> params = jnp.array([[3.0, 0.0, -2.0]])
      >>> penalty.update(jnp.ones((1, 3)), penalty.init(params), params)[0]
      Array([[1.5, 1. , 0.5]], dtype=float32)

    Also known as: lasso; on norm scales, network slimming (Liu et al. 2017,
    arXiv:1708.06519).
    """
    return _added("l1", weight, jnp.sign, select)


def l2(weight: ArrayLike, *, select: Selector | None = None) -> optax.GradientTransformation:
    """Adds the gradient of weight / 2 · Σw², the coupled penalty; first in a chain.

    Not for: adaptive optimizers, which divide the penalty by gradients; take
    `weight_decay`.

        g <- g + weight · w

    An adaptive optimizer after it divides the penalty, too, by the size of gradients;
    `weight_decay` is what does not.

    Args:
      weight: () at least 0.
      select: which leaves; by default matrices and kernels, see `weights`.

    Returns:
      Stateless transformation, in float32 inside; updates keep their dtype.

    Raises:
      ValueError: `weight` is a negative number; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> penalty = jc.optimizers.l2(0.5)
      >>> params = jnp.array([[3.0, 0.0, -2.0]])
      >>> penalty.update(jnp.ones((1, 3)), penalty.init(params), params)[0]
      Array([[2.5, 1. , 0. ]], dtype=float32)

    Also known as: L2 regularization, ridge, Tikhonov.
    """
    return _added("l2", weight, lambda leaf: leaf, select)


def weight_decay(
    weight: ArrayLike, *, select: Selector | None = None
) -> optax.GradientTransformation:
    """The decoupled penalty: between what scales gradients and the learning rate.

    Not for: recipes of a penalty in the loss, as most of convolutional networks are;
    take `l2`.

        update <- update + weight · w

    so that with the rate after it a weight loses learning_rate · weight of itself.

    Args:
      weight: () at least 0.
      select: which leaves; by default matrices and kernels, see `weights`.

    Returns:
      Stateless transformation, in float32 inside; updates keep their dtype.

    Raises:
      ValueError: `weight` is a negative number; in `update`: params are missing.
      TypeError: when `init` sees the params: a leaf is not real floating.

    Example:
      >>> scaled = jc.optimizers.scale_by_lion()
      >>> decayed = optax.chain(scaled, jc.optimizers.weight_decay(0.5))
      >>> params = jnp.array([[3.0, -2.0]])
      >>> decayed.update(jnp.ones((1, 2)), decayed.init(params), params)[0]
      Array([[2.5, 0. ]], dtype=float32)

    Also known as: decoupled weight decay, the W of AdamW.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2. Differs: as in
    optax and PyTorch the decay follows the learning rate and not only its schedule.
    Unlike `optax.add_decayed_weights` it leaves biases and norms alone, and an array as
    `weight` does not widen updates.
    """
    return _added("weight_decay", weight, lambda leaf: leaf, select)


def _added(
    caller: str,
    weight: ArrayLike,
    gradient: Callable[[Array], Array],
    select: Selector | None,
) -> optax.GradientTransformation:
    """Adds weight · gradient(leaf) to the updates of the selected leaves."""
    check_sizes(caller, weight=weight)

    def penalised(name: str, leaf: Array, update: Array) -> Array:
        del name
        pull = as_float32(weight) * gradient(leaf.astype(jnp.float32))
        return narrowed(update.astype(jnp.float32) + pull, update.dtype)

    return on_selected(caller, select, penalised)
