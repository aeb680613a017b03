"""Outputs of any kind: how losses check them, and what they compute with."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.types import Array
from jaxcompress.distill.checks import check_floating, check_same_shape


def checked(caller: str, argument: str, array: ArrayLike) -> Array:
    """The array, or a TypeError unless it is of numbers of a real floating dtype."""
    check_numeric(caller, argument, array)
    array = jnp.asarray(array)
    check_floating(caller, argument, array)
    return array


def checked_outputs(
    caller: str, axes: tuple[str, ...], /, *, student: ArrayLike, **others: ArrayLike
) -> tuple[Array, ...]:
    """The student's outputs and those of others, in float32, these without gradient.

    Args:
      caller: the function to name in errors.
      axes: what the last axes are; one of these names may be a number, as "4" is.
      student: floating, of at least these axes.
      **others: by argument, of the same shape.
    """
    arrays = {
        name: checked(caller, name, each) for name, each in {"student": student, **others}.items()
    }
    check_same_shape(caller, **arrays)
    shape = arrays["student"].shape
    sizes = shape[len(shape) - len(axes) :]
    fits = len(sizes) == len(axes) and 0 not in sizes
    if not fits or any(axis.isdigit() and int(axis) != sizes[i] for i, axis in enumerate(axes)):
        needed = ", ".join(("...", *axes))
        raise ValueError(f"{caller}(student of shape {shape}) needs the shape ({needed}).")
    first, *rest = (each.astype(jnp.float32) for each in arrays.values())
    return first, *map(jax.lax.stop_gradient, rest)


def as_float32(number: ArrayLike) -> Array:
    """A number of Python, or a traced one of any dtype, as what losses compute with."""
    return jnp.asarray(number, jnp.float32)
