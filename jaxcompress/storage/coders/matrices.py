"""A matrix of signed levels coded row by row, in the contexts of those before.

Rows are inputs, so that the surroundings of an entry are the same output on inputs
nearby, and the same input on other outputs.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from jaxcompress.storage.coders.binary import Code
from jaxcompress.storage.coders.levels import Levels
from jaxcompress.storage.coders.logistic import ONE, Counters
from jaxcompress.storage.coders.occupancy import Occupancy
from jaxcompress.storage.coders.words import Layout

_NEAREST, _FARTHEST = 3, 64
"""Periods that are tried on any matrix; the two rows before always count."""

_SAMPLE = 256
"""Columns that tell the period."""


class Kinds(Protocol):
    """What is known of a row's entries before they are, of rows that have an entry.

    Attributes:
      count: of kinds.
    """

    count: int

    def of_row(self, i: int) -> np.ndarray:
        """(columns,) the kinds of this row's entries, from 0 on.

        It lies behind all rows that were seen; those between have no entry.
        """
        ...

    def seen(self, row: np.ndarray) -> None:
        """Takes the row whose kinds were asked for, (columns,) int8."""
        ...


class Alike:
    """All entries are of one kind."""

    count = 1

    def __init__(self, columns: int):
        self._kinds = np.zeros(columns, np.uint8)

    def of_row(self, i: int) -> np.ndarray:
        """(columns,) zeros."""
        return self._kinds

    def seen(self, row: np.ndarray) -> None:
        """Nothing follows from it."""


def sides(layout: Layout) -> tuple[int, int]:
    """Rows, which are inputs, and columns of the matrix that is coded."""
    if not layout.size:
        return 0, 0
    columns = layout.shape[-1] if layout.shape else 1
    if layout.inputs_last:
        columns = layout.shape[-2] if len(layout.shape) > 1 else 1
    return layout.size // columns, columns


def as_matrix(values: np.ndarray, layout: Layout) -> np.ndarray:
    """The values with inputs outermost."""
    if layout.inputs_last and len(layout.shape) > 1:
        stored = values.reshape(-1, *layout.shape[-2:])  # (batch, outputs, inputs)
        values = np.ascontiguousarray(stored.swapaxes(1, 2))
    return values.reshape(sides(layout))


def from_matrix(matrix: np.ndarray, layout: Layout) -> np.ndarray:
    """What `as_matrix` arranged."""
    if layout.inputs_last and len(layout.shape) > 1:
        outputs, inputs = layout.shape[-2:]
        matrix = np.ascontiguousarray(matrix.reshape(-1, inputs, outputs).swapaxes(1, 2))
    return matrix.reshape(-1)


def signed(words: np.ndarray, bits: int) -> np.ndarray:
    """Words as integers in two's complement, int8; one bit is 0 or 1."""
    if bits == 1:
        return words.view(np.int8)
    return (words << np.uint8(8 - bits)).view(np.int8) >> np.int8(8 - bits)


def walked(
    code: Code,
    levels: np.ndarray,
    bits: int,
    lags: Iterable[int],
    kinds: Callable[[int], Kinds] = Alike,
) -> np.ndarray:
    """The matrix, row by row: what is given is what is written.

    Columns and rows without an entry are told by a bit each and then left out.

    Args:
      code: writes or reads a bit.
      levels: (rows, columns) int8; what a reader gives does not count.
      bits: of a level.
      lags: periods that a writer tries beside those of any matrix.
      kinds: columns that are not left out -> their entries' kinds.
    """
    period = _number(code, _period(levels, lags))
    live, counters = np.zeros(levels.shape[1], bool), Counters(2)
    for j, known in enumerate(np.any(levels, axis=0)):
        live[j] = counters.coded(code, int(live[j - 1]), int(known))
    own = kinds(int(np.count_nonzero(live)))
    found = _rows(code, np.ascontiguousarray(levels[:, live]), period, bits, own)
    whole = np.zeros(levels.shape, np.int8)
    whole[:, live] = found
    return whole


def _rows(code: Code, levels: np.ndarray, period: int, bits: int, kinds: Kinds) -> np.ndarray:
    """The matrix of the columns that have an entry, from the first row to the last."""
    count, columns = levels.shape
    occupancy, nonzero = Occupancy(columns, kinds.count), Levels(bits, kinds.count)
    found, live, counters = np.zeros((count, columns), np.int8), [0] * count, Counters(4)
    empty = np.zeros(columns, np.int8)

    def above(i: int, lag: int) -> np.ndarray:
        return found[i - lag] if 0 < lag <= i else empty

    for i in range(count if columns else 0):
        context = (live[i - 1] if i else 0) + 2 * (live[i - period] if 0 < period <= i else 0)
        live[i] = counters.coded(code, context, int(levels[i].any()))
        if not live[i]:
            continue
        lags = (1, 2, *((period, period - 1, period + 1, 2 * period) if period else (0, 0, 0, 0)))
        rows, kind = [above(i, lag) for lag in lags], kinds.of_row(i)
        present = occupancy.coded(code, levels[i] != 0, [row != 0 for row in rows], kind)
        if bits == 1:
            found[i] = present
        else:
            near = [row[present] for row in rows]
            found[i, present] = nonzero.coded(code, levels[i, present], near, kind[present])
        kinds.seen(found[i])
    return found


def _number(code: Code, number: int) -> int:
    """A number below 2**16, as one bit where it is 0."""
    if not code(ONE // 2, int(number > 0)):
        return 0
    bits = [code(ONE // 2, number >> i & 1) for i in range(16)]
    return sum(bit << i for i, bit in enumerate(bits))


def _period(levels: np.ndarray, further: Iterable[int]) -> int:
    """The distance of rows that are most alike, as those of pixels below each other.

    0 where none stands out.
    """
    present = levels[:, :: -(-levels.shape[1] // _SAMPLE)] != 0
    lags = {*range(_NEAREST, _FARTHEST + 1), *further}
    lags = sorted(lag for lag in lags if _NEAREST <= lag <= min(len(levels) // 3, ONE - 1))
    shares = [float(np.mean(present[lag:] & present[:-lag])) for lag in lags]
    if not shares or max(shares) < 1.2 * float(np.median(shares)):
        return 0
    return lags[int(np.argmax(shares))]
