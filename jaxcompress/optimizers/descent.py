"""From a rule that scales gradients to a whole optimizer: decay, then the rate."""

from numbers import Real

import optax
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_select
from jaxcompress.core.types import Selector
from jaxcompress.optimizers.decay import weight_decay as decoupled
from jaxcompress.optimizers.hyperparameters import check_rates, check_sizes


def descending(
    caller: str,
    scaled: optax.GradientTransformation,
    learning_rate: ArrayLike | optax.Schedule,
    weight_decay: ArrayLike = 0.0,
    select: Selector | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Builds an optimizer: `scaled`, then decoupled weight decay, then the rate.

    Every optimizer that has a `scale_by_` of its own is this with its name.

    Args:
      caller: the name that errors give.
      scaled: what makes directions of gradients.
      learning_rate: at least 0: a number, a () array or a schedule.
      weight_decay: () at least 0; the number 0 adds no link to the chain.
      select: which leaves decay; by default matrices and kernels, see `weights`.

    Raises:
      ValueError: a number is negative or not finite.

    Example:
      >>> optimizer = descending("halved", optax.scale(0.5), 0.1)
      >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0]
      Array([-0.1], dtype=float32)
    """
    check_rates(caller, learning_rate=learning_rate)
    check_sizes(caller, weight_decay=weight_decay)
    check_select(caller, select)
    return optax.chain(decay_after(scaled, weight_decay, select), descent(learning_rate))


def decay_after(
    scaled: optax.GradientTransformation, weight: ArrayLike, select: Selector | None
) -> optax.GradientTransformation:
    """`scaled` and then `weight_decay`; for the number 0 `scaled` alone."""
    if isinstance(weight, Real) and weight == 0:
        return scaled
    return optax.chain(scaled, decoupled(weight, select=select))


def descent(learning_rate: ArrayLike | optax.Schedule) -> optax.GradientTransformation:
    """Minus the learning rate times the update, in the update's dtype.

    It is `optax.scale_by_learning_rate`, to which an array (as `inject_hyperparams`
    gives) goes as a constant schedule: so it does not widen narrow updates.
    """
    if callable(learning_rate):
        return optax.scale_by_learning_rate(learning_rate)
    if isinstance(learning_rate, Real):
        return optax.scale_by_learning_rate(float(learning_rate))
    return optax.scale_by_learning_rate(lambda count: learning_rate)
