"""Divergences of a student's probabilities that are not the forward KL."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_inside
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import divergence, softened, squared


def reverse_kl(
    student_logits: ArrayLike, teacher_logits: ArrayLike, *, temperature: float = 1.0
) -> Array:
    """KL divergence of the teacher's softened output from the student's, times T².

    Not for: students that shall give each class what the teacher gives it, as
    classifiers do; `soft_targets` covers them all.

    For students too small to cover all that the teacher says: it seeks the modes, where
    `soft_targets`, the forward KL, spreads the student over them.

        loss = T² · sum_j q_j · (log q_j - log p_j)
        p = softmax(teacher / T),  q = softmax(student / T)

    Also known as: mode-seeking KL, RKL, the divergence of MiniLLM.

    Args:
      student_logits: (..., classes), floating. A class of student probability 0, such
        as one at -inf, adds nothing.
      teacher_logits: (..., classes), floating, without gradient. A class at -inf that
        the student does not rule out too is infinitely far; mask it in both, or take
        `skewed_reverse_kl`, which is finite.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32: 0 at equality, never below 0 by more than rounding. Tokens that are
      padding stay out of the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, or the temperature is not above 0.

    Example:
      >>> student, teacher = jnp.log(jnp.array([[0.5, 0.5], [0.8, 0.2]]))
      >>> jc.distill.outputs.reverse_kl(student, teacher)
      Array(0.223, dtype=float32)

    Source: Gu et al. 2023, arXiv:2306.08543, equation 1. Differs: the gradient is exact
    for each token, given the tokens before it; theirs, by policy gradient, also
    counts what a token does to later ones.
    """
    student, teacher = softened("reverse_kl", student_logits, teacher_logits, temperature)
    return squared(temperature) * divergence(student, teacher)


def alpha_divergence(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    *,
    alpha: float = 0.5,
    temperature: float = 1.0,
) -> Array:
    """Amari's alpha divergence of the softened outputs, times T².

    Not for: the two ends, which are functions of their own: `reverse_kl` at 0,
    `soft_targets` at 1.

        loss = T² · (1 - sum_j p_j^alpha · q_j^(1 - alpha)) / (alpha · (1 - alpha))
        p = softmax(teacher / T),  q = softmax(student / T)

    Between the two KL divergences, and bounded: alpha -> 1 gives `soft_targets`,
    alpha -> 0 gives `reverse_kl`, and 0.5 is four times the squared Hellinger distance.

    Also known as: Rényi's or Tsallis' divergence up to a monotonic function, Hellinger
    distance, generalized divergence.

    Args:
      student_logits: (..., classes), floating.
      teacher_logits: (..., classes), floating, without gradient. Classes at -inf count
        as the formula says.
      alpha: in (0, 1), may be traced; for the limits take the functions named above.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32 in [0, T² / (alpha · (1 - alpha))], 0 at equality. Tokens that are
      padding stay out of the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, alpha is outside (0, 1), or the
        temperature is not above 0.

    Example:
      >>> student, teacher = jnp.log(jnp.array([[0.5, 0.5], [0.8, 0.2]]))
      >>> jc.distill.outputs.alpha_divergence(student, teacher)
      Array(0.205, dtype=float32)

    Source: Minka 2005, Microsoft Research TR-2005-173, section 2; for distillation
    Wang et al. 2021, arXiv:2102.07954. Differs: alpha inside (0, 1), where nothing
    has to be clipped.
    """
    student, teacher = softened("alpha_divergence", student_logits, teacher_logits, temperature)
    check_inside("alpha_divergence", "alpha", alpha, 0, 1)
    teacher_share, student_share = as_float32(alpha), 1 - as_float32(alpha)
    # Of a class: alpha p + (1 - alpha) q - p^alpha q^(1 - alpha), at least 0 and
    # summing to the numerator, in units of the larger of p and q: nothing cancels or
    # overflows.
    lower = student <= teacher
    by_teacher = _gap(_difference(student, teacher, lower), student_share)
    by_student = _gap(_difference(teacher, student, ~lower), teacher_share)
    apart = jnp.where(lower, jnp.exp(teacher) * by_teacher, jnp.exp(student) * by_student)
    return squared(temperature) * jnp.sum(apart, axis=-1) / (teacher_share * student_share)


def _gap(log_ratio: Array, share: Array) -> Array:
    """Share · r + (1 - share) - r^share, in [0, 1], of a ratio r of at most 1."""
    return share * jnp.expm1(log_ratio) - jnp.expm1(share * log_ratio)


def _difference(first: Array, second: Array, taken: Array) -> Array:
    """First - second where taken, else 0; 0 where both are -inf."""
    taken = taken & (second > -jnp.inf)
    return jnp.where(taken, first, 0.0) - jnp.where(taken, second, 0.0)
