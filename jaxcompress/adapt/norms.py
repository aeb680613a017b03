"""Norms of the outputs of a matrix, formed without overflow."""

import jax.numpy as jnp

from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.types import Array


def row_norms(matrices: Array) -> Array:
    """The Euclidean norm of each row; NaN where an entry is not finite.

    Args:
      matrices: (batch, rows, columns) float32 or float64.

    Returns:
      (batch, rows) of the same dtype.

    Example:
      >>> row_norms(jnp.array([[[3.0, 4.0], [0.0, 0.0], [3e30, 0.0]]]))
      Array([[5.e+00, 0.e+00, 3.e+30]], dtype=float32)
    """
    unit = nonzero(largest_magnitude(matrices, -1)).astype(matrices.dtype)
    shares = matrices / unit[:, :, None]
    return unit * jnp.sqrt(jnp.sum(shares * shares, axis=-1))


def norms_of_sum(matrices: Array, left: Array, right: Array) -> Array:
    """The norm of each row of W + L R, without the product L R.

        |W_o + L_o R|² = |W_o|² + 2 L_o · (R W_oᵀ) + L_o (R Rᵀ) L_oᵀ

    Args:
      matrices: W, (batch, rows, columns) float32 or float64.
      left: L, (batch, rows, rank).
      right: R, (batch, rank, columns).

    Returns:
      (batch, rows) of the dtype of W. Where W and the product nearly cancel, the error
      is that of their own size.

    Example:
      >>> left, right = jnp.ones((1, 1, 1)), jnp.array([[[0.0, 4.0]]])
      >>> norms_of_sum(jnp.array([[[3.0, 0.0]]]), left, right)
      Array([[5.]], dtype=float32)
    """
    dtype = matrices.dtype
    left, right = left.astype(dtype), right.astype(dtype)
    # In units in which no square overflows: rows of R of 1, then rows of W and L of 1.
    lengths = nonzero(largest_magnitude(right, -1)).astype(dtype)  # (batch, rank)
    right, left = right / lengths[:, :, None], left * lengths[:, None, :]
    largest = jnp.maximum(largest_magnitude(matrices, -1), largest_magnitude(left, -1))
    unit = nonzero(largest).astype(dtype)  # (batch, rows)
    matrices, left = matrices / unit[:, :, None], left / unit[:, :, None]
    crossed = _product("boc,brc->bor", matrices, right)
    squared = _product("bor,brs->bos", left, _product("brc,bsc->brs", right, right))
    squares = jnp.sum(matrices * matrices, axis=-1) + jnp.sum(left * (2 * crossed + squared), -1)
    # Rounding may leave less than nothing; a NaN stays.
    return unit * jnp.sqrt(jnp.where(squares < 0, 0.0, squares))


def nonzero(lengths: Array) -> Array:
    """The lengths with 1 for those that are 0, to divide by."""
    return jnp.where(lengths == 0, 1.0, lengths)


def _product(formula: str, one: Array, other: Array) -> Array:
    return jnp.einsum(formula, one, other, precision="highest")
