"""Losses that compare features entry by entry or direction by direction."""

import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.distill.checks import broadcast_where, check_matching, student_and_teacher
from jaxcompress.distill.vectors import mean_where, unit


def squared_error(student: Array, teacher: Array, *, where: Array | bool = True) -> Array:
    """Mean squared difference of features of one shape.

    Not for: features of other shapes, for which `projected` learns a map, or whose
    directions alone count, as in `cosine_distance`.

        loss = mean over entries of (student - teacher)²

    For hidden states, embeddings, attention scores before the softmax, and hints where
    the shapes are equal; `projected` learns what makes them equal. No gradient flows
    into the teacher's features.

    Also known as: hint loss, FitNets, hidden-state loss, MSE on attention (TinyBERT).

    Args:
      student: (batch, ..., channels), floating.
      teacher: of the student's shape; the dtype may differ.
      where: bool, of as many axes and broadcasting to the features: which entries
        count. Padding may hold anything, infinities too.

    Returns:
      (batch,) float32, computed in float32: at least 0, and 0 at equality. Finite for
      features of magnitude up to 1e18, whatever their dtype.

    Raises:
      TypeError: features are not floating, or `where` is not bool.
      ValueError: the shapes differ; the message says which projection mends it.

    Example:
      >>> loss = jc.distill.features.squared_error
      >>> loss(jnp.zeros((2, 2)), jnp.array([[0.0, 2.0], [3.0, 3.0]]))
      Array([2., 9.], dtype=float32)

    Source: Romero et al. 2015, arXiv:1412.6550, equation 3. Differs: the mean in place
    of half the sum, so that one weight serves layers of all sizes.
    """
    student, teacher = student_and_teacher("squared_error", student, teacher)
    check_matching("squared_error", student, teacher)
    where = broadcast_where("squared_error", where, student.shape)
    # Chosen before the difference: infinity minus infinity has no gradient.
    difference = jnp.where(where, student, 0.0) - jnp.where(where, teacher, 0.0)
    return mean_where(difference**2, where)


def cosine_distance(student: Array, teacher: Array, *, where: Array | bool = True) -> Array:
    """One minus the cosine between the channels of student and teacher, on average.

    Not for: features whose lengths count, which `squared_error` compares.

        loss = mean over positions of ½ |s / |s| - t / |t||² = 1 - cos(s, t)

    Says nothing of lengths. A vector of zeros has no direction: it counts as the vector
    0 and gets no gradient.

    Also known as: cosine embedding loss (DistilBERT), normalized hint loss.

    Args:
      student: (batch, ..., channels), floating.
      teacher: of the student's shape; the dtype may differ.
      where: bool, of as many axes as the features with 1 in place of channels, and
        broadcasting to them: which positions count.

    Returns:
      (batch,) float32 in [0, 2], 0 at equality; finite for all finite features.

    Raises:
      TypeError: features are not floating, or `where` is not bool.
      ValueError: the shapes differ; the message says which projection mends it.

    Example:
      >>> loss = jc.distill.features.cosine_distance
      >>> loss(jnp.array([[1.0, 0.0], [2.0, 0.0]]), jnp.array([[0.0, 1.0], [3.0, 0.0]]))
      Array([1., 0.], dtype=float32)

    Source: Sanh et al. 2019, arXiv:1910.01108, section 3. Differs: half the squared
    difference of directions, which is the same and keeps small distances.
    """
    student, teacher = student_and_teacher("cosine_distance", student, teacher)
    check_matching("cosine_distance", student, teacher)
    where = broadcast_where("cosine_distance", where, (*student.shape[:-1], 1))
    difference = unit(jnp.where(where, student, 0.0)) - unit(jnp.where(where, teacher, 0.0))
    return mean_where(jnp.sum(difference**2, axis=-1, keepdims=True) / 2, where)
