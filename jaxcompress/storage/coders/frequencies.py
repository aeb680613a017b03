"""Frequencies of words: counted, made to sum to a power of two, and as a table."""

import numpy as np

from jaxcompress.storage.container.errors import contradiction

_BLOCK = 1 << 16
"""Words that are counted at once: `bincount` makes eight bytes of each."""


def counted(values: np.ndarray, bits: int) -> np.ndarray:
    """How often each word occurs, (2**bits,) int64."""
    counts = np.zeros(2**bits, np.int64)
    for begin in range(0, values.size, _BLOCK):
        counts += np.bincount(values[begin : begin + _BLOCK], minlength=2**bits)
    return counts


def normalized(counts: np.ndarray, precision: int) -> np.ndarray:
    """Counts as frequencies that sum to 2**precision, each that occurs at least 1.

    What rounding leaves over goes where it costs the fewest bits: of a word with count
    c and frequency f, one step costs about c / f.

    Args:
      counts: (n,) integers, some above 0, at most 2**precision of them.
      precision: bits.

    Returns:
      (n,) int64.
    """
    whole, present = 1 << precision, counts > 0
    frequencies = np.where(present, np.maximum(1, counts * whole // counts.sum()), 0)
    excess = int(frequencies.sum()) - whole
    while excess < 0:  # at most one step for each word
        gain = np.where(present, counts / np.maximum(frequencies, 1), -1.0)
        frequencies[np.argmax(gain)] += 1
        excess += 1
    while excess > 0:
        loss = np.where(frequencies > 1, counts / np.maximum(frequencies - 1, 1), np.inf)
        frequencies[np.argmin(loss)] -= 1
        excess -= 1
    return frequencies


def table(frequencies: np.ndarray) -> bytes:
    """The frequencies as bytes.

    Of each its length in bits as the difference from the one before, in an Elias gamma
    code, and then its bits without the highest. So neighbours of one size, and words
    that do not occur, take little.
    """
    written, end, before = 0, 0, 0
    for frequency in frequencies.tolist():
        length = frequency.bit_length()
        step = length - before
        number = 2 * step + 1 if step >= 0 else -2 * step  # 1, 2, 3… for 0, -1, 1…
        zeros = number.bit_length() - 1
        written |= (1 << zeros) << end  # so many zeros and a one
        end += zeros + 1
        written |= (number - (1 << zeros)) << end
        end += zeros
        if length > 1:
            written |= (frequency - (1 << (length - 1))) << end
            end += length - 1
        before = length
    return written.to_bytes(-(-end // 8), "little")


def from_table(coded: np.ndarray, count: int, precision: int) -> tuple[np.ndarray, int]:
    """The frequencies that a table states, and the bytes that it takes.

    Args:
      coded: uint8, the table and what follows it.
      count: of words.
      precision: what the frequencies sum to, in bits.

    Raises:
      FileError: they do not sum to 2**precision, or the bytes end before.
    """
    most = -(-count * (2 * precision + 3) // 8) + 8
    stored = coded[:most].tobytes()
    bits, position, last = int.from_bytes(stored, "little"), 0, 8 * len(stored)
    frequencies, length = np.zeros(count, np.int64), 0
    for i in range(count):
        rest = bits >> position
        zeros = (rest & -rest).bit_length() - 1 if rest else last
        number = (1 << zeros) | (rest >> (zeros + 1)) & ((1 << zeros) - 1) if zeros <= 5 else 0
        length += number >> 1 if number & 1 else -(number >> 1)
        position += 2 * zeros + 1
        if not number or not 0 <= length <= precision + 1:
            raise contradiction("its table of frequencies is none")
        if length:
            mantissa = (bits >> position) & ((1 << (length - 1)) - 1)
            frequencies[i] = (1 << (length - 1)) | mantissa
            position += length - 1
    if position > last:
        raise contradiction(f"a table of {count} frequencies does not fit {coded.size} bytes")
    if frequencies.sum() != 1 << precision:
        raise contradiction(f"its {count} frequencies do not sum to {1 << precision}")
    return frequencies, -(-position // 8)
