"""Distances and angles between the examples of a batch."""

import jax.numpy as jnp
import optax

from jaxcompress.core.sharding import gathered_along
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import student_and_teacher
from jaxcompress.distill.vectors import balanced, flat, norm, unit


def relative_distances(student: Array, teacher: Array) -> Array:
    """Compares distances between examples, each over the mean distance in its batch.

    Not for: the teacher's features themselves, since shifts and rotations are left
    free; `features.projected` compares them.

        d_ij = |x_i - x_j| / mean over pairs
        share_i = mean over j ≠ i of huber(d_ij of student - d_ij of teacher)

    Nothing changes when all features of one side are shifted, rotated or multiplied by
    a number, and the dimensions may differ. Equal examples are at distance 0, with
    gradient 0; where all are equal, every distance counts as 0.

    Also known as: relational knowledge distillation by distance (RKD-D).

    Args:
      student: (batch, ...), floating; all but the batch is one vector.
      teacher: (batch, ...), floating.

    Returns:
      (batch,) float32, at least 0, and 0 at equality; their mean is the loss of the
      batch. One example alone has share 0. Finite for all finite features.

    Raises:
      TypeError: features are not floating.
      ValueError: the batches differ, or examples have no entries.

    Example:
      >>> student = jnp.array([[0.0], [1.0], [3.0]])
      >>> teacher = jnp.array([[0.0], [1.0], [2.0]])
      >>> loss = jc.distill.relations.relative_distances
      >>> loss(student, teacher).round(3)
      Array([0.016, 0.031, 0.016], dtype=float32)
      >>> bool(jnp.all(loss(student, 5 - 2 * student) < 1e-12))
      True

    Source: Park et al. 2019, arXiv:1904.05068, equations 5 to 7. Differs: the mean over
    pairs, equal ones included, in place of the sum; the paper's weight is 25.
    """
    student, teacher = student_and_teacher("relative_distances", student, teacher)
    others = _different(student.shape[0])
    error = _huber(_distances(student, others), _distances(teacher, others))
    return jnp.sum(jnp.where(others, error, 0.0), axis=-1) / max(student.shape[0] - 1, 1)


def relative_angles(student: Array, teacher: Array) -> Array:
    """Compares the angles that examples span at one another.

    Not for: large batches, since it takes memory for batch³ numbers;
    `relative_distances` takes batch².

        e_ji = (x_i - x_j) / |x_i - x_j|
        share_j = mean over i ≠ k, both ≠ j, of huber(e_ji · e_jk of student
                                                      - e_ji · e_jk of teacher)

    Nothing changes when all features of one side are shifted, rotated or multiplied by
    a number. Equal examples span no angle: it counts as cosine 0, with gradient 0.
    Takes memory for batch² vectors and batch³ numbers.

    Also known as: relational knowledge distillation by angle (RKD-A).

    Args:
      student: (batch, ...), floating; all but the batch is one vector.
      teacher: (batch, ...), floating.

    Returns:
      (batch,) float32, at least 0, and 0 at equality: an example's share is that of the
      angles at it, and the mean of shares is the loss of the batch. Batches below 3
      have shares 0. Finite for all finite features.

    Raises:
      TypeError: features are not floating.
      ValueError: the batches differ, or examples have no entries.

    Example:
      >>> student = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
      >>> teacher = jnp.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
      >>> jc.distill.relations.relative_angles(student, teacher)[0]
      Array(0.5, dtype=float32)

    Source: Park et al. 2019, arXiv:1904.05068, equations 8 to 10. Differs: the mean
    over triplets in place of the sum; the paper's weight is 50.
    """
    student, teacher = student_and_teacher("relative_angles", student, teacher)
    n = student.shape[0]
    others = _different(n)
    triplets = others[:, :, None] & others[:, None, :] & others[None]
    error = _huber(_cosines(student), _cosines(teacher))
    return jnp.sum(jnp.where(triplets, error, 0.0), axis=(1, 2)) / max((n - 1) * (n - 2), 1)


def _different(n: int) -> Array:
    return ~jnp.eye(n, dtype=bool)


def _differences(features: Array) -> Array:
    """(batch, batch, entries): at [j, i] the way from j to i."""
    # Differences and not dot products, which would lose near pairs to cancellation.
    rows = balanced(flat(features))
    return gathered_along(rows, 0)[None] - rows[:, None]


def _distances(features: Array, others: Array) -> Array:
    """(batch, batch): over their mean."""
    distances = norm(_differences(features))[..., 0]
    mean = jnp.sum(jnp.where(others, distances, 0.0)) / max(others.size - len(others), 1)
    return distances / jnp.where(mean > 0, mean, 1.0)


def _cosines(features: Array) -> Array:
    """(batch, batch, batch): at [j, i, k] the cosine at j between i and k."""
    directions = unit(_differences(features))
    return jnp.einsum("jid,jkd->jik", directions, directions, precision="highest")


def _huber(student: Array, teacher: Array) -> Array:
    return optax.losses.huber_loss(student, teacher)
