"""Targets of heads in which each class answers yes or no."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import checked_pair, divergence, squared


def multi_label_targets(
    student_logits: ArrayLike, teacher_logits: ArrayLike, *, temperature: float = 1.0
) -> Array:
    """Sum over classes of the divergence of yes and no from the teacher's, times T².

    Not for: classes of which one is right, which `soft_targets` lets compete.

        loss = T² · sum_j (p · log(p / q) + (1 - p) · log((1 - p) / (1 - q)))
        p = sigmoid(teacher / T),  q = sigmoid(student / T)

    For several labels per example, where a softmax over classes would make them
    compete. It is the divergence of all answers together, taken as independent.

    Also known as: multi-label logits distillation (MLD), binary or Bernoulli KL,
    one-versus-all distillation.

    Args:
      student_logits: (..., classes), floating: log odds.
      teacher_logits: (..., classes), floating, without gradient. A class at -inf in
        both adds nothing.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32: 0 at equality, never below 0 by more than rounding. For the mean
      over classes divide by their number. Examples without labels stay out of the mean
      by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, or the temperature is not above 0.

    Example:
      >>> student, teacher = jnp.zeros(3), jnp.array([0.0, 0.0, 40.0])
      >>> jc.distill.outputs.multi_label_targets(student, teacher) / jnp.log(2)
      Array(1., dtype=float32)

    Source: Yang et al. 2023, arXiv:2308.06453, section 3.
    """
    student, teacher = checked_pair("multi_label_targets", student_logits, teacher_logits)
    check_positive("multi_label_targets", "temperature", temperature)
    return jnp.sum(answers(student, teacher, temperature), axis=-1)


def answers(student: Array, teacher: Array, temperature: float) -> Array:
    """The divergence of each answer alone, of the shape of the float32 log odds."""
    pair = [_yes_and_no(each / as_float32(temperature)) for each in (teacher, student)]
    return squared(temperature) * divergence(*pair)


def _yes_and_no(log_odds: Array) -> Array:
    """Log probabilities of both answers, on a new last axis."""
    return jnp.stack([jax.nn.log_sigmoid(log_odds), jax.nn.log_sigmoid(-log_odds)], axis=-1)
