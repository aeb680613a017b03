"""Orthonormal bases in which symmetric matrices are diagonal."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.types import Array, PyTree
from jaxcompress.optimizers.matrix.products import on_each, product, triangular_inverse
from jaxcompress.optimizers.moments import divided

EPS = float(jnp.finfo(jnp.float32).eps)

# Power iterations that a first basis takes with products alone.
ROUNDS = 32
# Columns beyond those that are wanted: the last of these then converges by the ratio to
# the ninth eigenvalue after it, not to the next.
SPARE = 8
# Passes of `orthonormal` until columns are independent; 5 are needed at the worst.
PASSES = 12


def next_bases(matrices: PyTree, bases: PyTree, first: Array) -> PyTree:
    """`next_basis` of every leaf or, where `first` is true, `eigenbasis`.

    On a TPU it is `iterated`, by 32 rounds at first, which leaves eigenvectors of
    nearly equal eigenvalues mixed.

    Args:
      matrices: its leaves are (batch, n, n) float32, symmetric, no eigenvalue below 0.
      bases: of the same structure and shapes, orthonormal columns.
      first: () bool.

    Returns:
      Tree of the structure and shapes of `bases`.
    """
    rounds = jnp.where(first, ROUNDS, 1)
    return on_each(
        lambda matrix, basis: jax.lax.cond(
            first, lambda: eigenbasis(matrix), lambda: next_basis(matrix, basis)
        ),
        lambda matrix, basis: iterated(matrix, basis, rounds),
        matrices,
        bases,
    )


def leading_eigenvectors(matrices: PyTree, count: int) -> PyTree:
    """The first `count` columns of every leaf's `eigenbasis`.

    On a TPU it is `iterated` from a few columns more, drawn once for all.
    """

    def products(matrix: Array) -> Array:
        columns = min(count + SPARE, matrix.shape[-1])
        drawn = jax.random.normal(jax.random.key(0), (matrix.shape[-1], columns), jnp.float32)
        start = orthonormal(jnp.broadcast_to(drawn, (len(matrix), *drawn.shape)))
        return iterated(matrix, start, ROUNDS)[..., :count]

    return on_each(lambda matrix: eigenbasis(matrix)[..., :count], products, matrices)


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
    return jnp.linalg.qr(product(matrix / largest_entry(matrix), basis))[0]


def iterated(matrix: Array, basis: Array, rounds: ArrayLike) -> Array:
    """`rounds` times `next_basis`, up to signs, by products of matrices alone.

    Each column turns towards the eigenvector of its place, in every round by the ratio
    of the next eigenvalue to its own. Columns without an eigenvalue stay where they
    are, but for what the others take up: 5e-7 of the largest entry is added to all.

    Args:
      matrix: (batch, n, n) float32, symmetric, no eigenvalue below 0.
      basis: (batch, n, k) float32, orthonormal columns.
      rounds: () int.

    Returns:
      (batch, n, k) float32, orthonormal columns whatever the rank of `matrix`; NaN
      where the matrix is not finite.

    Example:
      >>> matrix = jnp.diag(jnp.array([4.0, 0.0]))[None]
      >>> iterated(matrix, jnp.array([[[0.6, -0.8], [0.8, 0.6]]]), 16).round(3) + 0.0
      Array([[[1., 0.],
              [0., 1.]]], dtype=float32)

    Source: Golub and Van Loan 2013, "Matrix Computations", section 8.2.4.
    """
    scaled = matrix / largest_entry(matrix)

    def turned(_: Array, basis: Array) -> Array:
        return orthonormal(product(scaled, basis) + 4 * EPS * basis)

    return jax.lax.fori_loop(0, rounds, turned, basis)


def orthonormal(x: Array) -> Array:
    """The orthonormal factor of a QR decomposition, by products and Cholesky factors.

        x <- x · L^(-T),  L · L^T = x^T · x + n · eps · I

    of columns of length 1; without the last term once they are far from dependent, and
    until they are nearly orthogonal before a pass.

    Args:
      x: (batch, n, k) float32, k <= n, of full rank: singular values that are a
        millionth of the largest are enough.

    Returns:
      (batch, n, k) float32: column j spans with those before it what they span in x.

    Source: Fukaya et al. 2020, "Shifted Cholesky QR for computing the QR factorization
    of ill-conditioned matrices", algorithm 4.2. Differs: columns are scaled, and as
    many passes made as it takes.
    """
    identity = jnp.eye(x.shape[-1], dtype=jnp.float32)[None]
    shift = x.shape[-2] * EPS

    def dependent(now: tuple[Array, Array, Array]) -> Array:
        _, excess, passes = now
        return jnp.any(excess > 0.1) & (passes < PASSES)

    def one_pass(now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, passes = now
        x = divided(x, jnp.sqrt(jnp.sum(x * x, axis=-2, keepdims=True)))
        among = product(x.mT, x)
        # How far eigenvalues are from 1, at most: up to a half, all are positive.
        excess = largest_magnitude(jnp.sum(jnp.abs(among - identity), axis=-1), -1)
        ridge = jnp.where(excess > 0.5, shift, 0.0)[:, None, None]
        lower = jax.lax.linalg.cholesky(among + ridge * identity, symmetrize_input=False)
        return product(x, triangular_inverse(lower).mT), excess, passes + 1

    start = (x, jnp.full(len(x), jnp.inf), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(dependent, one_pass, start)[0]


def largest_entry(matrix: Array) -> Array:
    """(batch, 1, 1): what each matrix is divided by to be in range; 1 for zeros."""
    largest = largest_magnitude(matrix, (1, 2), keepdims=True)
    return jnp.where(largest == 0, 1.0, largest)
