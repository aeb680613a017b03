"""Argument checks that the losses share."""

import jax.numpy as jnp

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
