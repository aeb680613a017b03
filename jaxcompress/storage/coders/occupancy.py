"""Which entries of a matrix are not zero, row by row, each at a mixed probability.

Four estimates are mixed on the logistic scale: how dense the column was, how dense such
surroundings were, how dense the row is so far, and a constant.
"""

import numpy as np

from jaxcompress.storage.coders.binary import Code
from jaxcompress.storage.coders.logistic import LARGEST, ONE, squash, stretch, stretch_list

SEGMENT = 1 << 12
"""Columns whose contexts are laid out at once."""

_CONTEXTS = 64
_COLUMN_WEIGHT, _NEAR_WEIGHT, _ROW_WEIGHT, _ROWS_WEIGHT = 24, 2, 16, 60
"""What an estimate begins with counts as so many entries."""

_FIRST_WEIGHTS = (20_000, 20_000, 20_000, 0)
"""Of the mixture, in 65,536ths."""


class Occupancy:
    """What the rows so far tell of the next one.

    Args:
      columns: of the matrix.
      kinds: of entries, which are told apart.
    """

    def __init__(self, columns: int, kinds: int = 1):
        self._columns, self._rows = np.zeros(columns, np.int64), 0
        contexts = kinds * _CONTEXTS
        self._near, self._seen = np.zeros(contexts, np.int64), np.zeros(contexts, np.int64)
        self._weights: list[list[int]] = [list(_FIRST_WEIGHTS) for _ in range(4 * kinds)]

    def coded(
        self, code: Code, present: np.ndarray, above: list[np.ndarray], kinds: np.ndarray
    ) -> np.ndarray:
        """The next row, bool; what is given is what is written.

        Args:
          code: writes or reads a bit.
          present: (columns,) bool.
          above: the rows 1 and 2 before, and those one period before, one less, one
            more, and two periods before; rows that are not there are zeros.
          kinds: (columns,) whole numbers, of the entries.
        """
        mean = self._mean()
        near = sum(int(row.sum()) for row in above[:5])
        prior = _ROW_WEIGHT * _density(near, 5 * present.size, mean, _ROWS_WEIGHT)
        found, ones = np.zeros(present.size, np.uint8), 0
        for begin in range(0, present.size, SEGMENT):
            some = slice(begin, begin + SEGMENT)
            contexts, sets = _surroundings([row[some].view(np.uint8) for row in above])
            contexts, sets = contexts + _CONTEXTS * kinds[some], sets + 4 * kinds[some]
            column = _density(self._columns[some], self._rows, mean, _COLUMN_WEIGHT)
            like = _density(self._near[contexts], self._seen[contexts], mean, _NEAR_WEIGHT)
            estimates = stretch()[column].tolist(), stretch()[like].tolist(), sets.tolist()
            bits, ones = _mixed(
                code, present[some].tolist(), estimates, self._weights, (prior, begin, ones)
            )
            found[some] = bits
            self._near += np.bincount(contexts[found[some] > 0], minlength=self._near.size)
            self._seen += np.bincount(contexts, minlength=self._near.size)
        self._columns += found
        self._rows += 1
        return found.view(bool)

    def _mean(self) -> int:
        entries = self._rows * self._columns.size
        return int(_density(int(self._columns.sum()), entries, ONE // 50, 30))


def _density(ones, entries, prior: int, weight: int):
    """(ones + weight · prior) / (entries + weight), of 65,536, below 1 and above 0."""
    return np.clip((ones * ONE + weight * prior) // (entries + weight), 1, ONE - 1)


def _surroundings(above: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Contexts below `_CONTEXTS`, and which weights mix there."""
    first, second, period, before, after, twice = above
    around = period + before + after
    contexts = second + 2 * first + 4 * (period + around) + 32 * twice
    return contexts, np.minimum(first + around, 3)


def _mixed(
    code: Code,
    known: list[bool],
    estimates: tuple[list[int], list[int], list[int]],
    weights: list[list[int]],
    row: tuple[int, int, int],
) -> tuple[list[int], int]:
    """The bits of a segment, and how many ones the row has by now.

    Weights move against the error: w += error · estimate, at a rate of 2**-8 where both
    are counted in units of 1.
    """
    prior, begin, ones = row
    stretched, squashed, bits = stretch_list(), squash(), []
    for j, column, near, which in zip(range(len(known)), *estimates, strict=True):
        density = ((ones << 16) + prior) // (begin + j + _ROW_WEIGHT)
        here = stretched[density if density < ONE else ONE - 1]
        mixing = weights[which]
        first, second, third, constant = mixing
        x = (first * column + second * near + third * here + (constant << 8)) >> 16
        x = LARGEST if x > LARGEST else -LARGEST if x < -LARGEST else x
        probability = squashed[x + LARGEST]
        bit = code(probability, known[j])
        error = (ONE if bit else 0) - probability
        mixing[0] = first + (error * column >> 16)
        mixing[1] = second + (error * near >> 16)
        mixing[2] = third + (error * here >> 16)
        mixing[3] = constant + (error >> 8)
        ones += bit
        bits.append(bit)
    return bits, ones
