"""Targets that keep a teacher's most likely classes and the mass of the others.

A vocabulary's logits are too many to store for every token; these are k numbers and k
indices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.labels import check_shown, class_labels, known_factor
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import checked
from jaxcompress.distill.outputs.logits import (
    checked_logits,
    divergence,
    log_mass,
    log_probabilities,
    squared,
)


class TopK(NamedTuple):
    """A teacher's k most likely classes, at the temperature of their making.

    A tree of arrays whose leading axes are the examples', so that it can be cut,
    batched and stored like any data. For storage cast the floating ones to float16 and
    the indices to uint16 where they fit.

    Attributes:
      log_probabilities: (..., k) floating, falling.
      indices: (..., k) integer, the classes.
      log_tail: (...) floating, log of the probability of all others; -inf of none.
    """

    log_probabilities: Array | np.ndarray
    indices: Array | np.ndarray
    log_tail: Array | np.ndarray


def top_k(teacher_logits: ArrayLike, k: int, *, temperature: float = 1.0) -> TopK:
    """Keeps a teacher's k most likely classes, and the others' mass as one number.

    Args:
      teacher_logits: (..., classes), floating.
      k: from 1 to the number of classes.
      temperature: T > 0 that the logits are divided by first; it cannot be changed
        later. May be traced.

    Returns:
      Targets for `top_k_targets`, in float32 and int32.

    Raises:
      TypeError: logits are not floating.
      ValueError: k or the temperature is out of range.

    Example:
      >>> targets = jc.distill.outputs.top_k(jnp.log(jnp.array([0.1, 0.6, 0.3])), 2)
      >>> targets.indices, jnp.exp(targets.log_tail)
      (Array([1, 2], dtype=int32), Array(0.1, dtype=float32))

    Source: as of `top_k_targets`.
    """
    logits = checked_logits("top_k", "teacher_logits", teacher_logits)
    k = check_count("top_k", "k", k)
    check_positive("top_k", "temperature", temperature)
    if k > logits.shape[-1]:
        raise ValueError(f"top_k(k={k}) must be at most {logits.shape[-1]}, the classes.")
    logits = jax.lax.stop_gradient(logits).astype(jnp.float32)
    chances = log_probabilities(logits, temperature)
    highest, indices = jax.lax.top_k(chances, k)
    return TopK(highest, indices, log_mass(_without(chances, indices)))


def top_k_targets(student_logits: ArrayLike, targets: TopK, *, temperature: float = 1.0) -> Array:
    """Divergence from a teacher's top k classes and all others together, times T².

    Not for: a teacher whose mass lies on many classes, of which the rest says nothing
    apart; `sampled_targets` is unbiased.

        loss = T² · sum_b p_b · log(p_b / q_b),  b: each of the k classes, and the rest
        q = softmax(student / T)

    Without the rest, or with the top k renormalized, the student would be taught that
    all other classes are impossible. It is at most `soft_targets`, and equal to it
    where k is the number of classes.

    Also known as: truncated or sparse logits, top-k distillation with a ghost token or
    tail bucket.

    Args:
      student_logits: (..., classes), floating.
      targets: from `top_k`, of any floating and integer dtypes. They are renormalized,
        since storage may round them.
      temperature: T > 0 that they were made with. May be traced.

    Returns:
      (...) float32: 0 where the student has the same k probabilities, never below 0 by
      more than rounding; NaN where an index is no class. Tokens that are padding stay
      out of the mean by `distill.counted`.

    Raises:
      TypeError: logits are not floating, or the targets are of another kind.
      ValueError: the shapes do not fit, or the temperature is not above 0.

    Example:
      >>> outputs = jc.distill.outputs
      >>> logits = jnp.array([1.0, 2.0, 3.0, 4.0])
      >>> targets = outputs.top_k(logits, 2, temperature=2.0)
      >>> outputs.top_k_targets(logits, targets, temperature=2.0) < 1e-6
      Array(True, dtype=bool)

    Source: Anshumann et al. 2025, arXiv:2503.16870, section 3, which compares it with
    draws, our `sampled_targets`.
    """
    logits = checked_logits("top_k_targets", "student_logits", student_logits)
    check_positive("top_k_targets", "temperature", temperature)
    student = log_probabilities(logits.astype(jnp.float32), temperature)
    teacher, indices = _buckets(targets, logits)
    among = jnp.take_along_axis(student, indices, axis=-1)
    rest = log_mass(_without(student, indices))
    student = jnp.concatenate([among, rest[..., None]], axis=-1)
    known = jnp.max(known_factor(indices, logits.shape[-1]).astype(jnp.float32), axis=-1)
    return squared(temperature) * divergence(teacher, student) * known


def _buckets(targets: TopK, logits: Array) -> tuple[Array, Array]:
    """Log probabilities of the k classes and the rest, and the indices."""
    check_kind("top_k_targets", "targets", targets, TopK, "Make them with outputs.top_k.")
    highest = checked("top_k_targets", "targets.log_probabilities", targets.log_probabilities)
    tail = checked("top_k_targets", "targets.log_tail", targets.log_tail)
    indices = jnp.asarray(targets.indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(
            f"top_k_targets(targets.indices of dtype {indices.dtype}) needs integer indices."
        )
    shapes = highest.shape[:-1], indices.shape[:-1], tail.shape
    if set(shapes) != {logits.shape[:-1]} or highest.shape != indices.shape:
        raise ValueError(
            f"top_k_targets(targets of shapes {highest.shape}, {indices.shape}, {tail.shape}) need "
            f"the examples of the student_logits, of shape {logits.shape}."
        )
    buckets = jnp.concatenate([highest, tail[..., None].astype(highest.dtype)], axis=-1)
    teacher = jax.lax.stop_gradient(buckets).astype(jnp.float32)
    check_shown("top_k_targets", "targets.indices", targets.indices, logits.shape[-1])
    return jax.nn.log_softmax(teacher, axis=-1), class_labels("top_k_targets", targets.indices)


def _without(chances: Array, indices: Array) -> Array:
    """The log probabilities with the classes of these indices ruled out."""

    def ruled_out(chances: Array, indices: Array) -> Array:
        return chances.at[indices].set(-jnp.inf)

    # Row by row, and not `put_along_axis`: an explicit mesh may split the examples.
    return jnp.vectorize(ruled_out, signature="(classes),(k)->(classes)")(chances, indices)
