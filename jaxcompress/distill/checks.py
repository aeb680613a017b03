"""Argument checks that the losses share."""

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array


def check_floating(callable_name: str, argument: str, array: Array) -> None:
    """Raises a TypeError unless the array is of a real floating dtype."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{callable_name}({argument} of dtype {array.dtype}) must be floating.")


def check_same_shape(callable_name: str, **arrays: Array) -> None:
    """Raises a ValueError that lists the shapes unless all are equal."""
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{callable_name}({shapes}): the shapes must be equal.")


def student_and_teacher(callable_name: str, student: Array, teacher: Array) -> tuple[Array, Array]:
    """Both as float32 features of one batch, and no gradient flows to the teacher's.

    Args:
      callable_name: the name that errors give.
      student: (batch, ..., channels), floating.
      teacher: (batch, ..., channels), floating; the other axes may be others.

    Raises:
      TypeError: one of them is no array of real floating numbers.
      ValueError: one has fewer than two axes or no entry in an example, or the batches
        differ.
    """
    student = _features(callable_name, "student", student)
    teacher = _features(callable_name, "teacher", teacher)
    check_same_batch(callable_name, student, teacher)
    return student, jax.lax.stop_gradient(teacher)


def check_same_batch(callable_name: str, student: Array, teacher: Array) -> None:
    """Raises a ValueError unless both have as many examples."""
    if student.shape[0] != teacher.shape[0]:
        raise ValueError(
            f"{callable_name}(student of shape {student.shape}, teacher of shape {teacher.shape}): "
            "the first axes must be equal. They are the examples of one batch."
        )


def check_matching(callable_name: str, student: Array, teacher: Array) -> None:
    """Raises a ValueError unless the shapes are equal, and says what makes them so."""
    if student.shape == teacher.shape:
        return
    if student.ndim != teacher.ndim:
        mend = "Reshape or average one so that both have as many axes."
    else:
        mend = (
            f"features.projected(features.{callable_name}) learns a projection from "
            f"{student.shape[-1]} to {teacher.shape[-1]} channels, and resizes the axes between."
        )
    raise ValueError(
        f"{callable_name}(student of shape {student.shape}, teacher of shape {teacher.shape}): the "
        f"shapes must be equal. {mend}"
    )


def broadcast_where(callable_name: str, where: Array | bool, shape: tuple[int, ...]) -> Array:
    """Which entries count, as a bool array of the shape.

    Raises:
      TypeError: `where` is not bool.
      ValueError: it does not broadcast to the shape.
    """
    if isinstance(where, bool):
        return jnp.full(shape, where)
    if getattr(where, "dtype", None) != jnp.bool_:
        raise TypeError(
            f"{callable_name}(where={shown(where)}) must be True or a bool array that broadcasts "
            f"to {shape}."
        )
    fits = where.ndim == len(shape) and all(
        own in (1, size) for own, size in zip(where.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{callable_name}(where of shape {where.shape}) must broadcast to {shape}, with as "
            "many axes."
        )
    return jnp.broadcast_to(where, shape)


def shape_of(callable_name: str, argument: str, features: object) -> tuple[int, ...]:
    """The shape (batch, ..., channels) of features, given as such or as an array.

    Raises:
      TypeError: it is neither a shape nor has one.
      ValueError: there are fewer than two axes, or one is empty.
    """
    shape = getattr(features, "shape", features)
    if not (isinstance(shape, tuple) and all(isinstance(size, int) for size in shape)):
        raise TypeError(
            f"{callable_name}({argument}={shown(features)}) must be an array, a "
            "jax.ShapeDtypeStruct or a shape (batch, ..., channels)."
        )
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(
            f"{callable_name}({argument} of shape {shape}) needs the shape (batch, ..., channels), "
            "with no axis empty."
        )
    return shape


def _features(callable_name: str, argument: str, features: Array) -> Array:
    check_numeric(callable_name, argument, features)
    features = jnp.asarray(features)
    check_floating(callable_name, argument, features)
    if features.ndim < 2 or 0 in features.shape[1:]:
        raise ValueError(
            f"{callable_name}({argument} of shape {features.shape}) needs the shape "
            "(batch, ..., channels), with entries in each example."
        )
    return features.astype(jnp.float32)
