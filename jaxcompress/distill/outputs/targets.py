"""Losses on a classifier's logits: against a teacher's and against labels.

Each gives one float32 number per example; the mean over a batch is the caller's.
"""

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.labels import check_ignore, class_labels, cross_entropy
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import check_floating, check_same_shape


def soft_targets(
    student_logits: Array, teacher_logits: Array, *, temperature: float = 1.0
) -> Array:
    """KL divergence of the student's softened output from the teacher's, times T².

    Also known as: knowledge distillation (KD), Hinton's loss, soft labels.

        loss = T² · sum_j p_j · (log p_j - log q_j)
        p = softmax(teacher / T),  q = softmax(student / T)

    The factor T² keeps the gradient, T · (q - p), of one size as T changes. Adding a
    constant to an example's logits changes nothing. No gradient flows into the
    teacher's logits: they pass through `jax.lax.stop_gradient`.

    Args:
      student_logits: (..., classes), floating.
      teacher_logits: (..., classes), floating; the dtype may differ. A class of teacher
        probability 0, such as one at -inf, adds nothing.
      temperature: T > 0; higher says more of the classes that the teacher
        thinks unlikely.

    Returns:
      (...) float32, computed in float32: 0 at equality, never below 0 by more
      than rounding.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes differ or hold no class, or the temperature is not above 0.

    Example:
      >>> logits = jnp.array([[1.0, 2.0, 3.0]])
      >>> jc.distill.outputs.soft_targets(logits, logits, temperature=4.0)
      Array([0.], dtype=float32)

    Source: Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2. Differs: the
    divergence instead of the cross-entropy, which has the same gradient
    and is 0 at equality.
    """
    student_logits = _checked_logits("soft_targets", "student_logits", student_logits)
    teacher_logits = _checked_logits("soft_targets", "teacher_logits", teacher_logits)
    check_same_shape("soft_targets", student_logits=student_logits, teacher_logits=teacher_logits)
    check_positive("soft_targets", "temperature", temperature)
    student = _log_probabilities(student_logits, temperature)
    teacher = _log_probabilities(jax.lax.stop_gradient(teacher_logits), temperature)
    probabilities = jnp.exp(teacher)
    likely = probabilities > 0
    # A class at -inf in both would give -inf minus -inf.
    ratio = jnp.where(likely, teacher, 0) - jnp.where(likely, student, 0)
    return temperature**2 * jnp.sum(probabilities * ratio, axis=-1)


def hard_targets(logits: Array, labels: Array, *, ignore: int | None = None) -> Array:
    """Cross-entropy with integer labels: -log of the probability of the class, in nats.

    Args:
      logits: (..., classes), floating.
      labels: (...), integer in [0, classes). Any other label, also a negative one,
        gives NaN and a gradient of NaN.
      ignore: the label of examples without a class, such as -100 for padding. Their
        loss and its gradient are 0; divide the sum of losses by that of `counted`, not
        by the number of examples.

    Returns:
      (...) float32, computed in float32.

    Raises:
      TypeError: logits are not floating or labels are not integer.
      ValueError: the shapes do not fit, or `ignore` is no integer label.

    Example:
      >>> loss = jc.distill.outputs.hard_targets
      >>> loss(jnp.zeros((1, 2)), jnp.array([1])) == jnp.log(2)
      Array([ True], dtype=bool)
      >>> loss(jnp.zeros((2, 2)), jnp.array([2, -100]), ignore=-100)
      Array([nan,  0.], dtype=float32)
    """
    logits = _checked_logits("hard_targets", "logits", logits)
    labels = class_labels("hard_targets", labels)
    check_ignore("hard_targets", ignore)
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"hard_targets(labels of shape {labels.shape}) needs the shape {logits.shape[:-1]},"
            " that of the logits without classes."
        )
    return cross_entropy(logits, labels, ignore)


def _log_probabilities(logits: Array, temperature: float) -> Array:
    return jax.nn.log_softmax(logits.astype(jnp.float32) / temperature, axis=-1)


def _checked_logits(callable_name: str, argument: str, logits) -> Array:
    check_numeric(callable_name, argument, logits)
    logits = jnp.asarray(logits)
    check_floating(callable_name, argument, logits)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"{callable_name}({argument} of shape {logits.shape}) needs the shape (..., classes)."
        )
    return logits
