"""Which coders files may hold, and sets of them."""

from collections.abc import Iterable

import jax

from jaxcompress.core.messages import shown
from jaxcompress.storage.coders.bitmask import bitmask
from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.context import context
from jaxcompress.storage.coders.gaps import gaps
from jaxcompress.storage.coders.huffman import huffman
from jaxcompress.storage.coders.lines import lines
from jaxcompress.storage.coders.plain import plain
from jaxcompress.storage.coders.planes import context_planes, planes
from jaxcompress.storage.coders.rans import rans
from jaxcompress.storage.coders.runs import runs
from jaxcompress.storage.coders.trellis import trellis
from jaxcompress.storage.container.errors import FileError

CODERS = (
    *(plain, bitmask, rans, context, planes, context_planes, huffman, gaps, runs, lines),
    trellis,
)
"""What files may hold; the earlier wins where two are equally small."""

FAST = (plain, bitmask)
"""Decoded as fast as memory is copied."""

BALANCED = (*FAST, rans, planes, runs, lines)
"""Decoded at 20 million words a second or more, where an array is large."""

SMALLEST = CODERS
"""All, of which some take a microsecond or more for each word, both ways."""


def checked_coders(caller: str, coders: Iterable[Coder]) -> tuple[Coder, ...]:
    """The coders that a caller allows, in the order of `CODERS`, `plain` among them.

    Raises:
      TypeError: one is no coder that files may hold.
    """
    known = ", ".join(coder.name for coder in CODERS)
    mend = f"Pass storage.coders.FAST, BALANCED, SMALLEST or some of {known}."
    if not isinstance(coders, Iterable) or isinstance(coders, Coder | str | jax.Array):
        raise TypeError(f"{caller}(coders={shown(coders)}) must be a tuple of coders. {mend}")
    allowed = (plain, *coders)
    for coder in allowed:
        if not isinstance(coder, Coder) or coder not in CODERS:
            raise TypeError(
                f"{caller}(coders=...) has {shown(coder)}, which is no coder that files may hold. "
                f"{mend}"
            )
    return tuple(coder for coder in CODERS if coder in allowed)


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
