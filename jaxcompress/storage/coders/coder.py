"""What a coder is: words to bytes and back, bit for bit."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.words import Words


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
