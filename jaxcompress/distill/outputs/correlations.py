"""Correlations of the student's probabilities with the teacher's."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.logits import softened, squared


def inter_class_relation(
    student_logits: ArrayLike, teacher_logits: ArrayLike, *, temperature: float = 1.0
) -> Array:
    """One minus the correlation of the probabilities with the teacher's, times T².

    Not for: a student that shall be as sure as the teacher, since correlations leave
    that free; `soft_targets` has the probabilities.

        loss = T² · (1 - correlation over j of (q_j, p_j))
        p = softmax(teacher / T),  q = softmax(student / T)

    The student needs the teacher's preferences and not its probabilities, for teachers
    much stronger than it. DIST is the cross-entropy with labels plus this plus
    `intra_class_relation`, each of weight 1 to 2.

    Also known as: DIST (its inter-class part), Pearson correlation loss.

    Args:
      student_logits: (..., classes), floating.
      teacher_logits: (..., classes), floating, without gradient. A class at -inf in
        both has probability 0 and counts as such.
      temperature: T > 0, may be traced.

    Returns:
      (...) float32 in [0, 2 T²], 0 at equality; T² without gradient where all
      probabilities of either are equal. Tokens that are padding stay out of the mean by
      `distill.counted`.

    Raises:
      TypeError: logits are not floating.
      ValueError: the shapes or classes differ, or the temperature is not above 0.

    Example:
      >>> student, teacher = jnp.log(jnp.array([[0.2, 0.3, 0.5], [0.1, 0.3, 0.6]]))
      >>> jc.distill.outputs.inter_class_relation(student, teacher)
      Array(0.00282, dtype=float32)

    Source: Huang et al. 2022, arXiv:2205.10536, section 4. Differs: nothing is added
    to the norms.
    """
    student, teacher = softened("inter_class_relation", student_logits, teacher_logits, temperature)
    product = _unit(jnp.exp(student), -1) * _unit(jnp.exp(teacher), -1)
    return squared(temperature) * (1 - jnp.sum(product, axis=-1))


def intra_class_relation(
    student_logits: ArrayLike,
    teacher_logits: ArrayLike,
    *,
    temperature: float = 1.0,
    where: Array | None = None,
) -> Array:
    """One minus the correlation over the batch of each class's probability, times T².

    Not for: small batches, or examples one by one, which `inter_class_relation` takes.

        loss = T² · (1 - mean_j correlation over i of (q_ij, p_ij))
        p = softmax(teacher / T),  q = softmax(student / T)

    Which examples are more of a class than others. It belongs to the batch; each
    example gets its share, and the mean of the shares is the loss:

        share_i = T² · (1 - n · mean_j u_ij · v_ij)

    of n examples, with the columns u of q and v of p centred and of length 1. All
    leading axes are the batch, so that the loss is not for `jax.vmap` over examples,
    and on several devices has to see the whole batch.

    Also known as: DIST (its intra-class part).

    Args:
      student_logits: (..., classes), floating, of at least two examples.
      teacher_logits: (..., classes), floating, without gradient.
      temperature: T > 0, may be traced.
      where: (...) bool, the examples that count, as `distill.counted` gives them; all
        where it is None. The others change nothing, and their share is 0.

    Returns:
      (...) float32. A share may be below 0; their mean is in [0, 2 T²] and 0 at
      equality, but for classes of which all examples have one probability: they add
      T² / classes.

    Raises:
      TypeError: logits are not floating, or where is no array of bools.
      ValueError: the shapes or classes differ, there is one example, or the temperature
        is not above 0.

    Example:
      >>> logits = jnp.array([[1.0, 2.0], [3.0, 1.0]])
      >>> jc.distill.outputs.intra_class_relation(2 * logits, logits).mean() < 1e-6
      Array(True, dtype=bool)

    Source: Huang et al. 2022, arXiv:2205.10536, section 4. Differs: as of
    `inter_class_relation`.
    """
    student, teacher = softened("intra_class_relation", student_logits, teacher_logits, temperature)
    counts = _counts(student, where)
    shape, classes = student.shape[:-1], student.shape[-1]
    rows = counts.reshape(-1, 1)  # (n, 1)
    columns = [jnp.exp(each).reshape(-1, classes) for each in (student, teacher)]  # (n, classes)
    product = _unit(columns[0], 0, rows) * _unit(columns[1], 0, rows)
    count = jnp.sum(rows).astype(jnp.float32)
    share = squared(temperature) * (1 - count * jnp.mean(product, axis=-1))
    return jnp.where(counts, share.reshape(shape), 0.0)


def _counts(logits: Array, where: Array | None) -> Array:
    shape = logits.shape[:-1]
    if jnp.ones(shape, bool).size < 2:
        raise ValueError(
            f"intra_class_relation(student_logits of shape {logits.shape}) needs at least two "
            "examples; it is not for vmap over examples."
        )
    counts = jnp.ones(shape, bool) if where is None else where
    if getattr(counts, "dtype", None) != jnp.bool_ or counts.shape != shape:
        raise TypeError(
            f"intra_class_relation(where={type(where).__name__}) must be an array of bools of the "
            f"shape {shape}, that of the logits without classes."
        )
    return jnp.asarray(counts)


def _unit(x: Array, axis: int, where: Array | bool = True) -> Array:
    """Centred along an axis and scaled to length 1; zeros of what is constant."""
    highest = jnp.max(x, axis, keepdims=True, where=where, initial=-1.0)
    lowest = jnp.min(x, axis, keepdims=True, where=where, initial=2.0)
    # Compared, since the mean of equal numbers may round to another one. Below the
    # smallest normal number a length has no reciprocal.
    varies = ~(highest - lowest <= jnp.finfo(jnp.float32).tiny)  # NaN does, too
    count = jnp.sum(jnp.broadcast_to(where, x.shape), axis, jnp.float32, keepdims=True)
    mean = jnp.sum(x, axis, keepdims=True, where=where) / jnp.maximum(count, 1.0)
    centred = jnp.where(where, x - mean, 0.0)
    # In units of the range, so that squares of rare classes are not lost.
    scale = jax.lax.stop_gradient(jnp.where(varies, highest - lowest, 1.0))
    scaled = jnp.where(varies, centred, 0.0) / scale
    squares = jnp.sum(scaled**2, axis, keepdims=True)
    return scaled / jnp.sqrt(jnp.where(varies, squares, 1.0))
