"""Numbers as bits: fields of any width side by side, and unary codes."""

from collections.abc import Iterable, Iterator

import numpy as np

from jaxcompress.storage.coders.words import bytes_to_words, packed_bytes, words_to_bytes
from jaxcompress.storage.container.errors import FileError

_BLOCK = 1 << 13
"""Bytes of unary codes that are read at once."""


def field_bytes(size: int, bits: int) -> int:
    """Bytes that `fields_to_bytes` gives for so many numbers."""
    whole, rest = divmod(bits, 8)
    return whole * size + packed_bytes(size, rest)


def fields_to_bytes(values: np.ndarray, bits: int) -> bytes:
    """Numbers as planes of bytes, the lowest first, and then the bits above these.

    Args:
      values: (n,) int64 below 2**bits.
      bits: 0 to 63.

    Example:
      >>> list(fields_to_bytes(np.array([1, 515]), 10))
      [1, 3, 8]
    """
    whole, rest = divmod(bits, 8)
    planes = [(values >> 8 * i).astype(np.uint8).tobytes() for i in range(whole)]
    above = (values >> 8 * whole).astype(np.uint8)
    return b"".join([*planes, words_to_bytes(above, rest).tobytes() if rest else b""])


def bytes_to_fields(coded: np.ndarray, size: int, bits: int) -> np.ndarray:
    """The opposite of `fields_to_bytes`, (size,) of the narrowest unsigned dtype.

    Args:
      coded: uint8, `field_bytes(size, bits)` of them.
      size: how many numbers.
      bits: of each.
    """
    whole, rest = divmod(bits, 8)
    dtype = np.min_scalar_type((1 << bits) - 1)
    values = np.zeros(size, dtype)
    if rest:
        values |= bytes_to_words(coded[whole * size :], size, rest)
    for i in range(whole - 1, -1, -1):
        if i < whole - 1 or rest:
            values <<= dtype.type(8)
        values |= coded[i * size : (i + 1) * size]
    return values


def unary_bytes(size: int, total: int) -> int:
    """Bytes of the unary codes of so many numbers with this sum."""
    return packed_bytes(size + total, 1)


def to_unary(values: np.ndarray) -> bytes:
    """Each number as so many zeros and a one, the first in the lowest bit.

    Example:
      >>> to_unary(np.array([0, 2, 1]))
      b')'
    """
    ends = np.cumsum(values + 1) - 1
    bits = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.uint8)
    bits[ends] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def from_unary(coded: np.ndarray, counts: Iterable[int], misfit: FileError) -> Iterator[np.ndarray]:
    """The numbers of unary codes, so many at a time, (count,) int64 each.

    Args:
      coded: uint8, what `to_unary` gave for all of them.
      counts: of the numbers to give at once.
      misfit: raised where the bytes end early, or go on after the last number.
    """
    ends, begin, before = np.zeros(0, np.int64), 0, -1
    for count in counts:
        while ends.size < count:
            if begin >= coded.size:
                raise misfit
            ones = np.unpackbits(coded[begin : begin + _BLOCK], bitorder="little").view(bool)
            ends = np.concatenate([ends, np.flatnonzero(ones) + 8 * begin])
            begin += _BLOCK
        some, ends = ends[:count], ends[count:]
        yield np.diff(some, prepend=before) - 1
        before = int(some[-1]) if count else before
    if ends.size or packed_bytes(before + 1, 1) != coded.size:
        raise misfit
