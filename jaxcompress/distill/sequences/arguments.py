"""Checks of what losses of sequences and generation are given."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.types import Array
from jaxcompress.distill.outputs.arrays import checked


def as_tokens(caller: str, argument: str, tokens: ArrayLike) -> Array:
    """The tokens as int32; a TypeError unless they are integer."""
    check_numeric(caller, argument, tokens)
    array = jnp.asarray(tokens)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{caller}({argument} of dtype {array.dtype}) needs integer tokens.")
    return array.astype(jnp.int32)


def as_counts(caller: str, counts: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Which tokens count, bool of that shape; an error where none is known to."""
    check_numeric(caller, "counts", counts)
    array = jnp.asarray(counts)
    if array.dtype != bool:
        raise TypeError(f"{caller}(counts of dtype {array.dtype}) must be bool.")
    if array.shape != shape:
        raise ValueError(f"{caller}(counts of shape {array.shape}) needs the shape {shape}.")
    if array.size and not isinstance(array, Tracer) and not np.asarray(array).any():
        raise ValueError(f"{caller}(counts) hides every token. Leave such batches out.")
    return array


def as_floats(caller: str, argument: str, values: ArrayLike, axes: str) -> Array:
    """Floating values with an axis at least; `axes` is their shape in words."""
    array = checked(caller, argument, values)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{caller}({argument} of shape {array.shape}) needs the shape {axes}.")
    return array
