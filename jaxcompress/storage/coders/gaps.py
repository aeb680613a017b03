"""Words that are not zero, each with how many zeros come before it."""

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.huffman import huffman
from jaxcompress.storage.coders.pieces import from_varint, read, varint, written
from jaxcompress.storage.coders.words import Layout, Words, word_dtype
from jaxcompress.storage.container.errors import contradiction

_WIDTHS = range(2, 9)
"""Bits of a gap that are tried."""

_CODERS = (huffman,)
"""Of gaps and of words, beside `plain`."""

_BLOCK = 1 << 16
"""Entries that are put in their places at once."""


def _least_bytes(layout: Layout) -> int:
    # Of 256 words one at least has an entry, whose two codes take a bit each.
    return max(4, layout.size // 256 // 4) if layout.size else 0


def entries(words: Words, bits: int) -> tuple[Words, Words]:
    """Gaps of so many bits and the words after them.

    A gap that does not fit is broken by words that are 0, each after 2**bits - 1 zeros;
    so are the zeros behind the last word, down to what fits a gap.
    """
    places = np.flatnonzero(words.values != 0)
    gaps = np.diff(places, prepend=-1) - 1
    behind = words.values.size - 1 - (int(places[-1]) if places.size else -1)
    fillers = np.append(gaps >> bits, behind >> bits)
    ends = np.cumsum(fillers[:-1] + 1) - 1  # where the words themselves go
    count = int(fillers.sum()) + places.size
    found = np.full(count, 2**bits - 1, np.uint8)
    found[ends] = gaps & (2**bits - 1)
    coded = np.zeros(count, words.values.dtype)
    coded[ends] = words.values[places]
    return Words(found, Layout(bits, (count,))), Words(coded, Layout(words.bits, (count,)))


def _written(words: Words, bits: int) -> bytes:
    found = entries(words, bits)
    pieces = [piece for part in found for piece in written(part, _CODERS)]
    return b"".join([bytes([bits]), varint(found[0].values.size), *pieces])


def _encode(words: Words) -> np.ndarray:
    if not words.values.size:
        return np.zeros(0, np.uint8)
    return np.frombuffer(min((_written(words, bits) for bits in _WIDTHS), key=len), np.uint8)


def _decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
    size = layout.size
    misfit = contradiction(f"{size} words do not fit {coded.size} bytes")
    if coded.size < _least_bytes(layout) or (coded.size and not size):
        raise misfit
    if not size:
        return np.zeros(0, word_dtype(layout.bits))
    bits = int(coded[0])
    count, length = from_varint(coded[1:10].tobytes())
    if bits not in _WIDTHS or not length or count > size:
        raise misfit
    gaps = read(coded, Layout(bits, (count,)), _CODERS, 1 + length)
    found = read(coded, Layout(layout.bits, (count,)), _CODERS, gaps.end)
    values, end = np.zeros(size, word_dtype(layout.bits)), -1
    for begin in range(0, count, _BLOCK):
        some = slice(begin, begin + _BLOCK)
        places = end + np.cumsum(gaps.values[some].astype(np.int64) + 1)
        end = int(places[-1])
        if end >= size:
            raise misfit
        values[places] = found.values[some]
    if found.end != coded.size or size - 1 - end >= 2**bits:
        raise misfit
    return values


gaps: Coder = Coder(
    name="gaps",
    version=1,
    fits=lambda layout: True,
    least_bytes=_least_bytes,
    size_bytes=lambda words: _encode(words).size,
    encode=_encode,
    decode=_decode,
)
"""The words that are not zero and the zeros before each, both by `huffman`.

Of use beside published figures; `rans` and `context` are smaller. Also known as:
relative indices, run lengths of zeros, the sparse format of Deep Compression.

Source: Han, Mao and Dally 2016, arXiv:1510.00149, sections 2 and 4. Differs: the bits
of a gap are those, of 2 to 8, that make the array smallest, and not 5 or 8.
"""
