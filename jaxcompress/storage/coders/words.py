"""Words of a few bits, and words as bytes.

In NumPy throughout: eager JAX compiles once per shape, and a file should decode at once
in a fresh process.
"""

import math
from typing import NamedTuple

import numpy as np


class Words(NamedTuple):
    """What a coder codes.

    Fields:
      values: (n,) unsigned integers below 2**bits, of `word_dtype(bits)`; the exact
        bits of each number. Exactly zero is the word 0, so that -0.0 and NaN are other
        words, and a quantized weight that is 0 is the word 0 too.
      bits: 1 to 8, 16, 32 or 64.
    """

    values: np.ndarray
    bits: int


def word_dtype(bits: int) -> np.dtype:
    """The unsigned dtype that holds one word."""
    return np.dtype(f"<u{max(bits, 8) // 8}")


def packed_bytes(size: int, bits: int) -> int:
    """Bytes that `size` words of so many bits take side by side."""
    return -(-size * bits // 8)


def words_to_bytes(words: Words) -> np.ndarray:
    """Words side by side, each in its own number of bits.

    Word i fills the bits i · bits and following of the bytes, counted from the lowest
    bit of the first byte. What is left of the last byte is 0.

    Returns:
      (ceil(n · bits / 8),) uint8.

    Example:
      >>> words_to_bytes(Words(np.array([1, 2, 7], np.uint8), 3))
      array([209,   1], dtype=uint8)
    """
    values, bits = words
    if bits % 8 == 0:
        return values.view(np.uint8)
    if bits == 1:
        return np.packbits(values, bitorder="little")
    group, whole, dtype = _group(bits)
    padded = np.zeros(-(-values.size // group) * group, np.uint8)
    padded[: values.size] = values
    columns = padded.reshape(-1, group)  # words that fill `whole` bytes together
    joined = np.zeros(len(columns), dtype)
    for i in range(group):
        joined |= columns[:, i].astype(dtype) << dtype.type(i * bits)
    # (groups, bytes of the dtype): little-endian, so that the first bytes are filled.
    filled = joined.view(np.uint8).reshape(-1, dtype.itemsize)[:, :whole]
    return filled.reshape(-1)[: packed_bytes(values.size, bits)]


def bytes_to_words(packed: np.ndarray, size: int, bits: int) -> np.ndarray:
    """The values of the words that `words_to_bytes` put into bytes.

    Raises:
      ValueError: `packed` is not as long as `size` words are.
    """
    if packed.size != packed_bytes(size, bits):
        raise ValueError(f"{size} words of {bits} bits do not lie in {packed.size} bytes")
    if bits % 8 == 0:
        return packed.view(word_dtype(bits))
    if bits == 1:
        return np.unpackbits(packed, count=size, bitorder="little")
    group, whole, dtype = _group(bits)
    padded = np.zeros(-(-packed.size // whole) * whole, np.uint8)
    padded[: packed.size] = packed
    filled = np.zeros((padded.size // whole, dtype.itemsize), np.uint8)
    filled[:, :whole] = padded.reshape(-1, whole)
    joined = filled.view(dtype)[:, 0]
    values = np.empty((len(joined), group), np.uint8)
    for i in range(group):
        values[:, i] = (joined >> dtype.type(i * bits)) & dtype.type(2**bits - 1)
    return values.reshape(-1)[:size]


def _group(bits: int) -> tuple[int, int, np.dtype]:
    """The fewest words that fill whole bytes, these bytes, and what holds them all."""
    group = 8 // math.gcd(bits, 8)
    whole = group * bits // 8
    return group, whole, np.dtype("u1" if whole == 1 else "<u8")
