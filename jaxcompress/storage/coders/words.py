"""The numbers of a leaf as unsigned words of a few bits, and words as bytes.

In NumPy throughout: eager JAX compiles once per shape, and a file should decode at once
in a fresh process.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import ml_dtypes
import numpy as np


class Words(NamedTuple):
    """What a coder codes.

    Fields:
      values: (n,) unsigned integers below 2**bits; the exact bits of each number.
      zero: the word that stands for exactly zero, () or one per entry, of the values'
        dtype. For floats all bits are zero in it, so that -0.0 and NaN are other words.
      bits: 1, 2, 4, 8, 16, 32 or 64.
    """

    values: np.ndarray
    zero: np.ndarray
    bits: int


WORD_BITS: Mapping[str, int] = MappingProxyType(
    {
        "bool": 1,
        **dict.fromkeys(("int2", "uint2"), 2),
        **dict.fromkeys(("int4", "uint4", "float4_e2m1fn"), 4),
        **dict.fromkeys(("int8", "uint8", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz"), 8),
        **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"), 8),
        "float8_e8m0fnu": 8,
        **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
        **dict.fromkeys(("int32", "uint32", "float32", "complex64"), 32),
        **dict.fromkeys(("int64", "uint64", "float64", "complex128"), 64),
    }
)
"""Bits of one word of every dtype that can be stored; a complex number is two words."""


def array_words(x: np.ndarray) -> Words:
    """The words of an array of a dtype in `WORD_BITS`.

    Example:
      >>> array_words(np.array([0.0, -0.0], np.float16)).values
      array([    0, 32768], dtype=uint16)
    """
    bits = WORD_BITS[x.dtype.name]
    values = np.ascontiguousarray(x).reshape(-1).view(word_dtype(bits))
    if bits < 8:  # the byte of a narrow number may carry its sign in the unused bits
        values = values & np.uint8(2**bits - 1)
    return Words(values, np.zeros((), values.dtype), bits)


def word_count(dtype: np.dtype, size: int) -> int:
    """Words of an array of `size` numbers."""
    return size * (2 if dtype.kind == "c" else 1)


def word_dtype(bits: int) -> np.dtype:
    """The unsigned dtype that holds one word."""
    return np.dtype(f"<u{max(bits, 8) // 8}")


def words_to_bytes(values: np.ndarray, bits: int) -> np.ndarray:
    """Words in as few bytes as they need, (ceil(n · bits / 8),) uint8."""
    return pack(values, bits) if bits < 8 else values.view(np.uint8)


def bytes_to_words(packed: np.ndarray, bits: int, size: int) -> np.ndarray:
    """The words that `words_to_bytes` put into bytes.

    Raises:
      ValueError: `packed` is not as long as `size` words are.
    """
    if packed.size != -(-size * bits // 8):
        raise ValueError(f"{size} words of {bits} bits do not lie in {packed.size} bytes")
    return unpack(packed, bits, size) if bits < 8 else packed.view(word_dtype(bits))


def pack(values: np.ndarray, bits: int) -> np.ndarray:
    """`core.packing.pack` in NumPy, bit for bit: planes along the last axis."""
    planes = 8 // bits
    length = -(-values.shape[-1] * bits // 8)
    padding = [(0, 0)] * (values.ndim - 1) + [(0, planes * length - values.shape[-1])]
    split = np.pad(values, padding).reshape(*values.shape[:-1], planes, length)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    return np.bitwise_or.reduce(split << shifts, axis=-2)


def unpack(packed: np.ndarray, bits: int, length: int) -> np.ndarray:
    """`core.packing.unpack` in NumPy, bit for bit."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    split = (packed[..., None, :] >> shifts) & np.uint8(2**bits - 1)
    *lead, planes, packed_length = split.shape
    return split.reshape(*lead, planes * packed_length)[..., :length]


def known_dtype(name: str) -> np.dtype:
    """The dtype of a name in `WORD_BITS`.

    Raises:
      ValueError: the name is another.
    """
    if name not in WORD_BITS:
        raise ValueError(f"{name!r} is no dtype that can be stored")
    return np.dtype(getattr(ml_dtypes, name, name))
