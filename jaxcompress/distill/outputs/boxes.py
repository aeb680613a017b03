"""Overlap of a student's boxes with a teacher's."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import checked_outputs


def box_overlap(student: ArrayLike, teacher: ArrayLike) -> Array:
    """One minus the generalized intersection over union of two boxes.

    Not for: offsets from an anchor, which are no boxes; `huber_distance` takes them.

        loss = 1 - I / U + (E - U) / E

    with the areas I of the intersection, U of the union and E of the smallest box
    around both. Unlike a distance of corners it does not depend on the size of the
    boxes, and unlike the plain overlap it has a gradient where the boxes do not meet.

    Beside it, `huber_distance` is the smooth L1 distance of corners or offsets, and a
    head that gives each side as a distribution over bins is taught by
    `soft_targets(...).sum(-1)` of logits (..., 4, bins), which is localization
    distillation (LD).

    Also known as: GIoU loss, of localization distillation.

    Args:
      student: (..., 4), floating: left, top, right, bottom.
      teacher: (..., 4), floating, without gradient.

    Returns:
      (...) float32 in [0, 2], 0 at equality. A box of which right is not beyond left or
      bottom not beyond top has the area 0. Boxes that match nothing stay out of the
      mean by `distill.counted`.

    Raises:
      TypeError: boxes are not floating.
      ValueError: the shapes differ or do not end in 4.

    Example:
      >>> student, teacher = jnp.array([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
      >>> jc.distill.outputs.box_overlap(student, teacher)
      Array(0.5, dtype=float32)

    Source: Rezatofighi et al. 2019, arXiv:1902.09630, algorithm 1; for distillation
    Zheng et al. 2021, arXiv:2102.12252.
    """
    student, teacher = checked_outputs("box_overlap", ("4",), student=student, teacher=teacher)
    low = jnp.minimum(student[..., :2], teacher[..., :2])
    high = jnp.maximum(student[..., 2:], teacher[..., 2:])
    # Ratios of areas do not change with the unit of an axis; in units of the box around
    # both no area leaves the range of float32.
    extent = jax.lax.stop_gradient(high - low)
    unit = jnp.where(extent > 0, extent, 1.0)
    inner_low = jnp.maximum(student[..., :2], teacher[..., :2])
    inner_high = jnp.minimum(student[..., 2:], teacher[..., 2:])
    intersection = _area(inner_low, inner_high, unit)
    areas = [_area(box[..., :2], box[..., 2:], unit) for box in (student, teacher)]
    union = areas[0] + areas[1] - intersection
    around = _area(low, high, unit)
    return 1 - _ratio(intersection, union) + _ratio(around - union, around)


def _area(low: Array, high: Array, unit: Array) -> Array:
    """Of (..., 2) corners: 0 where a side is not above 0."""
    sides = jnp.maximum((high - low) / unit, 0.0)
    return sides[..., 0] * sides[..., 1]


def _ratio(part: Array, whole: Array) -> Array:
    """0 of nothing."""
    nothing = whole <= 0
    return jnp.where(nothing, 0.0, part) / jnp.where(nothing, 1.0, whole)
