"""Decoupled knowledge distillation: the label's class and the others apart."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive, check_size
from jaxcompress.core.labels import chosen_class, counted, known_factor
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import (
    check_two_classes,
    checked_labels,
    checked_pair,
    divergence,
    log_mass,
    log_probabilities,
    squared,
)


def decoupled_targets(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    labels: ArrayLike,
    *,
    weight: float = 8.0,
    temperature: float = 1.0,
    ignore: int | None = None,
) -> Array:
    """Divergence of the label's class and, weighted, of the others, times T².

    Not for: examples without labels, of which `soft_targets` needs none.

        loss = T² · (TCKD + weight · NCKD)
        TCKD = KL of (p_t, 1 - p_t) and (q_t, 1 - q_t), t the label
        NCKD = KL of p and q renormalized over the other classes
        p = softmax(teacher / T),  q = softmax(student / T)

    `soft_targets` is T² · (TCKD + (1 - p_t) · NCKD): where the teacher is sure of the
    label, what it knows of the other classes hardly counts. Here it counts as much as
    `weight` says. Add `hard_targets`; the source raises this loss over the first
    epochs.

    Also known as: DKD.

    Args:
      student_logits: (..., classes), floating, of at least two classes.
      teacher_logits: (..., classes), floating, without gradient. A class at -inf adds
        nothing.
      labels: (...), integer in [0, classes). Any other label gives NaN and a gradient
        of NaN.
      weight: of the other classes, at least 0; 2 to 8 in the source. May be traced.
      temperature: T > 0, may be traced.
      ignore: the label of examples whose loss and gradient are 0; divide the sum of
        losses by that of `counted`.

    Returns:
      (...) float32: 0 at equality, never below 0 by more than rounding.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: the shapes or classes differ, there is one class, the weight is below
        0, the temperature not above 0, or `ignore` no integer label.

    Example:
      >>> student, teacher = jnp.log(jnp.array([[0.2, 0.4, 0.4], [0.8, 0.1, 0.1]]))
      >>> jc.distill.outputs.decoupled_targets(student, teacher, jnp.array(0))
      Array(0.832, dtype=float32)

    Source: Zhao et al. 2022, arXiv:2203.08679, section 3. Differs: their alpha, the
    weight of TCKD, is 1, as in all their experiments.
    """
    student, teacher = checked_pair("decoupled_targets", student_logits, teacher_logits)
    check_positive("decoupled_targets", "temperature", temperature)
    labels = checked_labels("decoupled_targets", labels, student, ignore)
    check_two_classes("decoupled_targets", student)
    check_size("decoupled_targets", "weight", weight)
    counts = counted(labels, ignore=ignore)
    # Logits that do not count may hold anything, also for the gradient.
    student, teacher = (
        log_probabilities(jnp.where(counts[..., None], each, 0.0), temperature)
        for each in (student, teacher)
    )
    chosen = chosen_class(labels, student.shape[-1])
    student_label, student_others = _parts(student, chosen)
    teacher_label, teacher_others = _parts(teacher, chosen)
    of_label = divergence(teacher_label, student_label)
    of_others = divergence(teacher_others, student_others)
    loss = squared(temperature) * (of_label + as_float32(weight) * of_others)
    return jnp.where(counts, loss * known_factor(labels, student.shape[-1], counts), 0.0)


def _parts(logits: Array, chosen: Array) -> tuple[Array, Array]:
    """Log probabilities of (the label, all others), and of each other among those."""
    total = jax.nn.logsumexp(logits, axis=-1)
    others = jnp.where(chosen, -jnp.inf, logits)
    rest = log_mass(others)
    label = jnp.sum(jnp.where(chosen, logits, 0.0), axis=-1)
    among = others - jnp.where(rest > -jnp.inf, rest, 0.0)[..., None]
    return jnp.stack([label - total, rest - total], axis=-1), among
