"""Likenesses between the examples of a batch, as probabilities of being neighbours."""

import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.distill.checks import student_and_teacher
from jaxcompress.distill.vectors import flat, gram, unit

_LEAST_LIKENESS = 1e-7


def probabilistic_transfer(student: Array, teacher: Array) -> Array:
    """KL divergence between which neighbours student and teacher would choose.

    Not for: how long features are, which cosines leave out; `relative_distances` sees
    it.

        k_ij = (1 + cos(x_i, x_j)) / 2 + 1e-7
        p_ij = k_ij / sum over j ≠ i of k_ij
        share_i = sum over j ≠ i of p_ij · log(p_ij / q_ij)

    with p of the teacher's features and q, the same, of the student's. The dimensions
    may differ, and each example may be multiplied by a number of its own. The small
    number keeps logarithms and gradients finite at opposite examples. An example of
    zeros has cosine 0 with all, and gets no gradient.

    Also known as: probabilistic knowledge transfer (PKT).

    Args:
      student: (batch, ...), floating; all but the batch is one vector.
      teacher: (batch, ...), floating.

    Returns:
      (batch,) float32, 0 at equality, never below 0 by more than rounding; their mean
      is the loss of the batch. One example alone has share 0. Finite for all finite
      features.

    Raises:
      TypeError: features are not floating.
      ValueError: the batches differ, or examples have no entries.

    Example:
      >>> student = jax.random.normal(jax.random.key(0), (4, 3))
      >>> jc.distill.relations.probabilistic_transfer(student, 3 * student)
      Array([0., 0., 0., 0.], dtype=float32)

    Source: Passalis and Tefas 2018, arXiv:1803.10837, equations 3 to 8 with the cosine
    kernel. Differs: an example is no neighbour of itself, as in the paper and unlike in
    the authors' code, and the shares are sums over neighbours.
    """
    student, teacher = student_and_teacher("probabilistic_transfer", student, teacher)
    p, q = _log_probabilities(teacher), _log_probabilities(student)
    others = ~jnp.eye(student.shape[0], dtype=bool)
    return jnp.sum(jnp.where(others, jnp.exp(p) * (p - q), 0.0), axis=-1)


def _log_probabilities(features: Array) -> Array:
    """(batch, batch): at [i, j] of the neighbour j of i; 0 on the diagonal."""
    others = ~jnp.eye(features.shape[0], dtype=bool)
    # Rounding may give a cosine below -1.
    cosines = jnp.maximum(gram(unit(flat(features))), -1.0)
    likeness = jnp.where(others, (1 + cosines) / 2 + _LEAST_LIKENESS, 0.0)
    total = jnp.sum(likeness, axis=-1, keepdims=True)
    # 1 stands on the diagonal, and in the row of an example alone.
    total = jnp.where(total > 0, total, 1.0)
    return jnp.log(jnp.where(others, likeness / total, 1.0))
