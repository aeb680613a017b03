"""Probabilities as integers: of 65,536, and on the logistic scale in 256ths.

Tables are made by integers alone, so that every machine has the same ones.
"""

import functools
from typing import Any

import numpy as np

ONE = 1 << 16
"""The probability 1; a bit has one of 1 to ONE - 1."""

LARGEST = 2840
"""On the logistic scale, 256 · ln(p / (1 - p)) of the largest probability."""


@functools.cache
def squash() -> list[int]:
    """65,536 / (1 + exp(-x / 256)) at index x + LARGEST, x from -LARGEST to LARGEST."""
    one = 1 << 64
    root, term = one, one  # the sum of 1 / (n! 256^n) is exp(1 / 256)
    for n in range(1, 12):
        term //= 256 * n
        root += term
    table, power = [ONE // 2] * (2 * LARGEST + 1), one
    for x in range(1, LARGEST + 1):
        power = power * root >> 64
        table[LARGEST + x] = min(power * ONE // (one + power), ONE - 1)
        table[LARGEST - x] = ONE - table[LARGEST + x]
    return table


@functools.cache
def stretch() -> np.ndarray:
    """The largest x whose `squash` is at most p, for p from 0 to ONE - 1, int16."""
    places = np.searchsorted(np.array(squash()), np.arange(ONE), side="right")
    return np.maximum(places - 1 - LARGEST, -LARGEST).astype(np.int16)


@functools.cache
def stretch_list() -> list[int]:
    """`stretch` for one number after the other: indexing an array takes longer."""
    return stretch().tolist()


class Counters:
    """Running estimates of the probability of a 1, one for each context.

    Each moves by 1 / (n + 1.5) of the error after n bits, and from `limit` bits on as
    it moved then: an average first, a running one later.
    """

    def __init__(self, contexts: int, limit: int = 500):
        self._probabilities = [ONE // 2] * contexts
        self._seen = [0] * contexts
        self._limit = limit
        self._rates = [2 * ONE // (2 * n + 3) for n in range(limit + 1)]

    def coded(self, code: Any, context: int, bit: int) -> int:
        """The bit, coded at the probability of its context, which then moves."""
        probability, seen = self._probabilities[context], self._seen[context]
        bit = code(probability, bit)
        moved = probability + (((bit << 16) - probability) * self._rates[seen] >> 16)
        self._probabilities[context] = min(max(moved, 32), ONE - 32)
        if seen < self._limit:
            self._seen[context] = seen + 1
        return bit
