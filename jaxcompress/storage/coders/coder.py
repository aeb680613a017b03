"""The interface of coders: words to bytes and back, bit for bit."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.words import Words


class Coder(NamedTuple):
    """A lossless code of words.

    Invariants:
      - `decode(encode(words), words.values.size, words.bits)` gives the values again,
        bit for bit, on every machine, and no other bytes are longer or shorter.
      - `decode` allocates nothing that `coded` has not shown to be there, and then at
        most three times the coded and the decoded bytes; its time is linear in both.
      - A change of what `encode` writes is a new version; old versions keep decoding.

    Attributes:
      name: what files call it.
      version: of the bytes it writes, from 1 on.
      least_bytes: (size, bits) -> the fewest bytes that `encode` may give for so many
        words; a header that claims fewer is refused before anything is decoded.
      size_bytes: words -> how many bytes `encode` gives, found without writing them.
      encode: words -> (m,) uint8, all that decoding needs beside size and bits.
      decode: (coded (m,) uint8, size, bits) -> (size,) unsigned values; a FileError
        where `coded` cannot be what `encode` gave.
    """

    name: str
    version: int
    least_bytes: Callable[[int, int], int]
    size_bytes: Callable[[Words], int]
    encode: Callable[[Words], np.ndarray]
    decode: Callable[[np.ndarray, int, int], np.ndarray]
