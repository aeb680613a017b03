"""What reconstructs one matrix: the word that the solvers share.

A solver lowers the error of a matrix W (outputs, inputs) on the inputs x that it met:

    E[|(W - W') x|²] = trace((W - W') · H · (W - W')ᵀ),   H = E[x xᵀ]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array

Solver = Callable[[Array, Array, float], tuple[Array, Array]]
"""(weight (outputs, inputs), second moment of the inputs (inputs, inputs), sparsity) to
(weight with removed entries exactly 0, bool mask of what stays); all float32."""


def damped(second_moment: Array, damping: float) -> Array:
    """The second moment made safe to invert.

        H + damping · m · I,   m: mean of the diagonal entries above 0

    An input that is always 0 gets m, so that nothing else depends on it.

    Args:
      second_moment: (inputs, inputs) float32.
      damping: share of the mean that every input counts at least, above 0.

    Returns:
      (inputs, inputs) float32, positive definite.

    Example:
      >>> damped(jnp.array([[4.0, 0.0], [0.0, 0.0]]), 0.25)
      Array([[5., 0.],
             [0., 5.]], dtype=float32)
    """
    energy = jnp.diagonal(second_moment)
    seen = energy > 0
    mean = jnp.sum(energy) / jnp.maximum(jnp.sum(seen), 1)
    mean = jnp.where(mean > 0, mean, 1.0)
    return second_moment + jnp.diag(damping * mean + jnp.where(seen, 0.0, mean))


def inverse_factor(matrix: Array) -> Array:
    """The upper U of `inverse(matrix) = Uᵀ · U`, without forming the inverse.

    The Cholesky factor L of the matrix in reversed order, inverted and reversed back.

    Args:
      matrix: (size, size) float32, positive definite.

    Returns:
      (size, size) float32, upper triangular.

    Example:
      >>> inverse_factor(jnp.array([[5.0, 1.0], [1.0, 1.0]]))
      Array([[ 0.5, -0.5],
             [ 0. ,  1. ]], dtype=float32)
    """
    lower = jnp.linalg.cholesky(matrix[::-1, ::-1])
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    return jax.scipy.linalg.solve_triangular(lower, identity, lower=True)[::-1, ::-1]
