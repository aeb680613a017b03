"""Where a network's activity lies: losses on maps that have no channels."""

import jax.numpy as jnp

from jaxcompress.core.types import Array
from jaxcompress.distill.checks import student_and_teacher
from jaxcompress.distill.features.hints import check_axes
from jaxcompress.distill.features.sizes import resized
from jaxcompress.distill.vectors import balanced, flat, unit


def attention_transfer(student: Array, teacher: Array) -> Array:
    """Squared difference of where student and teacher are active, channels summed away.

    Not for: what single channels say, which is summed away, nor features without
    positions; `projected` compares those.

        map = mean over channels of features²
        loss = |map_s / |map_s| - map_t / |map_t||²

    Channels need not match, nor sizes: the student's map is resized linearly to the
    teacher's. Nothing changes when features are multiplied by a number. Features of
    zeros have the map 0 and get no gradient.

    Also known as: attention transfer (AT), activation-based attention, F_sum².

    Args:
      student: (batch, ..., channels) with at least one axis between, such as (batch,
        height, width, channels); floating.
      teacher: with as many axes; floating.

    Returns:
      (batch,) float32 in [0, 2], 0 at equality; finite for all finite features.

    Raises:
      TypeError: features are not floating.
      ValueError: the numbers of axes or the batches differ, or there is nothing between
        batch and channels.

    Example:
      >>> student = jnp.array([[[1.0], [0.0]]])  # (batch, positions, channels)
      >>> jc.distill.features.attention_transfer(student, student[:, ::-1])
      Array([2.], dtype=float32)

    Source: Zagoruyko and Komodakis 2017, arXiv:1612.03928, equation 2 with p = 2.
    Differs: the distance is squared, as in the authors' code, so that its gradient is 0
    at equality; the paper's weight is about 1000 over the number of positions.
    """
    student, teacher = student_and_teacher("attention_transfer", student, teacher)
    check_axes("attention_transfer", student.shape, teacher.shape)
    if student.ndim < 3:
        raise ValueError(
            f"attention_transfer(student of shape {student.shape}) needs an axis between batch and "
            "channels. Of vectors compare squared_error or cosine_distance."
        )
    student_map = resized(_map(student), teacher.shape[1:-1])
    return jnp.sum((unit(flat(student_map)) - unit(flat(_map(teacher)))) ** 2, axis=-1)


def _map(features: Array) -> Array:
    """(batch, ..., 1): the mean square of channels, of examples of one magnitude."""
    features = balanced(features, tuple(range(1, features.ndim)))
    return jnp.mean(features**2, axis=-1, keepdims=True)
