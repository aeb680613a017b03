"""One bit per word says whether it is zero; only the others follow."""

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.words import (
    Layout,
    Words,
    bytes_to_words,
    packed_bytes,
    word_dtype,
    words_to_bytes,
)
from jaxcompress.storage.container.errors import contradiction


def _least_bytes(layout: Layout) -> int:
    return packed_bytes(layout.size, 1)  # no word may follow


def _size_bytes(words: Words) -> int:
    # A comparison and a count of bools are vectorized; counting wide integers is not.
    present = int(np.count_nonzero(words.values != 0))
    return packed_bytes(words.values.size, 1) + packed_bytes(present, words.bits)


def _encode(words: Words) -> np.ndarray:
    present = words.values != 0
    others = words_to_bytes(words.values[present], words.bits)
    return np.concatenate([np.packbits(present, bitorder="little"), others])


def _decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
    size, bits = layout.size, layout.bits
    length = packed_bytes(size, 1)
    if coded.size < length:
        raise contradiction(f"a mask of {size} entries does not fit {coded.size} bytes")
    present = np.unpackbits(coded[:length], count=size, bitorder="little").view(bool)
    others = bytes_to_words(coded[length:], int(np.count_nonzero(present)), bits)
    values = np.zeros(size, word_dtype(bits))
    values[present] = others
    return values


bitmask: Coder = Coder(
    "bitmask", 1, lambda layout: True, _least_bytes, _size_bytes, _encode, _decode
)
"""One bit per entry, then the words that are not zero: pruning saves bytes.

n / 8 + (1 - sparsity) · n · bits / 8 bytes: smaller than `plain` where the sparsity is
above 1 / bits.
"""
