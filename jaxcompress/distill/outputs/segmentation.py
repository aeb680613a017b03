"""Targets of heads that give a mask: log odds for each pixel.

Of classes for each pixel, `soft_targets` gives a loss per pixel, to be averaged.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32, checked_outputs
from jaxcompress.distill.outputs.multi_label import answers


def mask_targets(student: ArrayLike, teacher: ArrayLike, *, temperature: float = 1.0) -> Array:
    """Mean over pixels of the divergence of yes and no from the teacher's, times T².

    Not for: small objects, which are few pixels of the mean; `soft_dice` counts them as
    much as large ones.

        loss = T² · mean_pixels (p · log(p / q) + (1 - p) · log((1 - p) / (1 - q)))
        p = sigmoid(teacher / T),  q = sigmoid(student / T)

    Also known as: pixel-wise distillation, per-pixel binary KL.

    Args:
      student: (..., height, width), floating: log odds.
      teacher: (..., height, width), floating, without gradient.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32: 0 at equality, never below 0 by more than rounding. Masks that
      match nothing stay out of the mean by `distill.counted`.

    Raises:
      TypeError: masks are not floating.
      ValueError: the shapes differ or hold no pixel, or the temperature is not above 0.

    Example:
      >>> student, teacher = jnp.zeros((2, 2)), jnp.array([[0.0, 40.0], [0.0, -40.0]])
      >>> jc.distill.outputs.mask_targets(student, teacher) / jnp.log(2)
      Array(0.5, dtype=float32)

    Source: Liu et al. 2019, arXiv:1903.04197, section 3.2, for pixels of classes.
    """
    student, teacher = checked_outputs(
        "mask_targets", ("height", "width"), student=student, teacher=teacher
    )
    check_positive("mask_targets", "temperature", temperature)
    return jnp.mean(answers(student, teacher, temperature), axis=(-2, -1))


def soft_dice(student: ArrayLike, teacher: ArrayLike, *, temperature: float = 1.0) -> Array:
    """One minus the overlap of two soft masks, over their sizes.

    Not for: masks that are often empty, from which any other is at the distance 1;
    `mask_targets` compares pixel by pixel.

        loss = 1 - 2 sum p q / (sum p² + sum q²) = sum (p - q)² / (sum p² + sum q²)
        p = sigmoid(teacher / T),  q = sigmoid(student / T)

    A small object counts as much as a large one. There is no factor T².

    Also known as: Dice loss, F1 of pixels, with squares in the denominator.

    Args:
      student: (..., height, width), floating: log odds.
      teacher: (..., height, width), floating, without gradient.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32 in [0, 1], 0 at equality and of two empty masks. Masks that match
      nothing stay out of the mean by `distill.counted`.

    Raises:
      TypeError: masks are not floating.
      ValueError: the shapes differ or hold no pixel, or the temperature is not above 0.

    Example:
      >>> student, teacher = jnp.array([[40.0, 40.0]]), jnp.array([[40.0, -40.0]])
      >>> jc.distill.outputs.soft_dice(student, teacher)
      Array(0.333, dtype=float32)

    Source: Milletari et al. 2016, arXiv:1606.04797, section 3. Differs: the teacher's
    probabilities instead of a binary mask, with which squares make it 0 at equality.
    """
    student, teacher = checked_outputs(
        "soft_dice", ("height", "width"), student=student, teacher=teacher
    )
    check_positive("soft_dice", "temperature", temperature)
    own, target = (jax.nn.sigmoid(each / as_float32(temperature)) for each in (student, teacher))
    apart = jnp.sum((own - target) ** 2, axis=(-2, -1))
    whole = jnp.sum(own**2 + target**2, axis=(-2, -1))
    return apart / jnp.where(whole > 0, whole, 1.0)
