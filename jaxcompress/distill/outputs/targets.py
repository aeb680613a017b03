"""Losses on a classifier's logits: against a teacher's and against labels.

Each gives one float32 number per example; the mean over a batch is the caller's.
"""

from jax.typing import ArrayLike

from jaxcompress.core.labels import cross_entropy
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.logits import (
    checked_labels,
    checked_logits,
    divergence,
    softened,
    squared,
)


def soft_targets(
    student_logits: ArrayLike, teacher_logits: ArrayLike, *, temperature: float = 1.0
) -> Array:
    """KL divergence of the student's softened output from the teacher's, times T².

    Not for: outputs that are no logits of classes: see `squared_distance`,
    `multi_label_targets` and `mask_targets`.

    Also known as: knowledge distillation (KD), Hinton's loss, forward KL, soft labels.

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
        thinks unlikely. It may be traced, as the value of a schedule is.

    Returns:
      (...) float32, computed in float32: 0 at equality, never below 0 by more
      than rounding. Tokens that are padding stay out of the mean by
      `jnp.sum(losses, where=counts)`, see `distill.counted`.

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
    student, teacher = softened("soft_targets", student_logits, teacher_logits, temperature)
    return squared(temperature) * divergence(teacher, student)


def hard_targets(logits: ArrayLike, labels: ArrayLike, *, ignore: int | None = None) -> Array:
    """Cross-entropy with integer labels: -log of the probability of the class, in nats.

    Args:
      logits: (..., classes), floating.
      labels: (...), integer in [0, classes). Any other label, also a negative one,
        gives NaN and a gradient of NaN; `train.fit` then names it.
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
    logits = checked_logits("hard_targets", "logits", logits)
    labels = checked_labels("hard_targets", labels, logits, ignore)
    return cross_entropy(logits, labels, ignore)
