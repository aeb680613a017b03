"""Signed levels that are not zero, each as a sign, a length and the bits below it."""

import numpy as np

from jaxcompress.storage.coders.binary import Code
from jaxcompress.storage.coders.logistic import Counters

_SIGNS = 7
"""Sums of the signs of neighbours that count as they are, either way."""


class Levels:
    """What the levels so far tell of the next one.

    Any distribution can be learned: a binary tree of counters ends at every level.

    Args:
      bits: of a level.
      kinds: of levels, which are told apart.
    """

    def __init__(self, bits: int, kinds: int = 1):
        self._bits = bits
        self._signs = Counters(2 * _SIGNS + 1)
        self._lengths = Counters(2 * bits * kinds)
        self._below = Counters((2 << bits) * kinds)

    def coded(
        self, code: Code, levels: np.ndarray, above: list[np.ndarray], kinds: np.ndarray
    ) -> list[int]:
        """The levels; what is given is what is written.

        Args:
          code: writes or reads a bit.
          levels: (n,) integers from -2**(bits - 1) to 2**(bits - 1) - 1 without 0; what
            a reader gives does not count.
          above: (n,) levels of the rows that `Occupancy` takes, in the same columns.
          kinds: (n,) whole numbers, of the levels.
        """
        first, second, period, before, after, twice = (np.sign(row) for row in above)
        signs = 2 * (first + period) + second + before + after + twice
        signs = np.clip(signs, -_SIGNS, _SIGNS) + _SIGNS
        rows = zip(levels.tolist(), signs.tolist(), kinds.tolist(), strict=True)
        return [self._level(code, *row) for row in rows]

    def _level(self, code: Code, level: int, signs: int, kind: int) -> int:
        negative = self._signs.coded(code, signs, int(level < 0))
        known, length = abs(level), 1
        tree = 2 * kind + negative
        first = tree * self._bits
        longest = self._bits - 1 + negative
        while length < longest and self._lengths.coded(
            code, first + length, int(known >> length > 0)
        ):
            length += 1
        if length == self._bits:  # the lowest level alone is so long
            return -1 << (length - 1)
        magnitude = 1
        for i in range(length - 2, -1, -1):
            context = magnitude | tree << self._bits
            magnitude = 2 * magnitude | self._below.coded(code, context, known >> i & 1)
        return -magnitude if negative else magnitude
