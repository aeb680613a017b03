"""Block-diagonal Fisher information: costs of weights and updates of the others.

A leaf is cut, per output and along its inputs, as its outputs lie one after another,
into blocks of weights (blocks, size); what lies in two blocks does not meet.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count, check_positive
from jaxcompress.core.matrices import as_matrices, from_matrices, matrix_shape
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.types import Array
from jaxcompress.layerwise.solver import inverse_factor


@dataclasses.dataclass(frozen=True)
class FisherBlocks:
    """How the Fisher information matrix of a leaf is approximated.

    Attributes:
      size: weights of a diagonal block, at least 1; they are next to each other along
        the inputs of an output, and only within a block are gradients taken as going
        together.
      damping: added to the diagonal, above 0; in the unit of a squared gradient.

    Raises:
      ValueError: `size` is below 1 or no int, or `damping` not above 0.
    """

    size: int = 50
    damping: float = 1e-5

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_count("FisherBlocks", "size", self.size))
        check_positive("FisherBlocks", "damping", self.damping)


def in_blocks(leaf: Array, roles: LeafAxes, size: int) -> Array:
    """Cuts a leaf into blocks, every slice along its batch axes by itself.

    Args:
      leaf: of any floating dtype.
      roles: of its axes.
      size: weights in a block; zeros fill the last one of a slice.

    Returns:
      (blocks, size) float32.

    Example:
      >>> in_blocks(jnp.array([[1.0, 2.0, 3.0]]), jc.LeafAxes((1,), (0,)), 2)
      Array([[1., 2.],
             [3., 0.]], dtype=float32)
    """
    matrices = as_matrices(leaf, roles).astype(jnp.float32)
    slices = matrices.reshape(len(matrices), -1)
    missing = -slices.shape[1] % size
    return jnp.pad(slices, ((0, 0), (0, missing))).reshape(-1, size)


def from_blocks(blocks: Array, leaf: Array, roles: LeafAxes) -> Array:
    """The opposite of `in_blocks`, with the shape, dtype and sharding of the leaf."""
    slices, outputs, inputs = matrix_shape(leaf.shape, roles)
    flat = blocks.reshape(slices, -1)[:, : outputs * inputs]
    return narrowed(from_matrices(flat, roles, like=leaf), leaf.dtype)


def costs(weights: Array, fisher: Array) -> Array:
    """The rise of the loss without each weight, the others of its block updated.

        cost_q = w_q² / (2 · [F⁻¹]_qq)

    Args:
      weights: (blocks, size) float32.
      fisher: (blocks, size, size) float32, positive definite.

    Returns:
      (blocks, size) float32.

    Example:
      >>> costs(jnp.array([[1.0, 4.0]]), jnp.array([[[5.0, 1.0], [1.0, 1.0]]]))
      Array([[2. , 6.4]], dtype=float32)
    """
    factors = jax.vmap(inverse_factor)(fisher)
    return jnp.square(weights) / (2 * jnp.sum(jnp.square(factors), axis=1))


def made_up(weights: Array, keep: Array, fisher: Array) -> Array:
    """Updates kept weights so that the loss rises least without the pruned ones.

        w_S + (F_SS)⁻¹ · F_SP · w_P,   S: those that stay, P: those that go

    Args:
      weights: (blocks, size) float32.
      keep: (blocks, size) bool, S.
      fisher: (blocks, size, size) float32, positive definite.

    Returns:
      (blocks, size) float32, 0 in P.

    Example:
      >>> fisher = jnp.array([[[5.0, 1.0], [1.0, 1.0]]])
      >>> made_up(jnp.array([[1.0, 4.0]]), jnp.array([[False, True]]), fisher)
      Array([[0., 5.]], dtype=float32)
    """

    def of_block(weights: Array, keep: Array, fisher: Array) -> Array:
        pull = jnp.matmul(
            fisher, jnp.where(keep, 0.0, weights), precision=jax.lax.Precision.HIGHEST
        )
        # The identity in P leaves F_SS to be solved, at a size that is known.
        among = jnp.where(jnp.outer(keep, keep), fisher, jnp.eye(len(keep), dtype=fisher.dtype))
        change = jax.scipy.linalg.cho_solve(
            jax.scipy.linalg.cho_factor(among), jnp.where(keep, pull, 0.0)
        )
        return jnp.where(keep, weights + change, 0.0)

    return jax.vmap(of_block)(weights, keep, fisher)
