"""Norms and directions whose values and gradients are finite, also at zero.

What is not finite gives NaN: choices ask for what is 0, which NaN never is, and not for
what is above 0, as if the rest were 0. All is computed in float32. Where only
directions matter, vectors are divided by their largest entry first, so that no square
overflows or vanishes.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.sharding import gathered_along
from jaxcompress.core.types import Array

_SMALLEST = float(np.finfo(np.float32).tiny)


def flat(features: Array) -> Array:
    """(batch, ...) as (batch, entries)."""
    return features.reshape(features.shape[0], math.prod(features.shape[1:]))


def balanced(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Divides by the largest magnitude along axes, all of them by default.

    For what does not change with the scale of `x`: then neither does its gradient by
    treating the divisor as a constant. Zeros stay zeros.
    """
    largest = jax.lax.stop_gradient(largest_magnitude(x, axis, keepdims=True))
    return x / jnp.where(largest < _SMALLEST, 1.0, largest)


def norm(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """Euclidean length along axes, kept with size 1; gradient 0 at 0."""
    square = jnp.sum(x**2, axis, keepdims=True)
    absent = square == 0
    return jnp.where(absent, 0.0, jnp.sqrt(jnp.where(absent, 1.0, square)))


def unit(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """Vectors along axes over their lengths; 0, with gradient 0, for zero."""
    x = balanced(x, axis)
    length = norm(x, axis)
    absent = length == 0
    return jnp.where(absent, 0.0, x) / jnp.where(absent, 1.0, length)


def gram(x: Array) -> Array:
    """Dot products of the rows of (batch, entries): (batch, batch)."""
    # One side is gathered where an explicit mesh splits the batch: the rows stay split.
    # In full: what is subtracted later shows the digits that TF32 or bfloat16 drop.
    return jnp.matmul(x, gathered_along(x, 0).T, precision="highest")


def mean_where(x: Array, where: Array) -> Array:
    """Means of (batch, ...) over the entries that count; 0 for an example without."""
    axes = tuple(range(1, x.ndim))
    count = jnp.sum(where, axes, dtype=jnp.float32)
    return jnp.sum(jnp.where(where, x, 0.0), axes) / jnp.maximum(count, 1.0)
