"""An adaptive entropy coder that knows the rows and columns of a matrix."""

import math

import numpy as np

from jaxcompress.storage.coders.binary import Code, reader, writer
from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.levels import Levels
from jaxcompress.storage.coders.logistic import ONE, Counters
from jaxcompress.storage.coders.occupancy import Occupancy
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container.errors import contradiction

_MOST_WORDS = 1 << 22
"""Of one array: a bit takes about a microsecond."""

_NEAREST, _FARTHEST = 3, 64
"""Periods that are tried on any matrix; the two rows before always count."""

_SAMPLE = 256
"""Columns that tell the period."""


def _fits(layout: Layout) -> bool:
    return layout.bits <= 8 and layout.size <= _MOST_WORDS


def _sides(layout: Layout) -> tuple[int, int]:
    """Rows, which are inputs, and columns of the matrix that is coded."""
    if not layout.size:
        return 0, 0
    columns = layout.shape[-1] if layout.shape else 1
    if layout.inputs_last:
        columns = layout.shape[-2] if len(layout.shape) > 1 else 1
    return layout.size // columns, columns


def _matrix(values: np.ndarray, layout: Layout) -> np.ndarray:
    """The values with inputs outermost."""
    if layout.inputs_last and len(layout.shape) > 1:
        stored = values.reshape(-1, *layout.shape[-2:])  # (batch, outputs, inputs)
        values = np.ascontiguousarray(stored.swapaxes(1, 2))
    return values.reshape(_sides(layout))


def _values(matrix: np.ndarray, layout: Layout) -> np.ndarray:
    """What `_matrix` arranged."""
    if layout.inputs_last and len(layout.shape) > 1:
        outputs, inputs = layout.shape[-2:]
        matrix = np.ascontiguousarray(matrix.reshape(-1, inputs, outputs).swapaxes(1, 2))
    return matrix.reshape(-1)


def _encode(words: Words) -> np.ndarray:
    if not words.values.size:
        return np.zeros(0, np.uint8)
    levels = _signed(_matrix(words.values, words.layout), words.bits)
    code, finished = writer()
    _walked(code, levels, words.layout)
    return np.frombuffer(finished(), np.uint8)


def _decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
    misfit = contradiction(f"{layout.size} words do not fit {coded.size} bytes")
    if coded.size < _least_bytes(layout) or not _fits(layout) or (coded.size and not layout.size):
        raise misfit
    if not layout.size:
        return np.zeros(0, np.uint8)
    code, finished = reader(coded.tobytes(), misfit)
    levels = _walked(code, np.zeros(_sides(layout), np.int8), layout)
    finished()
    return _values(levels.view(np.uint8) & np.uint8(2**layout.bits - 1), layout)


def _signed(matrix: np.ndarray, bits: int) -> np.ndarray:
    """Words as integers in two's complement, int8; one bit is 0 or 1."""
    if bits == 1:
        return matrix.view(np.int8)
    return (matrix << np.uint8(8 - bits)).view(np.int8) >> np.int8(8 - bits)


def _walked(code: Code, levels: np.ndarray, layout: Layout) -> np.ndarray:
    """The matrix, row by row: what is given is what is written.

    Columns and rows without an entry are told by a bit each and then left out.

    Args:
      code: writes or reads a bit.
      levels: (rows, columns) int8; what a reader gives does not count.
      layout: of all words.
    """
    period = _number(code, _period(levels, layout))
    live, counters = np.zeros(levels.shape[1], bool), Counters(2)
    for j, known in enumerate(np.any(levels, axis=0)):
        live[j] = counters.coded(code, int(live[j - 1]), int(known))
    found = _rows(code, np.ascontiguousarray(levels[:, live]), period, layout.bits)
    whole = np.zeros(levels.shape, np.int8)
    whole[:, live] = found
    return whole


def _rows(code: Code, levels: np.ndarray, period: int, bits: int) -> np.ndarray:
    """The matrix of the columns that have an entry, from the first row to the last."""
    count, columns = levels.shape
    occupancy, nonzero, counters = Occupancy(columns), Levels(bits), Counters(4)
    found, live = np.zeros((count, columns), np.int8), [0] * count
    empty = np.zeros(columns, np.int8)

    def above(i: int, lag: int) -> np.ndarray:
        return found[i - lag] if 0 < lag <= i else empty

    for i in range(count if columns else 0):
        context = (live[i - 1] if i else 0) + 2 * (live[i - period] if 0 < period <= i else 0)
        live[i] = counters.coded(code, context, int(levels[i].any()))
        if not live[i]:
            continue
        lags = (1, 2, *((period, period - 1, period + 1, 2 * period) if period else (0, 0, 0, 0)))
        rows = [above(i, lag) for lag in lags]
        present = occupancy.coded(code, levels[i] != 0, [row != 0 for row in rows])
        if bits == 1:
            found[i] = present
        else:
            near = [row[present] for row in rows]
            found[i, present] = nonzero.coded(code, levels[i, present], near)
    return found


def _number(code: Code, number: int) -> int:
    """A number below 2**16, as one bit where it is 0."""
    if not code(ONE // 2, int(number > 0)):
        return 0
    bits = [code(ONE // 2, number >> i & 1) for i in range(16)]
    return sum(bit << i for i, bit in enumerate(bits))


def _period(levels: np.ndarray, layout: Layout) -> int:
    """The distance of rows that are most alike, as those of pixels below each other.

    0 where none stands out.
    """
    present = levels[:, :: -(-levels.shape[1] // _SAMPLE)] != 0
    inputs = layout.shape[-1 if layout.inputs_last else -2] if len(layout.shape) > 1 else 0
    axes = layout.shape[:-2]
    further = {inputs * math.prod(axes[i:]) for i in range(1, len(axes) + 1)}
    lags = {*range(_NEAREST, _FARTHEST + 1), *further}
    lags = sorted(lag for lag in lags if _NEAREST <= lag <= min(len(levels) // 3, ONE - 1))
    shares = [float(np.mean(present[lag:] & present[:-lag])) for lag in lags]
    if not shares or max(shares) < 1.2 * float(np.median(shares)):
        return 0
    return lags[int(np.argmax(shares))]


def _least_bytes(layout: Layout) -> int:
    return 1 if layout.size else 0


context = Coder(
    name="context",
    version=1,
    fits=_fits,
    least_bytes=_least_bytes,
    size_bytes=lambda words: _encode(words).size,
    encode=_encode,
    decode=_decode,
)
"""An adaptive coder of single bits, for sparse matrices and arrays of a few words.

Whether an entry is zero is coded at a mixture of what its column, its row so far and
the same column in rows nearby tell; then come its sign and size. There is no table, so
that few words take few bytes. A zero takes about a microsecond and another entry
several; arrays have up to 4 million words of up to 8 bits.

Also known as: context-adaptive binary arithmetic coding (CABAC), context mixing.

Source: Wiedemann et al. 2019, arXiv:1907.11900, section III, for the binarisation by
sign and size; Mahoney 2005, "Adaptive weighing of context models", for the mixture.
Differs: estimates are running densities of the matrix, mixed by learned weights.
"""
