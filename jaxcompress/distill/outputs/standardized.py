"""Targets that are free of how large the logits are."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.logits import (
    check_two_classes,
    checked_pair,
    divergence,
    log_probabilities,
    squared,
)

_EPSILON = 1e-7
"""What the source adds to a standard deviation."""


def standardized_targets(
    student_logits: ArrayLike, teacher_logits: ArrayLike, *, temperature: float = 2.0
) -> Array:
    """Soft targets of logits that are standardized over their classes, times T².

    Not for: a student that shall be as sure as the teacher, since the spread is divided
    away; `soft_targets` keeps it.

        z = (logits - mean) / (std + 1e-7),  std with divisor classes - 1
        loss = T² · KL(softmax(z_teacher / T) ‖ softmax(z_student / T))

    The student learns which classes go before which, and by how much relative to the
    spread, and need not reach the size of the teacher's logits. Scaling an example's
    logits by a positive factor changes nothing, nor does adding a constant.

    Also known as: logit standardization (LSKD), z-score KD.

    Args:
      student_logits: (..., classes), floating, of at least two classes.
      teacher_logits: (..., classes), floating, without gradient. A class at -inf is
        left out of means and deviations and adds nothing.
      temperature: T > 0, the source's base temperature. May be traced.

    Returns:
      (...) float32: 0 at equality, never below 0 by more than rounding. An example of
      equal logits has z = 0 and no gradient: what a head of zeros gives has no
      direction, and learns from its labels first. Tokens that are padding stay out of
      the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, there is one class, or the temperature
        is not above 0.

    Example:
      >>> logits = jnp.array([1.0, 2.0, 4.0])
      >>> jc.distill.outputs.standardized_targets(3 * logits, logits) < 1e-6
      Array(True, dtype=bool)

    Source: Sun et al. 2024, arXiv:2403.01427, section 4. The loss wants a large weight,
    9 beside 0.1 of the labels' in the source; tune it for what you compare with too.
    """
    student, teacher = checked_pair("standardized_targets", student_logits, teacher_logits)
    check_positive("standardized_targets", "temperature", temperature)
    check_two_classes("standardized_targets", student)
    student = log_probabilities(_standardized(student), temperature)
    teacher = log_probabilities(_standardized(teacher), temperature)
    return squared(temperature) * divergence(teacher, student)


def _standardized(logits: Array) -> Array:
    """z-scores over the last axis, of the classes that are not at -inf."""
    possible = logits != -jnp.inf
    count = jnp.maximum(jnp.sum(possible, axis=-1, keepdims=True), 2).astype(jnp.float32)
    mean = jnp.sum(jnp.where(possible, logits, 0.0), axis=-1, keepdims=True) / count
    centred = jnp.where(possible, logits - mean, 0.0)
    # In units of the largest deviation, so that no square leaves the range of float32.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(centred), axis=-1, keepdims=True))
    flat = _is_flat(logits, possible)
    unit = jnp.where(flat, 1.0, largest)
    squares = jnp.sum((centred / unit) ** 2, axis=-1, keepdims=True) / (count - 1)
    deviation = unit * jnp.sqrt(jnp.where(flat, 1.0, squares))
    scores = jnp.where(flat, 0.0, centred / (deviation + _EPSILON))
    return jnp.where(possible, scores, -jnp.inf)


def _is_flat(logits: Array, possible: Array) -> Array:
    """Whether all are equal; compared, since their mean may round to another number."""
    highest = jnp.max(logits, axis=-1, keepdims=True)
    lowest = jnp.min(jnp.where(possible, logits, jnp.inf), axis=-1, keepdims=True)
    return highest <= lowest
