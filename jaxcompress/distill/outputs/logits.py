"""Logits of a student and a teacher: how they are checked, softened and compared.

What the losses share; none of it is public.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive
from jaxcompress.core.labels import check_ignore, check_shown, class_labels
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import check_same_shape
from jaxcompress.distill.outputs.arrays import as_float32, checked

_LARGEST = 80.0
"""exp of it is finite, and large beside any share."""


def checked_logits(caller: str, argument: str, logits: ArrayLike) -> Array:
    """As `checked`, and a ValueError unless there is an axis of classes."""
    logits = checked(caller, argument, logits)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"{caller}({argument} of shape {logits.shape}) needs the shape (..., classes)."
        )
    return logits


def checked_pair(
    caller: str, student_logits: ArrayLike, teacher_logits: ArrayLike
) -> tuple[Array, Array]:
    """Both logits in float32, of equal shapes, the teacher's without gradient."""
    student = checked_logits(caller, "student_logits", student_logits)
    teacher = checked_logits(caller, "teacher_logits", teacher_logits)
    classes = student.shape[-1], teacher.shape[-1]
    if classes[0] != classes[1]:
        raise ValueError(
            f"{caller}(student_logits of shape {student.shape}, teacher_logits of shape "
            f"{teacher.shape}): the student has {classes[0]} classes and the teacher "
            f"{classes[1]}. Keep those that both have, in one order."
        )
    check_same_shape(caller, student_logits=student, teacher_logits=teacher)
    teacher = jax.lax.stop_gradient(teacher)
    return student.astype(jnp.float32), teacher.astype(jnp.float32)


def check_two_classes(caller: str, logits: Array) -> None:
    """Raises a ValueError for logits of one class, which compare with nothing."""
    if logits.shape[-1] < 2:
        raise ValueError(f"{caller}(student_logits of shape {logits.shape}) needs two classes.")


def checked_labels(caller: str, labels: ArrayLike, logits: Array, ignore: int | None) -> Array:
    """Labels in int32; a ValueError unless there is one for each row of the logits."""
    found = class_labels(caller, labels)
    check_ignore(caller, ignore)
    if found.shape != logits.shape[:-1]:
        raise ValueError(
            f"{caller}(labels of shape {found.shape}) needs the shape {logits.shape[:-1]},"
            " that of the logits without classes."
        )
    check_shown(caller, "labels", labels, logits.shape[-1], ignore)
    return found


def softened(
    caller: str, student_logits: ArrayLike, teacher_logits: ArrayLike, temperature: float
) -> tuple[Array, Array]:
    """Log probabilities of both at a temperature, as `checked_pair`."""
    student, teacher = checked_pair(caller, student_logits, teacher_logits)
    check_positive(caller, "temperature", temperature)
    return log_probabilities(student, temperature), log_probabilities(teacher, temperature)


def log_probabilities(logits: Array, temperature: float) -> Array:
    """Log of softmax(logits / T) over the last axis, of float32 logits."""
    # The largest comes off first: compiled in one with the quotient, the maximum that
    # softmax takes off may be rounded in another way than what it is taken off from.
    highest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    highest = jnp.where(jnp.isfinite(highest), highest, 0.0)
    return jax.nn.log_softmax((logits - highest) / as_float32(temperature), axis=-1)


def squared(temperature: float) -> Array:
    """T², by which losses are multiplied so that gradients keep their size."""
    return as_float32(temperature) ** 2


def expectation(log_weights: Array, values: Array) -> Array:
    """Sum of exp(log_weights) · values over the last axis.

    What has the weight 0, such as a class at -inf, adds nothing, whatever its value.
    """
    weights = jnp.exp(log_weights)
    # Asked for 0, so that NaN counts, and its gradient is NaN.
    return jnp.sum(weights * jnp.where(weights == 0, 0.0, values), axis=-1)


def divergence(first: Array, second: Array) -> Array:
    """KL divergence of the second from the first, (..., classes) log probabilities.

    sum_j exp(first_j) · (first_j - second_j)
    """
    unlikely = jnp.exp(first) == 0
    # A class at -inf in both would give -inf minus -inf, and NaN in the gradient.
    ratio = jnp.where(unlikely, 0.0, first) - jnp.where(unlikely, 0.0, second)
    return expectation(first, ratio)


def log_mean(chances: Array, shares: Array) -> Array:
    """Log of the weighted mean of probabilities over the first axis.

    Args:
      chances: (models, ..., classes) log probabilities.
      shares: (models,) float32 weights of them.

    Returns:
      (..., classes) float32; -inf, without gradient, of a class that all with a weight
      above 0 rule out.
    """
    shares = jnp.broadcast_to(shares.reshape(-1, *(1,) * (chances.ndim - 1)), chances.shape)
    possible = jnp.any((chances != -jnp.inf) & (shares != 0), axis=0)
    safe, weights = jnp.where(possible, chances, 0.0), jnp.where(possible, shares, 1.0)
    # Not `logsumexp(b=...)`, which gives a weight of 0 no gradient.
    counted = jnp.where(weights != 0, safe, -jnp.inf)
    highest = jax.lax.stop_gradient(jnp.max(counted, axis=0, keepdims=True))
    ratios = jnp.exp(jnp.minimum(safe - highest, _LARGEST))
    total = jnp.log(jnp.sum(weights * ratios, axis=0)) + highest[0]
    return jnp.where(possible, total, -jnp.inf)


def log_mass(logits: Array) -> Array:
    """Log of the sum of exp over the last axis; -inf, without gradient, of nothing."""
    exists = jnp.any(logits != -jnp.inf, axis=-1)
    safe = jnp.where(exists[..., None], logits, 0.0)
    return jnp.where(exists, jax.nn.logsumexp(safe, axis=-1), -jnp.inf)
