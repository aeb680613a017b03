"""Inverse roots of symmetric matrices: what Shampoo and K-FAC multiply gradients by."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcompress.core.numerics import largest_magnitude
from jaxcompress.core.types import Array, PyTree
from jaxcompress.optimizers.matrix.eigenbases import largest_entry
from jaxcompress.optimizers.matrix.matrices import identities
from jaxcompress.optimizers.matrix.products import on_each, product
from jaxcompress.optimizers.moments import as_float32

# Of a power iteration, whose quotient then is within a few percent of the eigenvalue.
MULTIPLICATIONS = 64
# Of Newton: eigenvalues grow by 2 to e in each, so a condition of 1e7 takes 25.
MOST_STEPS = 64
# With ten times the ridge each, from below rounding to above what rounding can do.
ATTEMPTS = 6
# Largest entry of M - I: from NEAR on its square follows it, and CONVERGED is rounding.
NEAR, CONVERGED = 0.1, 1e-6


def inverse_roots(tree: PyTree, power: int, ridge: ArrayLike = 1e-6) -> PyTree:
    """`inverse_root` of every leaf; on a TPU by `newton_root`."""
    return on_each(
        lambda matrix: inverse_root(matrix, power, ridge),
        lambda matrix: newton_root(matrix, power, ridge),
        tree,
    )


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
    root = product(vectors * roots, vectors.mT)
    return root * scale ** (-1 / power)


def damped_inverses(tree: PyTree, ridges: PyTree) -> PyTree:
    """(matrix + ridge · I)⁻¹ of every leaf.

    On a TPU by `coupled_newton`.

    Args:
      tree: its leaves are (batch, n, n) float32, symmetric, no eigenvalue below 0: one
        that is, is taken as rounding.
      ridges: of the same structure, (batch, 1, 1) above 0.

    Returns:
      Tree of the structure and shapes of `tree`.

    Example:
      >>> damped_inverses([jnp.full((1, 1, 1), 3.0)], [jnp.ones((1, 1, 1))])
      [Array([[[0.25]]], dtype=float32)]
    """
    return on_each(
        _damped_inverse, lambda matrix, ridge: coupled_newton(matrix, ridge, 1), tree, ridges
    )


def newton_root(matrix: Array, power: int, ridge: ArrayLike = 1e-6) -> Array:
    """`inverse_root` by products of matrices alone, for a TPU.

    The largest eigenvalue, of which `ridge` is a share, is found to a few percent.

    Example:
      >>> newton_root(jnp.diag(jnp.array([16.0, 1.0]))[None], 4).round(4)
      Array([[[0.5, 0. ],
              [0. , 1. ]]], dtype=float32)
    """
    scale = largest_entry(matrix)
    scaled = matrix / scale
    largest = largest_eigenvalue(scaled)[:, None, None]
    ridge = as_float32(ridge) * largest
    # In place of zeros something whose root is known to be finite, and is not used.
    ridge = jnp.where(largest == 0, 1.0, ridge)
    root = coupled_newton(scaled, ridge, power) * scale ** (-1 / power)
    return jnp.where(largest == 0, identities(matrix), root)


def _damped_inverse(matrix: Array, ridge: Array) -> Array:
    values, vectors = jnp.linalg.eigh(matrix)
    scaled = vectors / (jnp.maximum(values, 0.0)[:, None, :] + ridge)
    return product(scaled, vectors.mT)


class _Newton(NamedTuple):
    """For each matrix: the root so far, the factor that remains, and its residual."""

    root: Array
    rest: Array
    residual: Array
    steps: Array


def coupled_newton(matrix: Array, ridge: Array, power: int) -> Array:
    """(matrix + ridge · I)^(-1 / power), by products of matrices alone.

        T = ((power + 1) · I - M) / power;   X <- X · T;   M <- T^power · M

    from X = I and M = the matrix over its largest eigenvalue, until M = I.

    Args:
      matrix: (batch, n, n) float32, symmetric; eigenvalues below 0 are from rounding.
      ridge: (batch, 1, 1) above 0. Where rounding outweighs it, so that the iteration
        does not converge, it is taken ten times as large, and again.
      power: at least 1.

    Returns:
      (batch, n, n) float32; NaN where the matrix is not finite.

    Source: Guo and Higham 2006, "A Schur-Newton method for the matrix pth root and its
    inverse"; as in Anil et al. 2020, arXiv:2002.09018, section 4.2. Differs: the
    largest eigenvalue is that of a power iteration, not the Frobenius norm.
    """

    def failed(tried: tuple[Array, Array, Array]) -> Array:
        _, residual, attempts = tried
        return jnp.any(~(residual < NEAR)) & (attempts < ATTEMPTS)

    def attempt(tried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        root, residual, attempts = tried
        wider = ridge * 10.0 ** attempts.astype(jnp.float32)
        found, now = _newton(matrix + wider * identities(matrix), power)
        missing = ~(residual < NEAR)
        root = jnp.where(missing[:, None, None], found, root)
        return root, jnp.where(missing, now, residual), attempts + 1

    none = jnp.full(matrix.shape[:1], jnp.inf, jnp.float32)
    start = (identities(matrix), none, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(failed, attempt, start)[0]


def largest_eigenvalue(matrix: Array) -> Array:
    """(batch,): the Rayleigh quotient after a power iteration; never too large."""

    def times(vector: Array) -> Array:
        return jnp.sum(matrix * vector[:, None, :], axis=-1)

    def step(_: Array, vector: Array) -> Array:
        vector = times(vector)
        return vector / largest_entry(vector[..., None])[..., 0]

    start = jax.random.normal(jax.random.key(0), matrix.shape[-1:], jnp.float32)
    vector = jnp.broadcast_to(start, matrix.shape[:-1])
    vector = jax.lax.fori_loop(0, MULTIPLICATIONS, step, vector)
    squares = jnp.sum(vector * vector, axis=-1)
    return jnp.sum(vector * times(vector), axis=-1) / jnp.where(squares == 0, 1.0, squares)


def _newton(matrix: Array, power: int) -> tuple[Array, Array]:
    """The root of each positive definite matrix, and the residual that is left."""
    identity = identities(matrix)
    largest = largest_eigenvalue(matrix)[:, None, None]
    scale = jnp.where(largest > 0, largest, 1.0)

    def off(rest: Array) -> Array:
        return largest_magnitude(rest - identity, (1, 2))

    def unfinished(now: _Newton) -> Array:
        return jnp.any(now.residual > CONVERGED) & (now.steps < MOST_STEPS)

    def step(now: _Newton) -> _Newton:
        factor = ((power + 1) * identity - now.rest) / power
        root, rest = product(now.root, factor), product(matrix_power(factor, power), now.rest)
        residual = off(rest)
        return _Newton(root, rest, residual, now.steps + 1)

    rest = matrix / scale
    start = _Newton(identity, rest, off(rest), jnp.zeros((), jnp.int32))
    done = jax.lax.while_loop(unfinished, step, start)
    return done.root * scale ** (-1 / power), done.residual


def matrix_power(matrix: Array, power: int) -> Array:
    """The matrix multiplied with itself, `power` at least 1, by squaring."""
    if power == 1:
        return matrix
    half = matrix_power(matrix, power // 2)
    square = product(half, half)
    return product(square, matrix) if power % 2 else square
