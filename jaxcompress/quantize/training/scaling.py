"""Scales of operands in training: from the numbers themselves, or from earlier steps.

A history comes back renewed as the "gradient" of the history that went in, since what
a backward pass meets is known in the backward pass alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count, check_number
from jaxcompress.core.formats.scales import SMALLEST_SCALE
from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.types import Array


class Scaling(NamedTuple):
    """What the scale of an operand is made of.

    Built by `dynamic_scaling` and `delayed_scaling`.

    Attributes:
      history: how many maxima of earlier steps are kept; 0 where the operand's own is
        taken.
      margin: powers of two that scales leave free above the largest of them.
    """

    history: int
    margin: float


class Histories(NamedTuple):
    """The maxima that one site has met, the latest first, 0 where there is none yet.

    Attributes:
      data: (layers…, history) float32, of the data in the forward pass.
      weight: likewise of the weight.
      gradient: likewise of the gradient of the output.
    """

    data: Array
    weight: Array
    gradient: Array


def dynamic_scaling() -> Scaling:
    """Takes scales from the operands themselves, at every product.

    Not for: fp8 under one scale for each operand: `delayed_scaling` with a margin of 1
    ended at a lower loss and saves a pass.

    Also known as: current scaling, just-in-time scaling.

        scale = max|x| / (the highest level)

    for each row where the format is per channel, else for the whole operand. Nothing is
    clipped and nothing is kept from step to step.

    Example:
      >>> jc.quantize.training.dynamic_scaling()
      Scaling(history=0, margin=0.0)

    Source: Wortsman et al. 2023, arXiv:2304.13013, section 2.2.1, of int8.
    """
    return Scaling(0, 0.0)


def delayed_scaling(history: int = 16, margin: float = 0.0) -> Scaling:
    """Takes scales from the largest magnitudes of earlier steps.

    Not for: magnitudes that jump from step to step, which it clips where `margin`
    leaves no room; `dynamic_scaling` clips nothing.

    Also known as: delayed scaling, amax history.

        scale = 2**margin · max(history) / (the highest level)

    So that a program can round an operand while it forms it, in one pass over memory.
    What lies beyond the highest level is clipped, and its gradient passes. Before the
    first maximum is known, the operand's own is taken. A maximum of 0 or one that is
    not finite is not recorded, so a step that was lost spoils no later one.

    Args:
      history: how many maxima are kept, at least 1.
      margin: powers of two left free for what grows, a number.

    Returns:
      Scaling.

    Raises:
      ValueError: `history` is below 1, or `margin` no finite number.

    Example:
      >>> jc.quantize.training.delayed_scaling(history=1024)
      Scaling(history=1024, margin=0.0)

    Source: Micikevicius et al. 2022, arXiv:2209.05433, section 3.2, as NVIDIA's
    Transformer Engine has it. Differs: the first step, and what is not recorded.
    """
    check_number("delayed_scaling", "margin", margin)
    return Scaling(check_count("delayed_scaling", "history", history), float(margin))


def scale_of(x: Array, scaling: Scaling, known: Array, axis: Any, highest: float) -> Array:
    """The scale of each row, or of all.

    Args:
      x: (…) float32, finite.
      scaling: where it comes from.
      known: () float32, the largest of the history; 0 where nothing is known.
      axis: the axes that share a scale.
      highest: what the highest code stands for, in steps.

    Returns:
      float32 that broadcasts to `x`, above 0; 1 where all is 0.
    """

    def own(x: Array) -> Array:
        return jnp.max(jnp.abs(x), axis, keepdims=True, initial=0.0)

    if scaling.history == 0:
        largest = own(x)
    else:
        # Only where nothing is known is the operand read once more.
        shape = jax.eval_shape(own, x).shape
        largest = jax.lax.cond(known > 0, lambda x: jnp.broadcast_to(known, shape), own, x)
    largest = largest * jnp.float32(2.0**scaling.margin)
    scale = jnp.maximum(largest / jnp.float32(highest), SMALLEST_SCALE)
    return jnp.where(largest == 0, 1.0, scale)


@jax.custom_vjp
def noted(
    y: Array, histories: Histories, of_data: Array, of_weight: Array
) -> tuple[Array, Histories]:
    """Gives a site's output and histories; the gradient of these holds what was met.

    Args:
      y: the output.
      histories: of the site.
      of_data: () float32, the largest magnitude.
      of_weight: the same.

    Returns:
      (y, histories) as they are. The cotangent of each history is the newest maximum in
      its first place, or what came back through the histories if that is larger: where
      a site is met in every turn of a loop, the largest of all turns.
    """
    del of_data, of_weight
    return y, histories


def _noted_forward(y: Array, histories: Histories, of_data: Array, of_weight: Array):
    return (y, histories), (histories, of_data, of_weight)


def _noted_backward(kept: tuple[Any, ...], cotangents: tuple[Any, ...]):
    gradient, later = cotangents
    # What is noted has no derivative of its own.
    histories, of_data, of_weight, seen = jax.lax.stop_gradient((*kept, gradient))
    maxima = Histories(of_data, of_weight, largest_magnitude(seen))

    def newest(history: Array, largest: Array, later: Array) -> Array:
        met = _of_all(jnp.where(jnp.isfinite(largest), largest, 0.0), history)
        return jnp.maximum(jnp.where(jnp.arange(history.shape[-1]) == 0, met, 0.0), later)

    return gradient, jax.tree.map(newest, histories, maxima, later), None, None


noted.defvjp(_noted_forward, _noted_backward)


@jax.custom_batching.custom_vmap
def _of_all(largest: Array, history: Array) -> Array:
    """Maxima (…) as they are; under `vmap` of all examples that share a history."""
    del history
    return largest


@_of_all.def_vmap
def _of_all_examples(axis_size: int, batched: list[bool], largest: Array, history: Array):
    of_largest, of_history = batched
    if not of_history:
        return _of_all(jnp.max(largest, axis=0) if of_largest else largest, history), False
    # Every example has its own history.
    each = largest if of_largest else jnp.broadcast_to(largest[None], (axis_size, *largest.shape))
    return _of_all(each, history), True


def renewed(history: Array, gradient: Array) -> Array:
    """The history with the newest maximum in front, if there was one.

    Args:
      history: (layers…, history) float32.
      gradient: the same, as `noted` gives it.

    Example:
      >>> renewed(jnp.array([2.0, 1.0]), jnp.array([3.0, 0.0]))
      Array([3., 2.], dtype=float32)
      >>> renewed(jnp.array([2.0, 1.0]), jnp.array([jnp.nan, 0.0]))
      Array([2., 1.], dtype=float32)
    """
    newest = gradient[..., :1]
    met = (newest > 0) & jnp.isfinite(newest)
    return jnp.where(met, jnp.concatenate([newest, history[..., :-1]], axis=-1), history)
