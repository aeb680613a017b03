"""Products with 4-bit weights that stay packed, two codes in a byte."""

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_count
from jaxcompress.core.packing import packed_length
from jaxcompress.core.types import Array
from jaxcompress.kernels.matmul import int8_matmul, neighbours
from jaxcompress.kernels.operands import check_codes, check_groups, check_sizes

TILE = 512
"""Rows of packed weights unpacked at a time; 512 of 4096 codes fit in a cache."""


def packed_matmul(x: Array, packed: Array, lowest: int) -> Array:
    """Multiplies with packed 4-bit codes exactly, unpacking them tile by tile.

        x · wᵀ = x · offsetᵀ + lowest · sum(x),   w = offset + lowest

    Args:
      x: (M, K) int8 codes of data.
      packed: (N, ceil(K / 2)) uint8, as `core.packing.pack` packs (N, K) offsets.
      lowest: the weight code whose offset is 0, an int.

    Returns:
      (M, N) int32.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other, or `lowest` is no int.

    Example:
      >>> packed = jnp.array([[3 | 4 << 4]], jnp.uint8)  # offsets 3 and 4
      >>> x = jnp.array([[1, 2]], jnp.int8)
      >>> jc.kernels.packed_matmul(x, packed, -7)  # 1 · (3 - 7) + 2 · (4 - 7)
      Array([[-10]], dtype=int32)
    """
    _check_packed("packed_matmul", x, packed, lowest)
    first, second = _planes(x, packed.shape[1])  # (M, ceil(K / 2)) each

    def tile(rows):
        low, high = _nibbles(rows)
        return int8_matmul(first, low) + int8_matmul(second, high)

    # The nibbles are offsets, not codes: what `lowest` adds is the same for every
    # output, so it is added once per row of data and no nibble needs a sign.
    total = jnp.sum(x, axis=1, keepdims=True, dtype=jnp.int32)  # (M, 1)
    return _by_tiles(tile, packed) + lowest * total


def packed_grouped_matmul(x: Array, packed: Array, scale: Array, lowest: int) -> Array:
    """Multiplies with packed 4-bit codes in groups along K that share a scale.

    Args:
      x: (M, K) int8 codes of data.
      packed: (N, K / 2) uint8, as `core.packing.pack` packs (N, K) offsets.
      scale: (N, G) float32; G is even and divides K, so that no group lies
        in both planes.
      lowest: the weight code whose offset is 0, an int.

    Returns:
      (M, N) float32.

    Raises:
      TypeError: an operand is of another dtype.
      ValueError: operands do not fit each other, or `lowest` is no int.

    Example:
      >>> packed = jnp.array([[3 | 4 << 4]], jnp.uint8)  # offsets 3 and 4
      >>> x = jnp.array([[1, 2]], jnp.int8)
      >>> jc.kernels.packed_grouped_matmul(x, packed, jnp.array([[1.0, 0.5]]), -7)
      Array([[-7.]], dtype=float32)
    """
    _check_packed("packed_grouped_matmul", x, packed, lowest)
    check_groups("packed_grouped_matmul", x, packed, scale)
    groups = scale.shape[1]
    check_sizes("packed_grouped_matmul", "have an even G", groups % 2 == 0, scale=scale)
    size = x.shape[1] // groups
    # Low nibbles hold the first half of K and of the groups, high nibbles the second,
    # so one slice of bytes serves one group of each half.
    planes = tuple(zip(_planes(x, packed.shape[1]), jnp.split(scale, 2, axis=1), strict=True))

    def add(total, group):
        nibbles = _nibbles(neighbours(packed, group * size, size))
        for (codes, scales), weights in zip(planes, nibbles, strict=True):
            part = neighbours(codes, group * size, size)
            product = int8_matmul(part, weights) + lowest * jnp.sum(
                part, axis=1, keepdims=True, dtype=jnp.int32
            )
            total = total + product.astype(jnp.float32) * neighbours(scales, group, 1).T
        return total, None

    total = jnp.zeros((x.shape[0], packed.shape[0]), jnp.float32)
    return jax.lax.scan(add, total, jnp.arange(groups // 2))[0]


def _check_packed(caller: str, x: Array, packed: Array, lowest: int) -> None:
    check_codes(caller, jnp.int8, x=x)
    check_codes(caller, jnp.uint8, packed=packed)
    check_count(caller, "lowest", lowest, least=-128)
    holds = packed.shape[1] == packed_length(x.shape[1], 4)
    check_sizes(caller, "share K, two codes in a byte", holds, x=x, packed=packed)


def _by_tiles(product, packed: Array) -> Array:
    """(M, N) from `product`, which gives (M, rows) for some rows of weights."""
    # Unpacking all of the weight would write (N, K) bytes to memory in each call.
    rows = packed.shape[0]
    whole = rows // TILE * TILE
    parts = []
    if whole:
        y = jax.lax.map(product, packed[:whole].reshape(-1, TILE, packed.shape[1]))
        parts.append(jnp.moveaxis(y, 0, 1).reshape(-1, whole))  # (tiles, M, TILE) to (M, whole)
    if whole < rows:
        parts.append(product(packed[whole:]))
    return jnp.concatenate(parts, axis=1)


def _planes(x: Array, length: int) -> tuple[Array, Array]:
    """Splits data into those that meet low and high nibbles, zero-padded."""
    padded = jnp.pad(x, ((0, 0), (0, 2 * length - x.shape[1])))
    return padded[:, :length], padded[:, length:]


def _nibbles(packed: Array) -> tuple[Array, Array]:
    return (packed & 0xF).astype(jnp.int8), (packed >> 4).astype(jnp.int8)
