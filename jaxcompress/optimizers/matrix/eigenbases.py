"""Orthonormal bases in which symmetric matrices are diagonal."""

import jax.numpy as jnp

from jaxcompress.core.types import Array


def eigenbasis(matrix: Array) -> Array:
    """Eigenvectors as columns, those of large eigenvalues first.

    Args:
      matrix: (batch, n, n) float32, symmetric, no eigenvalue below 0.

    Returns:
      (batch, n, n) float32, orthonormal columns; NaN where the matrix is not finite.

    Example:
      >>> jnp.abs(eigenbasis(jnp.diag(jnp.array([1.0, 4.0]))[None]))
      Array([[[0., 1.],
              [1., 0.]]], dtype=float32)
    """
    return jnp.flip(jnp.linalg.eigh(matrix / largest_entry(matrix))[1], axis=-1)


def next_basis(matrix: Array, basis: Array) -> Array:
    """One power iteration from `basis` towards the eigenvectors, largest first.

        basis <- the orthonormal factor of matrix · basis

    Args:
      matrix: (batch, n, n) float32, symmetric, no eigenvalue below 0.
      basis: (batch, n, n) float32, orthonormal columns.

    Returns:
      (batch, n, n) float32, orthonormal columns whatever the rank of `matrix`; NaN
      where the matrix is not finite.

    Example:
      >>> matrix = jnp.diag(jnp.array([4.0, 1.0]))[None]
      >>> jnp.abs(next_basis(matrix, jnp.eye(2)[None]))
      Array([[[1., 0.],
              [0., 1.]]], dtype=float32)
    """
    return jnp.linalg.qr(jnp.matmul(matrix / largest_entry(matrix), basis, precision="highest"))[0]


def largest_entry(matrix: Array) -> Array:
    """(batch, 1, 1): what each matrix is divided by to be in range; 1 for zeros."""
    largest = jnp.max(jnp.abs(matrix), axis=(1, 2), keepdims=True)
    return jnp.where(largest == 0, 1.0, largest)
