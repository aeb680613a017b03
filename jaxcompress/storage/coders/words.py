"""Words of a few bits, and words as bytes.

In NumPy throughout: eager JAX compiles once per shape, and a file should decode at once
in a fresh process.
"""

import math
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.container.errors import contradiction

WIDTHS = (*range(1, 9), 16, 32, 64)
"""Bits that a word may have."""


class Layout(NamedTuple):
    """What is known of words before they are decoded.

    Attributes:
      bits: of each word, one of `WIDTHS`.
      shape: of the array; of complex numbers with a last axis of 2.
      inputs_last: the last axis is a layer's inputs and the one before it the outputs,
        as codes are stored; otherwise the other way round, as in kernels of Flax.
    """

    bits: int
    shape: tuple[int, ...]
    inputs_last: bool = False

    @property
    def size(self) -> int:
        """How many words."""
        return math.prod(self.shape)


class Words(NamedTuple):
    """What a coder codes.

    Attributes:
      values: (n,) unsigned integers below 2**bits, of `word_dtype(bits)`; the exact
        bits of each number. Exactly zero is the word 0, so that -0.0 and NaN are other
        words, and a quantized weight that is 0 is the word 0 too.
      layout: of the array that they are, in row-major order.
    """

    values: np.ndarray
    layout: Layout

    @property
    def bits(self) -> int:
        """Of each word."""
        return self.layout.bits


def word_dtype(bits: int) -> np.dtype:
    """The unsigned dtype that holds one word."""
    return np.dtype(f"<u{max(bits, 8) // 8}")


def packed_bytes(size: int, bits: int) -> int:
    """Bytes that `size` words of so many bits take side by side."""
    return -(-size * bits // 8)


def words_to_bytes(values: np.ndarray, bits: int) -> np.ndarray:
    """Words side by side, each in its own number of bits.

    Word i fills the bits i · bits and following of the bytes, counted from the lowest
    bit of the first byte. What is left of the last byte is 0.

    Returns:
      (ceil(n · bits / 8),) uint8.

    Example:
      >>> words_to_bytes(np.array([1, 2, 7], np.uint8), 3)
      array([209,   1], dtype=uint8)
    """
    if bits % 8 == 0:
        return values.view(np.uint8)
    if bits == 1:
        return np.packbits(values, bitorder="little")
    group, whole, dtype = _group(bits)
    padded = values
    if values.size % group:
        padded = np.pad(values, (0, -values.size % group))
    # One number of `group` bytes holds a word in each byte; its words move together.
    apart = padded.view(dtype)
    joined = apart & dtype.type(_ones(bits, 0))
    for i in range(1, group):
        joined |= (apart >> dtype.type(i * (8 - bits))) & dtype.type(_ones(bits, i * bits))
    if whole == 1:
        return joined.astype(np.uint8)
    filled = joined.view(np.uint8).reshape(-1, group)[:, :whole]  # (groups, whole bytes)
    return np.ascontiguousarray(filled).reshape(-1)[: packed_bytes(values.size, bits)]


def bytes_to_words(packed: np.ndarray, size: int, bits: int) -> np.ndarray:
    """The values of the words that `words_to_bytes` put into bytes.

    Raises:
      FileError: `packed` is not as long as `size` words are.
    """
    if packed.size != packed_bytes(size, bits):
        raise contradiction(f"{size} words of {bits} bits do not fit {packed.size} bytes")
    if bits % 8 == 0:
        return packed.view(word_dtype(bits))
    if bits == 1:
        return np.unpackbits(packed, count=size, bitorder="little")
    group, whole, dtype = _group(bits)
    joined = _widened(packed, whole, dtype)
    apart = joined & dtype.type(_ones(bits, 0))
    for i in range(1, group):
        apart |= (joined & dtype.type(_ones(bits, i * bits))) << dtype.type(i * (8 - bits))
    return apart.view(np.uint8)[:size]


def _widened(packed: np.ndarray, whole: int, dtype: np.dtype) -> np.ndarray:
    """Every `whole` bytes as one number of a wider dtype, the last filled up with 0."""
    if whole == 1:
        return packed.astype(dtype)
    rows = -(-packed.size // whole)
    padded = np.zeros(rows * whole, np.uint8)
    padded[: packed.size] = packed
    widened = np.zeros((rows, dtype.itemsize), np.uint8)
    widened[:, :whole] = padded.reshape(rows, whole)
    return widened.view(dtype)[:, 0]


def _group(bits: int) -> tuple[int, int, np.dtype]:
    """The fewest words that fill whole bytes, these bytes, and a byte for each word."""
    group = 8 // math.gcd(bits, 8)
    return group, group * bits // 8, np.dtype(f"<u{group}")


def _ones(bits: int, begin: int) -> int:
    """So many bits that are set, from this one on."""
    return (2**bits - 1) << begin
