"""Asymmetric numeral systems over fixed frequencies, in many lanes at once."""

from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders import few_lanes, lanes
from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.few_lanes import LOWEST
from jaxcompress.storage.coders.frequencies import counted, from_table, normalized, table
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container.errors import FileError, contradiction

_PRECISIONS = (8, 10, 12, 14)
"""Bits of the sum of all frequencies; the smallest stream is taken."""


def _least_bytes(layout: Layout) -> int:
    if not layout.size:
        return 0
    return 1 + 2**layout.bits // 8 + 4 * lanes.fewest(layout.size)


def _cross_entropy(counts: np.ndarray, frequencies: np.ndarray, precision: int) -> float:
    """What words of these counts take under these frequencies."""
    present = counts > 0
    lengths = precision - np.log2(frequencies[present])
    return float(np.sum(counts[present] * lengths))


class _Model(NamedTuple):
    """What words are coded by.

    Attributes:
      bits: that all words and the table take.
      precision: an entry of `_PRECISIONS`.
      frequencies: (2**bits,) int64, whose sum is 2**precision.
    """

    bits: float
    precision: int
    frequencies: np.ndarray


def _model(values: np.ndarray, bits: int) -> _Model:
    """The model of the smallest stream."""
    counts = counted(values, bits)
    distinct, models = int(np.count_nonzero(counts)), []
    for precision in _PRECISIONS:
        if distinct <= 1 << precision:
            frequencies = normalized(counts, precision)
            cost = _cross_entropy(counts, frequencies, precision) + 8 * len(table(frequencies))
            models.append(_Model(cost, precision, frequencies))
    return min(models, key=lambda model: model.bits)


def _encode(words: Words) -> np.ndarray:
    values, size = words.values, words.values.size
    if not size:
        return np.zeros(0, np.uint8)
    cost, precision, frequencies = _model(values, words.bits)
    count = lanes.affordable(size, cost)
    if np.count_nonzero(frequencies) == 1:  # nothing moves
        states, stream = np.full(count, LOWEST), np.zeros(0, np.uint16)
    else:
        states, stream = _pushed(values, frequencies, precision, count)
    first = (count.bit_length() - 1) << 2 | _PRECISIONS.index(precision)
    return np.concatenate(
        [
            np.frombuffer(bytes([first]) + table(frequencies), np.uint8),
            states.astype("<u4").view(np.uint8),
            stream.view(np.uint8),
        ]
    )


def _pushed(
    values: np.ndarray, frequencies: np.ndarray, precision: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """States of all lanes after the last word was pushed, and what they gave away.

    Word i lies in lane i modulo `count`. The last is pushed first, so that a reader
    finds them in order.
    """
    if count <= few_lanes.MOST:
        return few_lanes.pushed(values, frequencies, precision, count)
    begins = (np.cumsum(frequencies) - frequencies).astype(np.int64)
    states, given = np.full(count, LOWEST, np.int64), []
    for begin in range((values.size - 1) // count * count, -1, -count):
        some = values[begin : begin + count]
        state, frequency = states[: some.size], frequencies[some]
        full = np.flatnonzero(state >= frequency << (32 - precision))
        given.append(state[full].astype("<u2"))  # the lower half
        state[full] >>= 16
        quotient = state // frequency
        state += quotient * ((1 << precision) - frequency) + begins[some]
    return states, np.concatenate(given[::-1])


def _decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
    size = layout.size
    misfit = contradiction(f"{size} words do not fit {coded.size} bytes")
    if coded.size < _least_bytes(layout) or (not size and coded.size):
        raise misfit
    if not size:
        return np.zeros(0, np.uint8)
    first = int(coded[0])
    precision, count = _PRECISIONS[first & 3], 1 << (first >> 2)
    if not lanes.are_possible(count, size):
        raise contradiction(f"{count} lanes for {size} words")
    frequencies, length = from_table(coded[1:], 2**layout.bits, precision)
    rest = coded[1 + length :]
    if rest.size < 4 * count or rest.size % 2:
        raise misfit
    states = rest[: 4 * count].view("<u4").astype(np.uint32)
    if frequencies.max() == 1 << precision:
        if rest.size > 4 * count or np.any(states != LOWEST):
            raise misfit
        return np.full(size, np.argmax(frequencies), np.uint8)
    return _popped(states, rest[4 * count :].view("<u2"), frequencies, size, misfit)


def table_bytes(coded: np.ndarray, layout: Layout) -> int:
    """How many of a stream's bytes are its table of frequencies, and the byte before.

    Raises:
      FileError: there is no such table.
    """
    if not coded.size:
        return 0
    return 1 + from_table(coded[1:], 2**layout.bits, _PRECISIONS[int(coded[0]) & 3])[1]


def _popped(
    states: np.ndarray, stream: np.ndarray, frequencies: np.ndarray, size: int, misfit: FileError
) -> np.ndarray:
    """The words that were pushed; `misfit` is raised where there is no such stream."""
    if states.size <= few_lanes.MOST:
        return few_lanes.popped(states, stream, frequencies, size, misfit)
    symbols = np.repeat(np.arange(frequencies.size, dtype=np.uint8), frequencies)  # (2**precision,)
    frequency_of = frequencies.astype(np.uint32)[symbols]
    begins = np.cumsum(frequencies) - frequencies
    beyond = (np.arange(symbols.size) - begins[symbols]).astype(np.uint32)
    mask, precision = np.uint32(symbols.size - 1), np.uint32(symbols.size.bit_length() - 1)
    half, lowest = np.uint32(16), np.uint32(LOWEST)
    values, position, count = np.empty(size, np.uint8), 0, states.size
    slots, factors = np.empty(count, np.intp), np.empty(count, np.uint32)
    for begin in range(0, size, count):
        some = values[begin : begin + count]
        state, slot, factor = (each[: some.size] for each in (states, slots, factors))
        np.bitwise_and(state, mask, out=slot)
        # Every slot is in range; "clip" alone writes to `out` without a copy.
        np.take(symbols, slot, out=some, mode="clip")
        state >>= precision
        state *= np.take(frequency_of, slot, out=factor, mode="clip")
        state += np.take(beyond, slot, out=factor, mode="clip")
        empty = np.flatnonzero(state < lowest)
        end = position + empty.size
        if end > stream.size:
            raise misfit
        state[empty] = state[empty] << half | stream[position:end]
        position = end
    if position < stream.size or not np.all(states == lowest):
        raise misfit
    return values


rans: Coder = Coder(
    name="rans",
    version=1,
    fits=lambda layout: layout.bits <= 8,
    least_bytes=_least_bytes,
    size_bytes=lambda words: _encode(words).size,
    encode=_encode,
    decode=_decode,
)
"""An entropy coder of single words: n · H bits, H their order-0 entropy, and a table.

For codes of up to 8 bits, and fastest where arrays are large. The frequencies are those
of the whole array. Also known as: range variant of asymmetric numeral systems.

Source: Duda 2013, arXiv:1311.2540, section 3.3; Giesen 2014, "Interleaved entropy
coders", arXiv:1402.3392. Differs: lanes are a power of two that grows with the array.
"""
