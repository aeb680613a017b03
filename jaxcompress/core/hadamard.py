"""Randomized block Hadamard transforms: rotations that cost additions alone.

A rotation spreads an outlier over the numbers of its block, so that fewer bits hold
them all. Each block x of an axis becomes H · (signs · x), where H is the orthogonal
Hadamard matrix; the opposite is signs · (H · x).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array

_compiled = functools.partial(jax.jit, static_argnums=-1, inline=True)
"""One program for each size of block, not one for each operation."""


@_compiled
def block_hadamard(x: Array, block: int) -> Array:
    """Multiplies each block of the last axis with the orthogonal Hadamard matrix.

        H_1 = 1,   H_2n = [[H_n, H_n], [H_n, -H_n]] / sqrt(2)

    It is its own inverse. Costs log2(block) additions per entry, by butterflies.

    Args:
      x: (…, n) float32.
      block: entries per block, a power of two that divides n.

    Returns:
      (…, n) float32.

    Example:
      >>> block_hadamard(jnp.array([3.0, 1.0, 1.0, 1.0]), 4)
      Array([3., 1., 1., 1.], dtype=float32)
    """
    x = x * np.float32(1 / block)  # so that sums of enormous numbers stay finite
    half = 1
    while half < block:
        pairs = x.reshape(*x.shape[:-1], x.shape[-1] // (2 * half), 2, half)  # (…, pairs, 2, half)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        x = jnp.stack([first + second, first - second], axis=-2).reshape(x.shape)
        half *= 2
    return x * np.float32(block**0.5)


@_compiled
def rotated(x: Array, negative: Array, block: int) -> Array:
    """Rotates vectors: signs first, then the Hadamard matrix of each block.

    Args:
      x: (…, n) float32.
      negative: bool that broadcasts to `x`, True where the sign is -1.
      block: entries per block, a power of two that divides n.

    Returns:
      (…, n) float32 of the same length as each vector.

    Example:
      >>> negative = jnp.array([True, False, False, False])
      >>> rotated(jnp.array([8.0, 0.0, 0.0, 0.0]), negative, 4)
      Array([-4., -4., -4., -4.], dtype=float32)
    """
    return block_hadamard(jnp.where(negative, -x, x), block)


@_compiled
def rotated_back(x: Array, negative: Array, block: int) -> Array:
    """The opposite of `rotated`.

    Example:
      >>> negative = jnp.array([True, False, False, False])
      >>> rotated_back(jnp.array([-4.0, -4.0, -4.0, -4.0]), negative, 4)
      Array([8., 0., 0., 0.], dtype=float32)
    """
    x = block_hadamard(x, block)
    return jnp.where(negative, -x, x)


def largest_block(size: int, most: int) -> int:
    """The largest power of two that divides a size and is at most `most`.

    Example:
      >>> largest_block(768, most=1024), largest_block(768, most=128)
      (256, 128)
    """
    return min(size & -size, 1 << (most.bit_length() - 1)) if size else 1


def drawn_signs(seed: int, count: int) -> np.ndarray:
    """Draws random signs that depend on the seed alone.

    The highest bits of NumPy's PCG64, whose numbers are the same in every release, and
    in every release of JAX.

    Args:
      seed: 0 or above.
      count: how many.

    Returns:
      (count,) bool, True for -1.

    Example:
      >>> drawn_signs(0, 6)
      array([ True, False, False, False,  True,  True])
    """
    return np.random.PCG64(seed).random_raw(count) >> 63 == 1
