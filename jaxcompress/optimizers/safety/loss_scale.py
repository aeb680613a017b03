"""Dynamic loss scaling: float16 gradients kept out of underflow."""

import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_inside, check_positive, check_range
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_shape, check_transformation
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.optimizers.hyperparameters import check_counts
from jaxcompress.optimizers.leafwise import check_gradients
from jaxcompress.optimizers.safety.guard import SkipState, skip_nonfinite

SMALLEST, LARGEST = 2.0**-24, 2.0**24
"""The scale stays in [SMALLEST, LARGEST]: below 1 where gradients overflow unscaled."""


class LossScaleState(NamedTuple):
    """The state of loss scaling.

    Attributes:
      loss_scale: () float32, what the loss is multiplied by.
      steady: () int32, finite steps since the scale last changed.
      inner: the state of the guarded inner transformation, a `SkipState`.
    """

    loss_scale: ArrayLike
    steady: ArrayLike
    inner: optax.OptState


def scale_loss(loss: Array, opt_state: optax.OptState) -> Array:
    """The loss times the scale in the optimizer's state, for `jax.grad`.

    Args:
      loss: (…) real, () for `jax.grad`.
      opt_state: of a transformation that holds one `dynamic_loss_scale`.

    Returns:
      float32 of the same shape.

    Example:
      >>> optimizer = jc.optimizers.dynamic_loss_scale(optax.sgd(0.1), initial=8.0)
      >>> jc.optimizers.scale_loss(jnp.float16(0.5), optimizer.init(jnp.zeros(1)))
      Array(4., dtype=float32)
    """
    check_shape("scale_loss", "loss", loss, "(…)")
    scale = optax.tree.get(unwrapped(opt_state), "loss_scale")
    if scale is None:
        raise ValueError(
            "scale_loss(loss, opt_state) finds no loss scale. Pass what the init of "
            "dynamic_loss_scale(...), or of a transformation around it, gave."
        )
    return jnp.asarray(loss, jnp.float32) * scale


def unscale(grads: PyTree, scale: ArrayLike) -> PyTree:
    """The gradients of the unscaled loss, in float32.

    Example:
      >>> jc.optimizers.unscale(jnp.float16([4.0]), 8.0)
      Array([0.5], dtype=float32)
    """
    check_arrays("unscale", "grads", grads)
    check_positive("unscale", "scale", scale)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32) / scale, grads)


def adjusted(
    scale: Array, steady: Array, finite: Array, *, growth: float, backoff: float, interval: int
) -> tuple[Array, Array]:
    """The next scale: lower after an overflow, higher after `interval` finite steps.

    Args:
      scale: () float32.
      steady: () int32, finite steps since it last changed.
      finite: () bool, whether this step's gradients were.
      growth: what it is multiplied by, above 1.
      backoff: what it is multiplied by, in (0, 1).
      interval: finite steps before it grows.

    Returns:
      (scale () float32 in [2**-24, 2**24], steady () int32).

    Example:
      >>> options = dict(growth=2.0, backoff=0.5, interval=1)
      >>> adjusted(jnp.float32(8.0), jnp.int32(0), jnp.array(False), **options)
      (Array(4., dtype=float32), Array(0, dtype=int32))
    """
    steady = jnp.where(finite, steady + 1, 0)
    grows = steady >= interval
    factor = jnp.where(finite, jnp.where(grows, growth, 1.0), backoff)
    return jnp.clip(scale * factor, SMALLEST, LARGEST), jnp.where(grows, 0, steady)


def dynamic_loss_scale(
    inner: optax.GradientTransformation,
    *,
    initial: float = 2.0**15,
    growth: float = 2.0,
    backoff: float = 0.5,
    interval: int = 2000,
) -> optax.GradientTransformationExtraArgs:
    """Takes gradients of `scale_loss(loss, opt_state)`, and finds the scale by trial.

    Not for: bfloat16 and float32, whose range needs no scale; `skip_nonfinite` guards
    alone.

    Gradients are divided by the scale in float32; `inner` sees params and gradients in
    float32. A step whose gradients overflow is skipped as `skip_nonfinite` does, and
    the scale falls, below 1 where they overflow at 1 too; after `interval` finite steps
    it grows.

    `optax.MultiSteps` goes inside: there the accumulated gradients are unscaled, and an
    overflow never reaches them. Around it MultiSteps would stay NaN after the first
    overflow, and no step would ever be taken again; `check_skips` raises.

    Args:
      inner: optimizer, clipping included, since it sees the true gradients.
      initial: the first scale, in [2**-24, 2**24].
      growth: factor after `interval` finite steps, above 1.
      backoff: factor after an overflow, in (0, 1).
      interval: finite steps before the scale grows, at least 1.

    Returns:
      Transformation with a `LossScaleState`; updates have the dtype of the params, or
      of the gradients where there are none.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> optimizer = jc.optimizers.dynamic_loss_scale(optax.sgd(1.0), initial=1024.0)
      >>> params = jnp.float16([1.0, 2.0])
      >>> opt_state = optimizer.init(params)
      >>> loss = lambda params: jc.optimizers.scale_loss(params.sum() * 1e-3, opt_state)
      >>> updates, _ = optimizer.update(jax.grad(loss)(params), opt_state, params)
      >>> updates
      Array([-0.001, -0.001], dtype=float16)

    Also known as: loss scaling for mixed precision, GradScaler.

    Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2. Differs: kept
    within [2**-24, 2**24]; PyTorch's numbers as defaults but for a lower start.
    """
    check_transformation("dynamic_loss_scale", "inner", inner)
    check_range("dynamic_loss_scale", "initial", initial, SMALLEST, LARGEST + 1)
    check_inside("dynamic_loss_scale", "growth", growth, 1, math.inf)
    check_inside("dynamic_loss_scale", "backoff", backoff, 0, 1)
    (interval,) = check_counts("dynamic_loss_scale", interval=interval)
    guarded = skip_nonfinite(inner)

    def init(params: Params) -> LossScaleState:
        return LossScaleState(
            loss_scale=jnp.full((), initial, jnp.float32),
            steady=jnp.zeros((), jnp.int32),
            inner=guarded.init(_wide(params)),
        )

    def update(updates: optax.Updates, state: Any, params: Params = None, **extra):
        check_gradients("dynamic_loss_scale", updates, params)
        like = updates if params is None else params
        updates, inner_state = guarded.update(
            unscale(updates, state.loss_scale), state.inner, _wide(params), **extra
        )
        updates = jax.tree.map(lambda x, leaf: narrowed(x, leaf.dtype), updates, like)
        scale, steady = adjusted(
            state.loss_scale,
            state.steady,
            jnp.equal(cast(SkipState, inner_state).consecutive, 0),
            growth=growth,
            backoff=backoff,
            interval=interval,
        )
        return updates, LossScaleState(scale, steady, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _wide(params: Params) -> Params:
    """The params with floating leaves in float32; None stays None."""
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        params,
    )
