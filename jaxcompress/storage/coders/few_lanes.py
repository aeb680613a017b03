"""`rans` word by word, where lanes are few: as NumPy's steps of all lanes, but faster.

A step of NumPy takes some microseconds for any number of lanes, a word here a tenth of
one. What is written and read is the same.
"""

import numpy as np

from jaxcompress.storage.container.errors import FileError

MOST = 32
"""Lanes that are faster one by one."""

LOWEST = 1 << 16
"""A lane's state lies in [LOWEST, 2**32) between words, and begins and ends there."""


def pushed(
    values: np.ndarray, frequencies: np.ndarray, precision: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """States of all lanes after the last word was pushed, and what they gave away."""
    begins = (np.cumsum(frequencies) - frequencies).tolist()
    frequency_of, fullest = frequencies.tolist(), (frequencies << (32 - precision)).tolist()
    states, given, lane = [LOWEST] * count, [], (values.size - 1) % count
    for word in values.tobytes()[::-1]:
        state, frequency = states[lane], frequency_of[word]
        if state >= fullest[word]:
            given.append(state & (LOWEST - 1))
            state >>= 16
        quotient, rest = divmod(state, frequency)
        states[lane] = (quotient << precision) + rest + begins[word]
        lane = lane - 1 if lane else count - 1
    return np.array(states, np.int64), np.array(given[::-1], "<u2")


def popped(
    states: np.ndarray, stream: np.ndarray, frequencies: np.ndarray, size: int, misfit: FileError
) -> np.ndarray:
    """The words that were pushed; `misfit` is raised where there is no such stream."""
    symbols = np.repeat(np.arange(frequencies.size), frequencies)  # (2**precision,)
    beyond = np.arange(symbols.size) - (np.cumsum(frequencies) - frequencies)[symbols]
    frequency_of, beyond_of = frequencies[symbols].tolist(), beyond.tolist()
    word_of, mask = symbols.astype(np.uint8).tobytes(), symbols.size - 1
    precision, last, lane = mask.bit_length(), states.size - 1, 0
    values, lanes = bytearray(size), states.tolist()
    halves = iter(stream.astype(np.uint16).data)
    for i in range(size):
        state = lanes[lane]
        slot = state & mask
        values[i] = word_of[slot]
        state = frequency_of[slot] * (state >> precision) + beyond_of[slot]
        if state < LOWEST:
            half = next(halves, None)
            if half is None:
                raise misfit
            state = state << 16 | half
        lanes[lane] = state
        lane = lane + 1 if lane < last else 0
    if next(halves, None) is not None or any(state != LOWEST for state in lanes):
        raise misfit
    return np.frombuffer(values, np.uint8)
