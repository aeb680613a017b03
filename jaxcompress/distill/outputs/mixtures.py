"""Divergences from mixtures of the student's and the teacher's probabilities.

They are finite wherever the two put their mass, which the plain KL is not.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_inside
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.outputs.logits import expectation, softened, squared

_LOWEST = -1e38
"""Log of what counts as probability 0; differences of two such are finite."""


def jensen_shannon(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
) -> Array:
    """Generalized Jensen-Shannon divergence of the softened outputs, times T².

    Not for: students far from the teacher, for which it is nearly flat; `soft_targets`
    keeps its gradient there.

        loss = T² · (beta · KL(p ‖ m) + (1 - beta) · KL(q ‖ m))
        m = beta · p + (1 - beta) · q
        p = softmax(teacher / T),  q = softmax(student / T)

    Between forward and reverse KL: its gradient is like beta times that of
    `soft_targets` as beta -> 0, and like 1 - beta times that of `reverse_kl` as
    beta -> 1. At both ends the loss itself is 0, so that they are refused.

    Also known as: JSD(beta), the divergence of generalized knowledge distillation
    (GKD).

    Args:
      student_logits: (..., classes), floating.
      teacher_logits: (..., classes), floating, without gradient. Classes at -inf count
        as the formula says.
      beta: share of the teacher in the mixture, in (0, 1), may be traced.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32 in [0, T² · log 2], 0 at equality. Tokens that are padding stay out
      of the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, beta is outside (0, 1), or the
        temperature is not above 0.

    Example:
      >>> apart = jnp.array([40.0, 0.0]), jnp.array([0.0, 40.0])
      >>> jc.distill.outputs.jensen_shannon(*apart) / jnp.log(2)
      Array(1., dtype=float32)

    Source: Agarwal et al. 2023, arXiv:2306.13649, section 2.
    """
    student, teacher = softened("jensen_shannon", student_logits, teacher_logits, temperature)
    check_inside("jensen_shannon", "beta", beta, 0, 1)
    teacher_share, student_share = as_float32(beta), 1 - as_float32(beta)
    forward = teacher_share * _from_mixture(teacher, student, teacher_share)
    reverse = student_share * _from_mixture(student, teacher, student_share)
    return squared(temperature) * (forward + reverse)


def skewed_kl(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    *,
    skew: float = 0.1,
    temperature: float = 1.0,
) -> Array:
    """KL divergence from the teacher to a mixture that holds a little of it, times T².

    Not for: text that the student wrote, for which take `skewed_reverse_kl`.

        loss = T² · KL(p ‖ skew · p + (1 - skew) · q)
        p = softmax(teacher / T),  q = softmax(student / T)

    The share of the teacher bounds the loss, and so the gradients of the first steps.
    For text of the teacher or of a data set; `soft_targets` is its limit at skew 0.

    Also known as: skew KL divergence (SKL), the first half of DistiLLM.

    Args:
      student_logits: (..., classes), floating.
      teacher_logits: (..., classes), floating, without gradient.
      skew: share of the teacher in the mixture, in (0, 1), may be traced. For a skew of
        each example's own, as in DistiLLM-2, put the loss into `jax.vmap`.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32 in [0, -T² · log(skew)], 0 at equality. Tokens that are padding stay
      out of the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, the skew is outside (0, 1), or the
        temperature is not above 0.

    Example:
      >>> apart = jnp.array([40.0, 0.0]), jnp.array([0.0, 40.0])
      >>> jc.distill.outputs.skewed_kl(*apart, skew=0.5) / jnp.log(2)
      Array(1., dtype=float32)

    Source: Ko et al. 2024, arXiv:2402.03898, section 3.1.
    """
    student, teacher = softened("skewed_kl", student_logits, teacher_logits, temperature)
    check_inside("skewed_kl", "skew", skew, 0, 1)
    return squared(temperature) * _from_mixture(teacher, student, as_float32(skew))


def skewed_reverse_kl(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    *,
    skew: float = 0.1,
    temperature: float = 1.0,
) -> Array:
    """KL divergence from the student to a mixture that holds a little of it, times T².

    Not for: text of the teacher or of a data set, for which take `skewed_kl`.

        loss = T² · KL(q ‖ (1 - skew) · p + skew · q)
        p = softmax(teacher / T),  q = softmax(student / T)

    For text that the student wrote; `reverse_kl` is its limit at skew 0.

    Also known as: skew reverse KL divergence (SRKL), the second half of DistiLLM.

    Args:
      student_logits: (..., classes), floating.
      teacher_logits: (..., classes), floating, without gradient.
      skew: share of the student in the mixture, in (0, 1), as of `skewed_kl`.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32 in [0, -T² · log(skew)], 0 at equality. Tokens that are padding stay
      out of the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, the skew is outside (0, 1), or the
        temperature is not above 0.

    Example:
      >>> apart = jnp.array([40.0, 0.0]), jnp.array([0.0, 40.0])
      >>> jc.distill.outputs.skewed_reverse_kl(*apart, skew=0.5) / jnp.log(2)
      Array(1., dtype=float32)

    Source: Ko et al. 2024, arXiv:2402.03898, section 3.1. Differs: the gradient is the
    formula's; the code of DistiLLM-2 (arXiv:2503.07067) gives the student within
    the mixture none.
    """
    student, teacher = softened("skewed_reverse_kl", student_logits, teacher_logits, temperature)
    check_inside("skewed_reverse_kl", "skew", skew, 0, 1)
    return squared(temperature) * _from_mixture(student, teacher, as_float32(skew))


def _from_mixture(first: Array, second: Array, share: Array) -> Array:
    """KL(first ‖ share · first + (1 - share) · second) of log probabilities.

    The log ratio of the mixture to the first, with d = second - first,

        log(share + (1 - share) · exp(d)) = log1p((1 - share) · expm1(d))
                                          = d + log1p(share · expm1(-d)),

    is exact at equality, and has no overflow where the first form serves d <= 0.
    """
    ahead = jnp.maximum(second, _LOWEST) - jnp.maximum(first, _LOWEST)
    above, below = jnp.where(ahead > 0, ahead, 0.0), jnp.where(ahead > 0, 0.0, ahead)
    log_ratio = jnp.where(
        ahead > 0,
        above + jnp.log1p(share * jnp.expm1(-above)),
        jnp.log1p((1 - share) * jnp.expm1(below)),
    )
    return -expectation(first, log_ratio)
