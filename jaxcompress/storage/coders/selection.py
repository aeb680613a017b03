"""The smallest of some coders for words that are at hand."""

from collections.abc import Sequence

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.plain import plain
from jaxcompress.storage.coders.words import Words


def sizes(words: Words, coders: Sequence[Coder]) -> dict[Coder, int]:
    """The bytes that these words take by `plain` and by what may be smaller than it.

    Args:
      words: to be stored.
      coders: the allowed ones beside `plain`.
    """
    found = {plain: plain.size_bytes(words)}
    for coder in coders:
        # What cannot be smaller than the smallest so far is not tried.
        if coder.fits(words.layout) and coder.least_bytes(words.layout) < min(found.values()):
            found[coder] = coder.size_bytes(words)
    return found


def smallest(words: Words, coders: Sequence[Coder]) -> tuple[Coder, int]:
    """The coder that takes the fewest bytes for these words, and the bytes.

    Args:
      words: to be stored.
      coders: the allowed ones beside `plain`; the earlier wins where two are equally
        small.
    """
    found = sizes(words, coders)
    chosen = min(found, key=found.__getitem__)
    return chosen, found[chosen]
