"""The smallest of some coders for words that are at hand."""

from collections.abc import Sequence

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.plain import plain
from jaxcompress.storage.coders.words import Words


def smallest(words: Words, coders: Sequence[Coder]) -> tuple[Coder, int]:
    """The coder that takes the fewest bytes for these words, and the bytes.

    Args:
      words: to be stored.
      coders: the allowed ones beside `plain`; the earlier wins where two are equally
        small.
    """
    chosen, size_bytes = plain, plain.size_bytes(words)
    for coder in coders:
        # What cannot be smaller is not tried.
        if coder.fits(words.layout) and coder.least_bytes(words.layout) < size_bytes:
            found = coder.size_bytes(words)
            chosen, size_bytes = (coder, found) if found < size_bytes else (chosen, size_bytes)
    return chosen, size_bytes
