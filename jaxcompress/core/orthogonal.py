"""Orthogonal matrices: Hadamard matrices of many sizes, and random rotations.

They are NumPy arrays in float64, made from a seed by NumPy's raw bits, so that the
same seed gives the same matrix in every release of JAX and NumPy. Transforms that are
applied without forming a matrix are in `hadamard`.
"""

import math

import numpy as np

from jaxcompress.core.hadamard import drawn_signs


def hadamard(size: int) -> np.ndarray | None:
    """A matrix of ±1 whose rows are orthogonal, if a construction here gives one.

    Sylvester's doubling of the matrices by Paley, which exist for q + 1 with a prime
    q = 3 mod 4, and for 2 (q + 1) with a prime q = 1 mod 4.

    Args:
      size: rows, at least 1.

    Returns:
      (size, size) int64 with H Hᵀ = size · I, or None.

    Example:
      >>> hadamard(2)
      array([[ 1,  1],
             [ 1, -1]])
      >>> [size for size in range(1, 61) if hadamard(size) is not None]
      [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 60]

    Source: Sylvester 1867; Paley 1933, On orthogonal matrices.
    """
    doublings, core = 0, size
    while core > 1:
        found = _paley(core)
        if found is not None:
            return _doubled(found, doublings)
        if core % 2:
            return None
        core, doublings = core // 2, doublings + 1
    return _doubled(np.ones((1, 1), np.int64), doublings)


def _doubled(matrix: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _paley(size: int) -> np.ndarray | None:
    """Paley's matrix of exactly this size, from the squares of a prime field."""
    if size % 4:
        return None
    if _is_prime(size - 1):  # which is 3 mod 4
        skew = _bordered(size - 1, -1)
        return skew + np.eye(size, dtype=np.int64)
    q = size // 2 - 1
    if q % 4 == 1 and _is_prime(q):
        symmetric, one = _bordered(q, 1), np.eye(q + 1, dtype=np.int64)
        return np.kron(symmetric, [[1, 1], [1, -1]]) + np.kron(one, [[1, -1], [-1, -1]])
    return None


def _bordered(q: int, sign: int) -> np.ndarray:
    """Whether differences are squares modulo q, as ±1, with a border of ones."""
    squares = np.full(q, -1, np.int64)
    squares[np.arange(1, q) ** 2 % q] = 1
    squares[0] = 0
    matrix = np.zeros((q + 1, q + 1), np.int64)
    matrix[0, 1:], matrix[1:, 0] = 1, sign
    matrix[1:, 1:] = squares[(np.arange(q)[:, None] - np.arange(q)) % q]
    return matrix


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % each for each in range(2, math.isqrt(number) + 1))


def random_hadamard(size: int, seed: int) -> np.ndarray:
    """Draws a rotation that spreads each entry over as many as it can.

        R = diag(signs) · (Q ⊗ H) / sqrt(h)

    H is the largest Hadamard matrix whose size h divides `size`, and Q a random
    orthogonal matrix of what is left, 1 for most sizes in use.

    Also known as: randomized Hadamard matrix.

    Args:
      size: rows, at least 1.
      seed: 0 or above.

    Returns:
      (size, size) float64, orthogonal.

    Example:
      >>> random_hadamard(4, 0) * 2
      array([[-1., -1., -1., -1.],
             [-1.,  1., -1.,  1.],
             [-1.,  1.,  1., -1.],
             [-1., -1.,  1.,  1.]])

    Source: QuIP#, Tseng et al. 2024, arXiv:2402.04396, section 3.
    """
    divisors = (each for each in range(size, 0, -1) if size % each == 0)
    known = next(matrix for matrix in map(hadamard, divisors) if matrix is not None)
    matrix = known / math.sqrt(len(known))
    if len(known) < size:
        matrix = np.kron(random_orthogonal(size // len(known), seed), matrix)
    return np.where(drawn_signs(seed, size), -1.0, 1.0)[:, None] * matrix


def random_orthogonal(size: int, seed: int) -> np.ndarray:
    """Draws an orthogonal matrix, uniformly over all of them.

    Args:
      size: rows, at least 1.
      seed: 0 or above.

    Returns:
      (size, size) float64.

    Example:
      >>> matrix = random_orthogonal(5, 0)
      >>> bool(np.abs(matrix @ matrix.T - np.eye(5)).max() < 1e-12)
      True

    Source: Mezzadri 2007, arXiv:math-ph/0609050, section 5.
    """
    count = size * size
    # Far from the numbers of the same seed that signs are drawn from.
    bits = np.random.PCG64(seed).jumped().random_raw(2 * count)
    uniform = (bits >> np.uint64(11)) * 2.0**-53  # [0, 1)
    radius = np.sqrt(-2 * np.log1p(-uniform[:count]))
    normal = radius * np.cos(2 * math.pi * uniform[count:])
    q, r = np.linalg.qr(normal.reshape(size, size))
    # Without the signs of the diagonal, the factor would not be uniform.
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)


def fixing_ones(inner: np.ndarray) -> np.ndarray:
    """Turns a rotation of one dimension less into one that keeps the vector of ones.

        R = Q · diag(1, inner) · Q,   Q the reflection of the first axis onto the ones

    Means and sums over the entries of a vector are those of the rotated one.

    Args:
      inner: (size - 1, size - 1), orthogonal.

    Returns:
      (size, size) float64, orthogonal.

    Example:
      >>> fixing_ones(-np.eye(1)).round(3) + 0.0
      array([[0., 1.],
             [1., 0.]])
    """
    size = len(inner) + 1
    direction = np.full(size, -(size**-0.5))
    direction[0] += 1
    length = direction @ direction
    # Of size one, the first axis is the vector of ones.
    reflection = np.eye(size) - 2 / (length or 1) * np.outer(direction, direction)
    whole = np.eye(size)
    whole[1:, 1:] = inner
    return reflection @ whole @ reflection
