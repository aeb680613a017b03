"""Centered kernel alignment: whether two layers see the same likenesses of examples."""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_iterable
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import student_and_teacher
from jaxcompress.distill.vectors import balanced, flat, gram, unit

_LEAST = 4


def cka_distance(student: Array, teacher: Array) -> Array:
    """One minus linear centered kernel alignment of a batch, by its examples' shares.

    Not for: batches of few examples, whose alignment is biased upwards; `projected`
    compares examples one by one.

        K = X Xᵀ of the student's features with their mean over the batch subtracted
        L = the same of the teacher's
        share_i = n / 2 · sum_j (K_ij / |K| - L_ij / |L|)²
        mean of shares = 1 - sum K · L / (|K| |L|) = 1 - CKA

    Channels and sizes may differ, and nothing is learned: features count up to
    rotation, scale and a constant. The share of an example depends on the whole batch,
    and the alignment of small batches is biased upwards.

    Also known as: CKA loss, centered kernel alignment, kernel alignment.

    Args:
      student: (batch, ...), floating; all but the batch is one vector.
      teacher: (batch, ...), floating.

    Returns:
      (batch,) float32, at least 0, and 0 at equality; their mean is in [0, 1]. Features
      that are equal in all examples have no alignment: the mean is ½ where one side's
      are, 0 where both are, and no gradient flows to them. Finite for all finite
      features.

    Raises:
      TypeError: features are not floating.
      ValueError: the batches differ, or examples have no entries.

    Example:
      >>> student = jax.random.normal(jax.random.key(0), (8, 3))
      >>> rotated = 2 * student[:, ::-1] + 1
      >>> bool(jc.distill.features.cka_distance(student, rotated).mean() < 1e-6)
      True

    Source: Kornblith et al. 2019, arXiv:1905.00414, equation 3 with linear kernels.
    Differs: written as squared differences, which keep small distances and part into
    shares that are never negative.
    """
    student, teacher = student_and_teacher("cka_distance", student, teacher)
    difference = _kernel(student) - _kernel(teacher)
    return student.shape[0] / 2 * jnp.sum(difference**2, axis=-1)


def cka(batches: Iterable[tuple[Array, Array]]) -> float:
    """Measures linear centered kernel alignment of two layers over batches.

    Not for: a loss to train by, which is `cka_distance`: this is a float of arrays that
    are known.

        CKA = sum_b h(K, L) / sqrt(sum_b h(K, K) · sum_b h(L, L))

    where h estimates the Hilbert-Schmidt independence criterion of a batch without
    bias, so that the result does not depend on how the data are cut. For a report:
    which layers of a teacher and a student correspond, before and after distillation.

    Also known as: minibatch CKA, debiased CKA, representational similarity.

    Args:
      batches: pairs of features (batch, ...) of the same examples, each of at least 4.

    Returns:
      A float, 1 for features that are equal up to rotation, scale and a constant, about
      0 for unrelated ones, slightly negative by chance; NaN where features are equal in
      all examples. Computed in float64.

    Raises:
      TypeError: a batch is no pair of floating arrays, or an array is traced.
      ValueError: there is no batch, or one has fewer than 4 examples or two numbers of
        them.

    Example:
      >>> student = jax.random.normal(jax.random.key(0), (2, 8, 3))
      >>> jc.distill.features.cka([(batch, 2 * batch + 1) for batch in student])
      1.000

    Source: Nguyen, Raghu and Kornblith 2021, arXiv:2010.15327, equations 2 and 3.
    """
    check_iterable("cka", "batches", batches, "Pass pairs (student, teacher) of features.")
    terms = [_criteria(batch) for batch in batches]
    if not terms:
        raise ValueError("cka(batches=...) holds no batch. A generator is used up by one pass.")
    crossed, own, other = np.sum(terms, axis=0)
    known = own > 0 and other > 0
    return float(crossed / np.sqrt(own * other)) if known else float("nan")


def _kernel(features: Array) -> Array:
    """(batch, batch): dot products about the mean, as a matrix of Frobenius norm 1."""
    rows = balanced(flat(features))
    return unit(gram(balanced(rows - jnp.mean(rows, axis=0, keepdims=True))), (0, 1))


def _criteria(batch: object) -> tuple[float, float, float]:
    """Of student with teacher, student with itself, and teacher with itself."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"cka(batches=...) holds {shown(batch)}, no pair (student, teacher).")
    check_concrete("cka", "Inside of jit use cka_distance.", batches=batch)
    student, teacher = student_and_teacher("cka(batches)", *batch)
    if student.shape[0] < _LEAST:
        raise ValueError(
            f"cka(batches=...) holds a batch of {student.shape[0]} examples; the estimate needs at "
            f"least {_LEAST}."
        )
    own, other = _without_diagonal(student), _without_diagonal(teacher)
    return _criterion(own, other), _criterion(own, own), _criterion(other, other)


def _without_diagonal(features: Array) -> np.ndarray:
    """Dot products of different examples about the mean, which cancels less."""
    rows = np.asarray(flat(features), np.float64)
    rows = rows - rows.mean(axis=0)
    kernel = rows @ rows.T
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _criterion(own: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion, HSIC_1."""
    n = len(own)
    products = np.sum(own * other)
    sums = own.sum() * other.sum() / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * own.sum(axis=0) @ other.sum(axis=0)
    return float((products + sums - rows) / (n * (n - 3)))
