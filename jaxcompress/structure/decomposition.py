"""The best factors of one matrix, plain or weighted by the inputs it meets.

Maths on one array. `ranks` chooses the rank.
"""

import dataclasses
import math
from functools import cached_property

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Decomposition:
    """A weight, or a batch of them, of which factors of any rank can be taken.

    With U the left singular vectors of W · S, where S · Sᵀ is the covariance of the
    inputs (or the identity), the best approximation of rank r is

        W_r = U_r · U_rᵀ · W      minimises  ‖(W - W_r) · S‖_F,  E[|(W - W_r) x|²]

    Invariants:
      - `weight` is (batch…, outputs, contracting) float32; all of a batch get one rank.
      - `root` is S, (…, contracting, contracting) float32,
        or () where it is the identity.
      - Sizes are known at once; singular values are computed when first asked for.

    Source: Eckart and Young 1936; the weighted form as truncation-aware whitening in
    Wang et al. 2024, arXiv:2403.07378, section 3.1. Differs: W is projected on U_r,
    which is the same matrix and needs no inverse of S.
    """

    weight: Array
    root: Array

    @property
    def full_rank(self) -> int:
        return min(self.weight.shape[-2:])

    @property
    def size(self) -> int:
        """Parameters of the weight as it is."""
        return self.weight.size

    @property
    def cost(self) -> int:
        """Parameters that the factors hold for each unit of rank."""
        *batch, outputs, contracting = self.weight.shape
        return math.prod(batch) * (outputs + contracting)

    @property
    def saving_rank(self) -> int:
        """The largest rank whose factors hold fewer parameters; 0 where none do."""
        return max(self.size - 1, 0) // self.cost

    @cached_property
    def energies(self) -> np.ndarray:
        """(batch…, full rank) float64: squared singular values as shares of their sum.

        They fall; those of a zero weight are all zero. What ranks above r leave out is
        the relative squared error of rank r.
        """
        squares = np.square(np.asarray(self._directions[1], np.float64))
        total = squares.sum(axis=-1, keepdims=True)
        return squares / np.where(total > 0, total, 1.0)

    @cached_property
    def left_out(self) -> np.ndarray:
        """(full rank + 1,) float64: relative squared error, the largest of a batch."""
        energies = self.energies.reshape(-1, self.full_rank)
        tails = np.cumsum(energies[:, ::-1], axis=-1)[:, ::-1]
        return np.append(tails.max(axis=0), 0.0)

    def factors(self, rank: int) -> tuple[Array, Array]:
        """The best factors of this rank.

        (batch…, outputs, rank) and (batch…, rank, contracting), both float32.

        A column of the left factor is as long as its row of the right one, which suits
        further training and quantization.
        """
        left = self._directions[0][..., :rank]
        right = jnp.matmul(jnp.swapaxes(left, -1, -2), self.weight, precision="highest")
        length = jnp.sqrt(jnp.linalg.norm(right, axis=-1))  # (batch…, rank)
        divisor = jnp.where(length > 0, length, 1.0)
        return left * length[..., None, :], right / divisor[..., None]

    @cached_property
    def _directions(self) -> tuple[Array, Array]:
        """Left singular vectors and values of the weighted matrix."""
        weighted = self.weight
        if self.root.ndim:
            weighted = jnp.matmul(self.weight, self.root, precision="highest")
        left, values, _ = jnp.linalg.svd(weighted, full_matrices=False)
        return left, values


def plain(weight: Array) -> Decomposition:
    """The decomposition whose error weighs every input direction equally.

    Args:
      weight: (batch…, outputs, contracting) float.

    Example:
      >>> plain(jnp.diag(jnp.array([2.0, 1.0]))).energies
      array([0.8, 0.2])
    """
    return Decomposition(weight.astype(jnp.float32), jnp.ones((), jnp.float32))


def weighted(weight: Array, covariance: Array, damping: float) -> Decomposition:
    """The decomposition whose error is weighted by the covariance of the inputs.

    Args:
      weight: (batch…, outputs, contracting) float.
      covariance: (…, contracting, contracting) float, E[x xᵀ]; broadcasts to the batch.
      damping: added to every direction, as a share of the mean input energy; decides
        among directions that no data took.

    Example:
      >>> weighted(jnp.eye(2), jnp.diag(jnp.array([1.0, 4.0])), damping=0.0).energies
      array([0.8, 0.2])
    """
    return Decomposition(weight.astype(jnp.float32), square_root(covariance, damping))


def square_root(covariance: Array, damping: float) -> Array:
    """The symmetric S with S · S = covariance + damping · mean(diagonal) · identity.

    Args:
      covariance: (…, n, n) float, symmetric; eigenvalues below 0 are taken as rounding.
      damping: at least 0.

    Returns:
      (…, n, n) float32.

    Example:
      >>> square_root(jnp.diag(jnp.array([9.0, 4.0])), damping=0.0)
      Array([[3., 0.],
             [0., 2.]], dtype=float32)
    """
    values, vectors = jnp.linalg.eigh(covariance.astype(jnp.float32))
    mean = jnp.mean(values, axis=-1, keepdims=True)
    roots = jnp.sqrt(jnp.maximum(values, 0.0) + damping * jnp.maximum(mean, 0.0))
    return jnp.einsum("...ik,...k,...jk->...ij", vectors, roots, vectors, precision="highest")


def per_tap(covariance: Array, window: tuple[int, ...], feature_axis: int) -> Array:
    """The covariance of a convolution's patches, positions in the window independent.

    Args:
      covariance: (features, features) float.
      window: sizes of the contracting axes, the features among them.
      feature_axis: which of them holds the features.

    Returns:
      (n, n) float32 with n the product of `window`: the covariance where two entries
      lie at one position, 0 elsewhere.
    """
    size = math.prod(window)
    before = math.prod(window[:feature_axis])
    after = math.prod(window[feature_axis + 1 :])
    blocks = jnp.einsum(
        "ab,ij,cd->aicbjd", jnp.eye(before), covariance.astype(jnp.float32), jnp.eye(after)
    )
    return blocks.reshape(size, size)
