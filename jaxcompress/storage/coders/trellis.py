"""The context coder for codes on the trellis of dependent quantization."""

import math
from typing import NamedTuple

import numpy as np

from jaxcompress.core.trellis import NEXT, levels
from jaxcompress.storage.coders.binary import reader, writer
from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.context import context
from jaxcompress.storage.coders.matrices import as_matrix, from_matrix, sides, signed, walked
from jaxcompress.storage.coders.plain import plain
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container.errors import contradiction

_NEXT = np.array(NEXT, np.uint8)
_PERIOD = 4
"""After so many zeros any state comes again."""


def _after_zeros() -> np.ndarray:
    """(_PERIOD, 8) the state after so many zeros."""
    found = [np.arange(len(NEXT), dtype=np.uint8)]
    for _ in range(1, _PERIOD):
        found.append(_NEXT[found[-1], 0])
    return np.stack(found)


_AFTER_ZEROS = _after_zeros()


class States:
    """The states of all lines, row by row: whether they are odd tells entries apart."""

    count = 2

    def __init__(self, columns: int, length: int):
        self._states, self._length, self._rows = np.zeros(columns, np.uint8), length, 0

    def of_row(self, i: int) -> np.ndarray:
        """(columns,) 1 where the state is odd; a line begins in the state 0."""
        begin = i - i % self._length
        if begin >= self._rows:
            self._states[:], self._rows = 0, begin
        self._states, self._rows = _AFTER_ZEROS[(i - self._rows) % _PERIOD][self._states], i
        return self._states & 1

    def seen(self, row: np.ndarray) -> None:
        """Takes the indices of the row, int8."""
        self._states = _NEXT[self._states, row & 1]
        self._rows += 1


class Lines(NamedTuple):
    """Along which axes the trellis runs.

    Attributes:
      layout: whose inputs are these axes, as one.
      length: of a line.
    """

    layout: Layout
    length: int

    def states(self, columns: int) -> States:
        return States(columns, self.length)


def _most_axes(layout: Layout) -> int:
    """How many axes a line may run along, the last of them that of the inputs."""
    return max(len(layout.shape) - (0 if layout.inputs_last else 1), 0)


def lines_along(layout: Layout, axes: int) -> Lines:
    """Lines along so many axes."""
    end = _most_axes(layout)
    length = math.prod(layout.shape[end - axes : end])
    shape = (*layout.shape[: end - axes], length, *layout.shape[end:])
    return Lines(layout._replace(shape=shape), length)


def _indices(matrix: np.ndarray, lines: Lines) -> np.ndarray | None:
    """The indices of codes (rows, columns) int8, or None where these leave the trellis.

    The first row that leaves it ends the search.
    """
    states, found = lines.states(matrix.shape[1]), np.zeros(matrix.shape, np.int8)
    for i in np.flatnonzero(matrix.any(axis=1)).tolist():
        row, odd = matrix[i], states.of_row(i)
        if np.any((row + odd) & 1 & (row != 0)):
            return None
        found[i] = (row >> 1) + (odd & (row > 0))
        states.seen(found[i])
    return found


def _codes(indices: np.ndarray, lines: Lines, bits: int) -> np.ndarray | None:
    """What `_indices` read, in the same memory; None where a code has more bits."""
    states, half = lines.states(indices.shape[1]), 1 << (bits - 1)
    for i in np.flatnonzero(indices.any(axis=1)).tolist():
        odd = states.of_row(i)
        states.seen(indices[i])
        row = levels(indices[i].astype(np.int16), odd.astype(np.int16))
        if np.any((row < -half) | (row >= half)):
            return None
        indices[i] = row
    return indices


def _encode(words: Words) -> np.ndarray:
    if not words.values.size:
        return np.zeros(0, np.uint8)
    # Zeros alone are on any trellis, and nothing is won.
    for axes in range(_most_axes(words.layout) if words.values.any() else 0, 0, -1):
        lines = lines_along(words.layout, axes)
        codes = signed(as_matrix(words.values, lines.layout), words.bits)
        indices = _indices(codes, lines)
        if indices is not None:
            code, finished = writer()
            walked(code, indices, words.bits, (), lines.states)
            return np.frombuffer(bytes([axes]) + finished(), np.uint8)
    return np.append(np.zeros(1, np.uint8), plain.encode(words))


def _decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
    misfit = contradiction(f"{layout.size} words do not fit {coded.size} bytes")
    if coded.size < _least_bytes(layout) or not _fits(layout) or (coded.size and not layout.size):
        raise misfit
    if not layout.size:
        return np.zeros(0, np.uint8)
    axes = int(coded[0])
    if not axes:
        return plain.decode(coded[1:], layout)
    if axes > _most_axes(layout):
        raise contradiction(f"its lines run along {axes} axes of {len(layout.shape)}")
    lines = lines_along(layout, axes)
    code, finished = reader(coded[1:].tobytes(), misfit)
    indices = walked(code, np.zeros(sides(lines.layout), np.int8), layout.bits, (), lines.states)
    finished()
    codes = _codes(indices, lines, layout.bits)
    if codes is None:
        raise contradiction(f"its codes have more than {layout.bits} bits")
    return from_matrix(codes.view(np.uint8) & np.uint8(2**layout.bits - 1), lines.layout)


def _fits(layout: Layout) -> bool:
    return layout.bits >= 3 and context.fits(layout)


def _least_bytes(layout: Layout) -> int:
    return 2 if layout.size else 0


trellis: Coder = Coder(
    name="trellis",
    version=1,
    fits=_fits,
    least_bytes=_least_bytes,
    size_bytes=lambda words: _encode(words).size,
    encode=_encode,
    decode=_decode,
)
"""`context` for codes that `quantize.rounding.trellis` chose.

Written are the indices that codes have in the states of the trellis, and contexts know
whether a state is even or odd. Lines run along the inputs of an output, which may be
several axes; the writer finds how many. Words that leave the trellis, which the first
rows show, lie as they are after a byte.

Source: ISO/IEC 15938-17, for contexts by the state. Differs: the parity of the state
alone tells entries apart, in the mixture of `context`.
"""
