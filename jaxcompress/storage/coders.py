"""Coders: words to bytes and back, bit for bit; each leaf is stored by the smallest.

A new coder is a pair of functions, a line in `CODERS` and a row in the test table.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.words import Words, bytes_to_words, word_dtype, words_to_bytes


class Coder(NamedTuple):
    """A way to write words down.

    Fields:
      name: what files call it.
      encode: words -> (m,) uint8, all that decoding needs beside size, bits and zero.
      decode: (coded (m,) uint8, size, bits, zero) -> (size,) unsigned values; a
        ValueError where `coded` cannot be what `encode` gave.
    """

    name: str
    encode: Callable[[Words], np.ndarray]
    decode: Callable[[np.ndarray, int, int, np.ndarray], np.ndarray]


def _plain_encode(words: Words) -> np.ndarray:
    return words_to_bytes(words.values, words.bits)


def _plain_decode(coded: np.ndarray, size: int, bits: int, zero: np.ndarray) -> np.ndarray:
    del zero
    return bytes_to_words(coded, bits, size)


plain = Coder("plain", _plain_encode, _plain_decode)
"""Every word in its own number of bits: n · bits / 8 bytes."""


def _bitmask_encode(words: Words) -> np.ndarray:
    present = words.values != words.zero
    mask = np.packbits(present, bitorder="little")
    return np.concatenate([mask, words_to_bytes(words.values[present], words.bits)])


def _bitmask_decode(coded: np.ndarray, size: int, bits: int, zero: np.ndarray) -> np.ndarray:
    mask, others = np.split(coded, [-(-size // 8)])
    if mask.size != -(-size // 8):
        raise ValueError(f"a mask of {size} entries does not lie in {mask.size} bytes")
    present = np.unpackbits(mask, count=size, bitorder="little").view(bool)
    values = np.full(size, zero, word_dtype(bits))
    values[present] = bytes_to_words(others, bits, int(np.count_nonzero(present)))
    return values


bitmask = Coder("bitmask", _bitmask_encode, _bitmask_decode)
"""One bit per entry, then the words that are not zero: pruning saves bytes.

n / 8 + (1 - sparsity) · n · bits / 8 bytes: smaller than `plain` where the sparsity is
above 1 / bits.
"""

CODERS = (plain, bitmask)
"""What files may hold; the earlier wins where two are equally small."""


def coder_named(name: str) -> Coder:
    """The coder that files call `name`.

    Raises:
      ValueError: there is none.
    """
    for coder in CODERS:
        if coder.name == name:
            return coder
    raise ValueError(f"there is no coder {name!r}, only {', '.join(c.name for c in CODERS)}")
