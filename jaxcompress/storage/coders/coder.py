"""The interface of coders: words to bytes and back, bit for bit."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.words import Layout, Words


class Coder(NamedTuple):
    """A lossless code of words.

    Invariants:
      - `decode(encode(words), words.layout)` gives the values again, bit for bit, on
        every machine: whatever decoding depends on is integer arithmetic. A stream that
        ends early or goes on is refused.
      - `decode` allocates nothing that `coded` has not shown to be there, and then at
        most three times the coded and the decoded bytes; its time is linear in both.
      - A change of what `encode` writes is a new version; old versions keep decoding.

    Attributes:
      name: what files call it.
      version: of the bytes it writes, from 1 on.
      fits: layout -> whether it codes such words; it is not asked about others.
      least_bytes: layout -> the fewest bytes that `encode` may give for such words; a
        header that claims fewer is refused before anything is decoded.
      size_bytes: words -> how many bytes `encode` gives.
      encode: words -> (m,) uint8, all that decoding needs beside the layout.
      decode: (coded (m,) uint8, layout) -> (layout.size,) unsigned values; a FileError
        where `coded` cannot be what `encode` gave.
    """

    name: str
    version: int
    fits: Callable[[Layout], bool]
    least_bytes: Callable[[Layout], int]
    size_bytes: Callable[[Words], int]
    encode: Callable[[Words], np.ndarray]
    decode: Callable[[np.ndarray, Layout], np.ndarray]
