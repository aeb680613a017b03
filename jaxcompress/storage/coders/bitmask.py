"""One bit per word says whether it is zero; only the others follow."""

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.words import Words, bytes_to_words, word_dtype, words_to_bytes


def _encode(words: Words) -> np.ndarray:
    present = words.values != words.zero
    mask = np.packbits(present, bitorder="little")
    return np.concatenate([mask, words_to_bytes(words.values[present], words.bits)])


def _decode(coded: np.ndarray, size: int, bits: int, zero: np.ndarray) -> np.ndarray:
    mask, others = np.split(coded, [-(-size // 8)])
    if mask.size != -(-size // 8):
        raise ValueError(f"a mask of {size} entries does not lie in {mask.size} bytes")
    present = np.unpackbits(mask, count=size, bitorder="little").view(bool)
    values = np.full(size, zero, word_dtype(bits))
    values[present] = bytes_to_words(others, bits, int(np.count_nonzero(present)))
    return values


bitmask = Coder("bitmask", _encode, _decode)
"""One bit per entry, then the words that are not zero: pruning saves bytes.

n / 8 + (1 - sparsity) · n · bits / 8 bytes: smaller than `plain` where the sparsity is
above 1 / bits.
"""
