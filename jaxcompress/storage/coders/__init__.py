"""Coders: words to bytes and back, bit for bit; each array is stored by the smallest.

A new coder is one file here, a line in `CODERS`, a row in the test table and a file
in the fuzzer's.
"""

from jaxcompress.core.messages import shown
from jaxcompress.storage.coders.bitmask import bitmask as bitmask
from jaxcompress.storage.coders.coder import Coder as Coder
from jaxcompress.storage.coders.plain import plain as plain
from jaxcompress.storage.coders.words import Words
from jaxcompress.storage.container.errors import FileError

CODERS = (plain, bitmask)
"""What files may hold; the earlier wins where two are equally small."""


def smallest(words: Words) -> tuple[Coder, int]:
    """The coder that takes the fewest bytes for these words, and the bytes."""
    sizes = [coder.size_bytes(words) for coder in CODERS]
    least = min(range(len(CODERS)), key=sizes.__getitem__)
    return CODERS[least], sizes[least]


def coder_named(name: str, version: int) -> Coder:
    """The coder that files call by this name and version.

    Raises:
      FileError: there is none.
    """
    for coder in CODERS:
        if (coder.name, coder.version) == (name, version):
            return coder
    known = ", ".join(f"{coder.name} {coder.version}" for coder in CODERS)
    raise FileError(
        f"there is no coder {shown(name)} of version {version}, only {known}. Update jaxcompress."
    )
