"""Canonical Huffman codes of words, in many lanes at once."""

import heapq

import numpy as np

from jaxcompress.storage.coders import lanes
from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.frequencies import counted
from jaxcompress.storage.coders.words import Layout, Words, bytes_to_words, words_to_bytes
from jaxcompress.storage.container.errors import FileError, contradiction

_LONGEST = 15
"""Bits of a code, so that a length takes half a byte and all codes are looked up."""

_BLOCK = 1 << 18
"""Words whose bits are laid out at once."""


def _table_bytes(bits: int) -> int:
    return max(1, 2**bits // 2)


def _least_bytes(layout: Layout) -> int:
    if not layout.size:
        return 0
    return 1 + _table_bytes(layout.bits) + 4 * lanes.fewest(layout.size) + -(-layout.size // 8)


def lengths_of(counts: np.ndarray) -> np.ndarray:
    """The bits of each word's code, (n,) uint8; 0 of a word that does not occur.

    The least total for these counts, but for words rarer than 1 in 2**15, whose codes
    would be longer: counts are halved until they are not.
    """
    while True:
        heap = [(int(count), i, [i]) for i, count in enumerate(counts) if count]
        lengths = np.zeros(counts.size, np.uint8)
        if len(heap) == 1:
            lengths[heap[0][1]] = 1
        heapq.heapify(heap)
        while len(heap) > 1:
            first, second = heapq.heappop(heap), heapq.heappop(heap)
            together = first[2] + second[2]
            lengths[together] += 1
            heapq.heappush(heap, (first[0] + second[0], first[1], together))
        if lengths.max(initial=0) <= _LONGEST:
            return lengths
        counts = np.where(counts > 0, counts // 2 + 1, 0)


def _codes(lengths: np.ndarray) -> np.ndarray:
    """The canonical codes, the first bit lowest, (n,) int64.

    Shorter ones come first, of one length in the order of words.
    """
    codes, code, before = np.zeros(lengths.size, np.int64), 0, 0
    for i in np.argsort(lengths, kind="stable"):
        length = int(lengths[i])
        if length:
            code <<= length - before
            codes[i] = int(f"{code:0{length}b}"[::-1], 2)
            code, before = code + 1, length
    return codes


def _encode(words: Words) -> np.ndarray:
    values, size = words.values, words.values.size
    if not size:
        return np.zeros(0, np.uint8)
    counts = counted(values, words.bits)
    lengths = lengths_of(counts)
    count = lanes.affordable(size, float(np.dot(counts, lengths)))
    table = words_to_bytes(lengths, 4)
    ends, stream = _laid_out(values, lengths, count)
    first = np.array([count.bit_length() - 1], np.uint8)
    return np.concatenate([first, table, ends.astype("<u4").view(np.uint8), stream])


def _laid_out(values: np.ndarray, lengths: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Bits of each lane, and the codes of all lanes one after the other as bytes."""
    codes, longest = _codes(lengths), int(lengths.max())
    in_lanes = [values[lane::count] for lane in range(count)]
    ends = np.array([int(lengths[some].sum(dtype=np.int64)) for some in in_lanes])
    ordered, total = np.concatenate(in_lanes), int(ends.sum())
    bits, begin = np.zeros(total, np.uint8), 0
    for start in range(0, ordered.size, _BLOCK):
        some = ordered[start : start + _BLOCK]
        length, code = lengths[some].astype(np.int64), codes[some]
        places = begin + np.cumsum(length) - length
        for i in range(longest):
            there = length > i
            bits[places[there] + i] = code[there] >> i & 1
        begin += int(length.sum())
    return ends, np.packbits(bits, bitorder="little")


def _decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
    size = layout.size
    misfit = contradiction(f"{size} words do not fit {coded.size} bytes")
    if coded.size < _least_bytes(layout) or (coded.size and not size):
        raise misfit
    if not size:
        return np.zeros(0, np.uint8)
    count, table = 1 << min(int(coded[0]), 62), _table_bytes(layout.bits)
    if not lanes.are_possible(count, size):
        raise contradiction(f"{count} lanes for {size} words")
    lengths = bytes_to_words(coded[1 : 1 + table], 2**layout.bits, 4)
    rest = coded[1 + table :]
    if rest.size < 4 * count:
        raise misfit
    ends = np.cumsum(rest[: 4 * count].view("<u4").astype(np.int64))
    stream = rest[4 * count :]
    if -(-int(ends[-1]) // 8) != stream.size:
        raise misfit
    return _looked_up(stream, ends, lengths, size, misfit)


def _lookup(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The word and the bits of the code that begins each window, and a window's bits.

    Raises:
      FileError: the lengths are not those of a code that is complete.
    """
    present = lengths > 0
    window = int(lengths.max())
    shares = int(np.sum(1 << (window - lengths[present].astype(np.int64))))
    if shares != 1 << window and not (window == 1 and shares == 1):
        raise contradiction("the lengths of its Huffman codes do not sum to 1")
    words, taken = np.zeros(1 << window, np.uint8), np.ones(1 << window, np.uint8)
    codes = _codes(lengths)
    for i in np.flatnonzero(present):
        words[codes[i] :: 1 << int(lengths[i])] = i
        taken[codes[i] :: 1 << int(lengths[i])] = lengths[i]
    return words, taken, window


def _looked_up(
    stream: np.ndarray, ends: np.ndarray, lengths: np.ndarray, size: int, misfit: FileError
) -> np.ndarray:
    words, taken, window = _lookup(lengths)
    padded = np.concatenate([stream, np.zeros(4, np.uint8)])
    places, values = np.concatenate([[0], ends[:-1]]), np.empty(size, np.uint8)
    last, mask = stream.size, (1 << window) - 1
    for begin in range(0, size, ends.size):
        some = values[begin : begin + ends.size]
        place = places[: some.size]
        byte = np.minimum(place >> 3, last)  # beyond the end only where it is no such stream
        bits = padded[byte].astype(np.int64)
        bits |= padded[byte + 1].astype(np.int64) << 8
        bits |= padded[byte + 2].astype(np.int64) << 16
        index = bits >> (place & 7) & mask
        np.take(words, index, out=some, mode="clip")
        place += taken[index]
    if np.any(places != ends):
        raise misfit
    return values


huffman: Coder = Coder(
    name="huffman",
    version=1,
    fits=lambda layout: layout.bits <= 8,
    least_bytes=_least_bytes,
    size_bytes=lambda words: _encode(words).size,
    encode=_encode,
    decode=_decode,
)
"""A whole number of bits for each word, at least one, fewer where it is frequent.

Of use beside published figures; `rans` is smaller. Also known as: canonical Huffman
coding, the third stage of Deep Compression.

Source: Huffman 1952, "A Method for the Construction of Minimum-Redundancy Codes"; Han,
Mao and Dally 2016, arXiv:1510.00149, section 4. Differs: codes are canonical and have
at most 15 bits, and lie in lanes.
"""
