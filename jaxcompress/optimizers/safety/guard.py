"""A guard around an optimizer: a gradient that is not finite changes nothing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.types import Array, Params, PyTree


class SkipState(NamedTuple):
    """What the guard remembers.

    Attributes:
      skipped: () int32, steps skipped so far.
      consecutive: () int32, steps skipped since the last one that was taken.
      inner: the inner transformation's state.
    """

    skipped: ArrayLike
    consecutive: ArrayLike
    inner: optax.OptState


def skip_nonfinite(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Skips the steps whose gradients hold a NaN or an infinity, and counts them.

    In such a step params and the inner state stay as they are, bit for bit: updates are
    -0.0, which leaves even a param of -0.0 alone. It is outermost, or inside what only
    collects gradients (`optax.MultiSteps`).

    It never gives in: a run that only skips goes nowhere. Watch
    `optax.tree.get(opt_state, "consecutive")`, and stop at a number.

    Args:
      inner: optimizer; extra arguments go to it.

    Returns:
      Transformation with a `SkipState`.

    Example:
      >>> optimizer = jc.optimizers.skip_nonfinite(jc.optimizers.adam(0.1))
      >>> params = jnp.array([1.0, 2.0])
      >>> opt_state = optimizer.init(params)
      >>> grads = jnp.array([jnp.nan, 1.0])
      >>> updates, opt_state = optimizer.update(grads, opt_state, params)
      >>> optax.apply_updates(params, updates), int(opt_state.skipped)
      (Array([1., 2.], dtype=float32), 1)

    Differs from `optax.apply_if_finite`, which after enough errors in a row lets the
    next one through, and whose updates of +0.0 turn -0.0 into 0.0.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> SkipState:
        zero = jnp.zeros((), jnp.int32)
        return SkipState(skipped=zero, consecutive=zero, inner=inner.init(params))

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        def take() -> tuple:
            return inner.update(updates, state.inner, params, **extra)

        outline = jax.eval_shape(take)[0]

        def skip() -> tuple:
            still = jax.tree.map(
                lambda gradient, shape: jnp.full_like(gradient, -0.0, shape.dtype),
                updates,
                outline,
            )
            return still, state.inner

        finite = all_finite(updates)
        updates, inner_state = jax.lax.cond(finite, take, skip)
        skipped = jnp.where(finite, state.skipped, optax.safe_increment(state.skipped))
        consecutive = jnp.where(finite, 0, optax.safe_increment(state.consecutive))
        return updates, SkipState(skipped, consecutive, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def all_finite(tree: PyTree) -> Array:
    """() bool, whether no leaf holds a NaN or an infinity.

    Example:
      >>> all_finite({"kernel": jnp.ones(2), "bias": jnp.array([jnp.inf])})
      Array(False, dtype=bool)
    """
    finite = jnp.ones((), bool)
    for leaf in jax.tree.leaves(tree):
        finite &= jnp.all(jnp.isfinite(leaf))
    return finite
