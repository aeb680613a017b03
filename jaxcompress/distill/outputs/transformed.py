"""Transformed teacher matching: only the teacher is softened."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import checked_pair, divergence, log_probabilities


def transformed_targets(
    student_logits: ArrayLike, teacher_logits: ArrayLike, *, temperature: float = 2.0
) -> Array:
    """Divergence of the student as it is from the softened teacher, weighted.

    Not for: a student that shall give the teacher's own probabilities, since it learns
    the softened ones; take `soft_targets`.

        loss = U · KL(p^γ ‖ q),  γ = 1 / T,  U = sum_j p_j^γ
        p = softmax(teacher),  q = softmax(student),  p^γ renormalized

    The student stays at temperature 1, which adds to `soft_targets` a Rényi entropy
    that keeps it from being too sure. U is large for examples of which the teacher is
    unsure. There is no factor T².

    Also known as: weighted transformed teacher matching (WTTM); TTM without U.

    Args:
      student_logits: (..., classes), floating.
      teacher_logits: (..., classes), floating, without gradient. A class at -inf adds
        nothing.
      temperature: T > 0 of the teacher. May be traced.

    Returns:
      (...) float32: 0 where the student's logits are the teacher's over T, up to a
      constant, never below 0 by more than rounding. Tokens that are padding stay out of
      the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, or the temperature is not above 0.

    Example:
      >>> logits = jnp.array([1.0, 2.0, 3.0])
      >>> loss = jc.distill.outputs.transformed_targets
      >>> loss(logits / 4, logits, temperature=4.0) < 1e-6
      Array(True, dtype=bool)

    Source: Zheng and Yang 2024, arXiv:2402.11148, section 4. Differs: the divergence
    instead of the cross-entropy, which has the same gradient.
    """
    student, teacher = checked_pair("transformed_targets", student_logits, teacher_logits)
    check_positive("transformed_targets", "temperature", temperature)
    softened = log_probabilities(teacher, temperature)
    powers = jnp.exp(log_probabilities(teacher, 1.0) / as_float32(temperature))
    return jnp.sum(powers, axis=-1) * divergence(softened, log_probabilities(student, 1.0))
