"""Likenesses between the examples of a batch, as matrices that are subtracted."""

import jax.numpy as jnp

from jaxcompress.core.checks import check_positive
from jaxcompress.core.sharding import gathered_along
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import student_and_teacher
from jaxcompress.distill.outputs.arrays import as_float32
from jaxcompress.distill.vectors import balanced, flat, gram, unit


def similarity_preserving(student: Array, teacher: Array) -> Array:
    """Compares which examples activate alike, row by row of the similarity matrix.

    Not for: features with a large common mean, by which all examples seem alike;
    `features.cka_distance` subtracts it.

        G = Q Qᵀ, Q the features as rows; each row of G divided by its length
        share_i = 1/n · sum_j (G_ij of student - G_ij of teacher)²

    The dimensions may differ; nothing changes when all features of one side are rotated
    or multiplied by a number. An example of zeros is like none: its row is 0, with
    gradient 0.

    Also known as: similarity-preserving distillation (SP).

    Args:
      student: (batch, ...), floating; all but the batch is one vector.
      teacher: (batch, ...), floating.

    Returns:
      (batch,) float32, at least 0, and 0 at equality; their mean is the loss of the
      batch. Finite for all finite features.

    Raises:
      TypeError: features are not floating.
      ValueError: the batches differ, or examples have no entries.

    Example:
      >>> student, teacher = jnp.eye(2), jnp.ones((2, 3))
      >>> jc.distill.relations.similarity_preserving(student, teacher)
      Array([0.292..., 0.292...], dtype=float32)

    Source: Tung and Mori 2019, arXiv:1907.09682, equations 1 to 4. Differs: nothing;
    the paper's weight is 3000.
    """
    student, teacher = student_and_teacher("similarity_preserving", student, teacher)
    difference = unit(gram(balanced(flat(student)))) - unit(gram(balanced(flat(teacher))))
    return jnp.sum(difference**2, axis=-1) / max(student.shape[0], 1)


def correlation_congruence(student: Array, teacher: Array, *, gamma: float = 0.4) -> Array:
    """Compares Gaussian similarities of the directions of examples.

    Not for: how long features are, which directions leave out; `similarity_preserving`
    compares products.

        C_ij = exp(-gamma · |u_i - u_j|²), u = x / |x|
        share_i = 1/n · sum_j (C_ij of student - C_ij of teacher)²

    The dimensions may differ. Each example may be multiplied by a number of its own;
    one of zeros has the direction 0, and gets no gradient.

    Also known as: correlation congruence (CCKD), Gaussian RBF correlation.

    Args:
      student: (batch, ...), floating; all but the batch is one vector.
      teacher: (batch, ...), floating.
      gamma: above 0; higher says more of near neighbours.

    Returns:
      (batch,) float32, at least 0, and 0 at equality; their mean is the loss of the
      batch. Finite for all finite features.

    Raises:
      TypeError: features are not floating.
      ValueError: the batches differ, examples have no entries, or `gamma` is not above
        0.

    Example:
      >>> student, teacher = jnp.eye(2), jnp.ones((2, 3))
      >>> jc.distill.relations.correlation_congruence(student, teacher)
      Array([0.151..., 0.151...], dtype=float32)

    Source: Peng et al. 2019, arXiv:1904.01802, equations 5 to 8. Differs: the kernel
    itself in place of its Taylor series to order 2.
    """
    student, teacher = student_and_teacher("correlation_congruence", student, teacher)
    check_positive("correlation_congruence", "gamma", gamma)
    difference = _gaussian(student, gamma) - _gaussian(teacher, gamma)
    return jnp.sum(difference**2, axis=-1) / max(student.shape[0], 1)


def _gaussian(features: Array, gamma: float) -> Array:
    directions = unit(flat(features))
    square = jnp.sum(directions**2, axis=-1)
    distances = square[:, None] + gathered_along(square, 0)[None] - 2 * gram(directions)
    return jnp.exp(-as_float32(gamma) * distances)
