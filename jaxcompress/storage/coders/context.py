"""An adaptive entropy coder that knows the rows and columns of a matrix."""

import math

import numpy as np

from jaxcompress.storage.coders.binary import reader, writer
from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.matrices import as_matrix, from_matrix, sides, signed, walked
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container.errors import contradiction

_MOST_WORDS = 1 << 22
"""Of one array: a bit takes about a microsecond."""


def _fits(layout: Layout) -> bool:
    return layout.bits <= 8 and layout.size <= _MOST_WORDS


def _lags(layout: Layout) -> set[int]:
    """Rows between the same input of matrices that follow each other in a batch."""
    inputs = layout.shape[-1 if layout.inputs_last else -2] if len(layout.shape) > 1 else 0
    axes = layout.shape[:-2]
    return {inputs * math.prod(axes[i:]) for i in range(1, len(axes) + 1)}


def _encode(words: Words) -> np.ndarray:
    if not words.values.size:
        return np.zeros(0, np.uint8)
    levels = signed(as_matrix(words.values, words.layout), words.bits)
    code, finished = writer()
    walked(code, levels, words.bits, _lags(words.layout))
    return np.frombuffer(finished(), np.uint8)


def _decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
    misfit = contradiction(f"{layout.size} words do not fit {coded.size} bytes")
    if coded.size < _least_bytes(layout) or not _fits(layout) or (coded.size and not layout.size):
        raise misfit
    if not layout.size:
        return np.zeros(0, np.uint8)
    code, finished = reader(coded.tobytes(), misfit)
    levels = walked(code, np.zeros(sides(layout), np.int8), layout.bits, ())
    finished()
    return from_matrix(levels.view(np.uint8) & np.uint8(2**layout.bits - 1), layout)


def _least_bytes(layout: Layout) -> int:
    return 1 if layout.size else 0


context: Coder = Coder(
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
