"""Matrices for a rotation that was found."""

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.orthogonal import fixing_ones, random_hadamard, random_orthogonal
from jaxcompress.graph.symmetries.rotations import Rotation, check_rotation


def random_matrix(rotation: Rotation, seed: int = 0) -> np.ndarray:
    """Draws a matrix that spreads outliers along a rotation's dim over all its entries.

    Not for: the least error that data can find; `learn_rotations` trains on from there.

    A random Hadamard matrix; where the vector of ones must stay, a random orthogonal
    matrix of all directions beside it.

    Also known as: randomized Hadamard matrix, incoherence processing.

    Args:
      rotation: one of `rotations(fn, params, *inputs).found`.
      seed: 0 or above. The same seed gives the same matrix in every release of JAX.

    Returns:
      (size, size) float32, orthogonal; (layers, size, size) where each layer may have a
      matrix of its own.

    Raises:
      TypeError: `rotation` is none, or the seed is no int.
      ValueError: the seed is below 0.

    Example:
      >>> fn = lambda params, x: x @ params["in"] @ params["out"]
      >>> params = {"in": jnp.ones((3, 2)), "out": jnp.ones((2, 5))}
      >>> found = jc.graph.symmetries.rotations(fn, params, jnp.ones((4, 3))).found
      >>> jc.graph.symmetries.random_matrix(found[0])
      array([[-0.70710677, -0.70710677],
             [ 0.70710677, -0.70710677]], dtype=float32)

    Source: QuaRot, Ashkboos et al. 2024, arXiv:2404.00456, section 3. Differs: sizes
    without a known Hadamard matrix take the product of the largest known one and a
    random orthogonal one.
    """
    check_rotation("random_matrix", "rotation", rotation)
    check_count("random_matrix", "seed", seed, least=0)

    def drawn(seed: int) -> np.ndarray:
        if rotation.fixes_ones:
            return fixing_ones(random_orthogonal(rotation.size - 1, seed))
        return random_hadamard(rotation.size, seed)

    if not rotation.layers:
        return drawn(seed).astype(np.float32)
    # Far from the seeds that other rotations are given.
    layers = np.random.PCG64(seed).random_raw(rotation.layers)
    return np.stack([drawn(int(each)) for each in layers]).astype(np.float32)
