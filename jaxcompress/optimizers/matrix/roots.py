"""Inverse roots of symmetric matrices, which Shampoo multiplies gradients by."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.types import Array
from jaxcompress.optimizers.matrix.eigenbases import largest_entry
from jaxcompress.optimizers.moments import as_float32


def inverse_root(matrix: Array, power: int, ridge: ArrayLike = 1e-6) -> Array:
    """The symmetric X with X^power · (matrix + ridge · largest eigenvalue · I) = I.

    Args:
      matrix: (batch, n, n) float32, symmetric, no eigenvalue below 0: one that is, is
        taken as rounding.
      power: at least 1.
      ridge: () above 0, as a share of the largest eigenvalue: what bounds X where the
        matrix is singular. Below about n · 1e-7 it is less than rounding.

    Returns:
      (batch, n, n) float32. A matrix of zeros gives the identity; one that is not
      finite gives NaN.

    Example:
      >>> inverse_root(jnp.diag(jnp.array([16.0, 1.0]))[None], 4)
      Array([[[0.5, 0. ],
              [0. , 1. ]]], dtype=float32)

    Source: Gupta et al. 2018, arXiv:1802.09568, algorithm 1; the ridge as in Anil et
    al. 2020, arXiv:2002.09018, section 3.
    """
    scale = largest_entry(matrix)  # (batch, 1, 1)
    values, vectors = jnp.linalg.eigh(matrix / scale)
    values = jnp.maximum(values, 0.0)
    values = values + as_float32(ridge) * values[:, -1:]
    # (batch, 1, n), across columns of eigenvectors.
    roots = jnp.where(values == 0, 1.0, values)[:, None, :] ** (-1 / power)
    root = jnp.matmul(vectors * roots, vectors.mT, precision="highest")
    return root * scale ** (-1 / power)
