"""Words one after the other, each in its own number of bits."""

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.words import Words, bytes_to_words, words_to_bytes


def _encode(words: Words) -> np.ndarray:
    return words_to_bytes(words.values, words.bits)


def _decode(coded: np.ndarray, size: int, bits: int, zero: np.ndarray) -> np.ndarray:
    del zero
    return bytes_to_words(coded, bits, size)


plain = Coder("plain", _encode, _decode)
"""Every word in its own number of bits: n · bits / 8 bytes."""
