"""Coders: words to bytes and back, bit for bit; each leaf is stored by the smallest.

A new coder is one file here, a line in `CODERS` and a row in the test table.
"""

from jaxcompress.storage.coders.bitmask import bitmask as bitmask
from jaxcompress.storage.coders.coder import Coder as Coder
from jaxcompress.storage.coders.plain import plain as plain

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
