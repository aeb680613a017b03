"""Distances of real outputs from the teacher's: logits, boxes, any regression."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.checks import check_positive, check_size
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import as_float32, checked_outputs


def squared_distance(student: ArrayLike, teacher: ArrayLike) -> Array:
    """Mean squared distance of the student's outputs from the teacher's.

    Not for: vocabularies, where thousands of unlikely classes count as much as likely
    ones; `soft_targets` weighs by probability.

        loss = mean_j (student_j - teacher_j)²

    Of logits it also teaches what adding a constant to them all changes, which the
    probabilities do not show. At high temperature `soft_targets` is half of it, of
    centred logits.

    Also known as: logit matching, L2 on logits, mimic learning, mean squared error.

    Args:
      student: (..., outputs), floating; for one number per example, x[..., None].
      teacher: (..., outputs), floating, without gradient. An output at -inf, as of a
        class that is ruled out, is left out of the mean.

    Returns:
      (...) float32, at least 0, 0 at equality. It is inf from distances of about 1e19.
      Tokens that are padding stay out of the mean by `distill.counted`.

    Raises:
      TypeError: outputs are not floating.
      ValueError: the shapes differ or hold no output.

    Example:
      >>> student, teacher = jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])
      >>> jc.distill.outputs.squared_distance(student, teacher)
      Array(2., dtype=float32)

    Source: Ba and Caruana 2014, arXiv:1312.6184, equation 1; against `soft_targets` see
    Kim et al. 2021, arXiv:2105.08919.
    """
    student, teacher = checked_outputs(
        "squared_distance", ("outputs",), student=student, teacher=teacher
    )
    return _mean(_difference(student, teacher) ** 2, teacher)


def huber_distance(student: ArrayLike, teacher: ArrayLike, *, delta: float = 1.0) -> Array:
    """Mean distance from the teacher, squared when small, absolute when large.

    Not for: a teacher without outliers, for which `squared_distance` has no `delta` to
    set.

        loss = mean_j h(student_j - teacher_j)
        h(d) = d² / 2 where |d| <= delta, else delta · (|d| - delta / 2)

    For regression where a teacher's outliers should not rule, and for the offsets of
    box heads.

    Also known as: smooth L1 (times delta), Huber loss.

    Args:
      student: (..., outputs), floating.
      teacher: (..., outputs), floating, without gradient; an output at -inf is left
        out.
      delta: where the square ends, above 0; may be traced.

    Returns:
      (...) float32, at least 0, 0 at equality. Examples without a target stay out of
      the mean by `distill.counted`.

    Raises:
      TypeError: outputs are not floating.
      ValueError: the shapes differ or hold no output, or delta is not above 0.

    Example:
      >>> jc.distill.outputs.huber_distance(jnp.array([1.0, 4.0]), jnp.zeros(2))
      Array(2., dtype=float32)

    Source: Huber 1964, Ann. Math. Stat. 35; for boxes Girshick 2015, arXiv:1504.08083,
    equation 3.
    """
    student, teacher = checked_outputs(
        "huber_distance", ("outputs",), student=student, teacher=teacher
    )
    check_positive("huber_distance", "delta", delta)
    largest = as_float32(delta)
    apart = _difference(student, teacher)
    near = jnp.clip(apart, -largest, largest)
    return _mean(near * (apart - near / 2), teacher)


def bounded_distance(
    student: ArrayLike, teacher: ArrayLike, targets: ArrayLike, *, margin: float = 0.0
) -> Array:
    """Squared error of the student where it is not better than the teacher's.

    Not for: examples without targets: `huber_distance` and `squared_distance` need the
    teacher alone.

        loss = |student - targets|²  where that plus the margin is above
               |teacher - targets|², else 0

    The teacher is no target but a bound: a regression's outputs have no limit, and a
    teacher may be wrong by any amount. Add it, weighted, to the loss on the targets.

    Also known as: teacher bounded regression loss.

    Args:
      student: (..., outputs), floating.
      teacher: (..., outputs), floating, without gradient.
      targets: (..., outputs), floating: what is right.
      margin: by how much the student's squared error has to be the lower one, at least
        0; may be traced.

    Returns:
      (...) float32, at least 0: sums over outputs; NaN where the teacher's error is not
      finite. Examples without a target stay out of the mean by `distill.counted`.

    Raises:
      TypeError: outputs are not floating.
      ValueError: the shapes differ or hold no output, or the margin is below 0.

    Example:
      >>> student, teacher = jnp.array([[1.0], [3.0]]), jnp.array([[2.0], [2.0]])
      >>> jc.distill.outputs.bounded_distance(student, teacher, jnp.zeros((2, 1)))
      Array([0., 9.], dtype=float32)

    Source: Chen et al. 2017, Learning efficient object detection models with knowledge
    distillation, NeurIPS, equation 4.
    """
    student, teacher, targets = checked_outputs(
        "bounded_distance", ("outputs",), student=student, teacher=teacher, targets=targets
    )
    check_size("bounded_distance", "margin", margin)
    own = jnp.sum((student - targets) ** 2, axis=-1)
    bound = jnp.sum((teacher - targets) ** 2, axis=-1)
    better = own + as_float32(margin) <= bound
    # NaN is a factor and not a choice, whose gradient would be 0.
    return jnp.where(better, 0.0, own) * jnp.where(jnp.isfinite(bound), 1.0, jnp.nan)


def _difference(student: Array, teacher: Array) -> Array:
    """Student minus teacher, 0 where the teacher is at -inf."""
    possible = teacher != -jnp.inf
    return jnp.where(possible, student, 0.0) - jnp.where(possible, teacher, 0.0)


def _mean(distances: Array, teacher: Array) -> Array:
    """The mean over outputs that the teacher does not rule out."""
    count = jnp.sum(teacher != -jnp.inf, axis=-1)
    return jnp.sum(distances, axis=-1) / jnp.maximum(count, 1).astype(jnp.float32)
