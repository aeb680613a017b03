"""Several codes in one byte, by shifts and masks.

Never by `bitcast_convert_type`: from uint8 to int4 it gives wrong numbers on CPU and
aborts the GPU compiler.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.numerics import known_extremes
from jaxcompress.core.sharding import gathered_along, placed, sharding_of
from jaxcompress.core.types import Array

WIDTHS = (1, 2, 4, 8)
"""Bits of a code that fill a byte without a rest."""


def pack(codes: Array, bits: int) -> Array:
    """Codes packed along the last axis in planes, the first part in the lowest bits.

    Planes, not neighbours, so that unpacking is a shift and a concatenation.

    Args:
      codes: (..., n) uint8, each below 2**bits.
      bits: 1, 2, 4 or 8.

    Returns:
      (..., ceil(n · bits / 8)) uint8; the unused places of the last plane hold 0.

    Raises:
      TypeError: the codes are not uint8.
      ValueError: `bits` is another number, or a code that is known, not traced, has
        more bits and would spill over into its neighbours.

    Example:
      >>> pack(jnp.array([1, 2, 3], jnp.uint8), 4)
      Array([49,  2], dtype=uint8)
    """
    _check_width("pack", "codes", codes, bits)
    known = known_extremes(codes)
    if known and known[1] >= 2**bits:
        raise ValueError(
            f"pack(codes=..., bits={bits}): codes reach {known[1]} and must be below {2**bits}. "
            "Clip them first."
        )
    return _packed(codes, bits)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _packed(codes: Array, bits: int) -> Array:
    planes = 8 // bits
    length = packed_length(codes.shape[-1], bits)
    padding = [(0, 0)] * (codes.ndim - 1) + [(0, planes * length - codes.shape[-1])]
    padded = jnp.pad(gathered_along(codes, -1), padding)
    packed = jnp.zeros((*codes.shape[:-1], length), jnp.uint8)
    for plane in range(planes):
        packed |= padded[..., plane * length : (plane + 1) * length] << jnp.uint8(plane * bits)
    return placed(packed, sharding_of(packed.shape, like=codes))


def unpack(packed: Array, bits: int, length: int) -> Array:
    """The codes that `pack` packed.

    Args:
      packed: (..., m) uint8.
      bits: 1, 2, 4 or 8.
      length: codes along the last axis before packing; ceil(length · bits / 8) == m.

    Returns:
      (..., length) uint8.

    Raises:
      TypeError: the bytes are not uint8.
      ValueError: `bits` is another number, or so many codes do not take so many bytes.

    Example:
      >>> unpack(jnp.array([49, 2], jnp.uint8), 4, 3)
      Array([1, 2, 3], dtype=uint8)
    """
    _check_width("unpack", "packed", packed, bits)
    if packed.shape[-1] != packed_length(length, bits):
        raise ValueError(
            f"unpack(packed=..., bits={bits}, length={length}): {packed.shape[-1]} bytes do not "
            f"hold {length} codes, which take {packed_length(length, bits)}."
        )
    return _unpacked(packed, bits, length)


@functools.partial(jax.jit, static_argnums=(1, 2), inline=True)
def _unpacked(packed: Array, bits: int, length: int) -> Array:
    planes = 8 // bits
    mask = jnp.uint8(2**bits - 1)
    whole = gathered_along(packed, -1)
    parts = [(whole >> jnp.uint8(plane * bits)) & mask for plane in range(planes)]
    codes = jnp.concatenate(parts, axis=-1)[..., :length]
    return placed(codes, sharding_of(codes.shape, like=packed))


def packed_length(length: int, bits: int) -> int:
    """Bytes that `length` codes of `bits` bits take along the packed axis."""
    return -(-length * bits // 8)


def _check_width(caller: str, argument: str, x: Array, bits: int) -> None:
    if bits not in WIDTHS:
        raise ValueError(f"{caller}(bits={bits}) must be 1, 2, 4 or 8.")
    if x.dtype != np.uint8:
        raise TypeError(f"{caller}({argument}=...) of dtype {x.dtype} must be uint8.")
