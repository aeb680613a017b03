"""Words of 16 bits and more as planes of bytes, each by the coder that suits it."""

from collections.abc import Iterator

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.context import context
from jaxcompress.storage.coders.pieces import read, written
from jaxcompress.storage.coders.plain import plain
from jaxcompress.storage.coders.rans import rans
from jaxcompress.storage.coders.words import Layout, Words, word_dtype
from jaxcompress.storage.container.errors import contradiction

_FEW = 1 << 14
"""Bytes of a plane that contexts code: of more, a table of frequencies costs little."""


def _rotated(words: np.ndarray, bits: int, left: int) -> np.ndarray:
    """Words whose bits move so many places towards the highest, and around."""
    return words << words.dtype.type(left) | words >> words.dtype.type(bits - left)


def _is_sparse(values: np.ndarray, bits: int) -> bool:
    """Whether a mask is worth its bits: a zero saves at least its raw bytes."""
    zeros = values.size - int(np.count_nonzero(values != 0))
    return zeros * (bits - 8) > values.size


def _parts(words: Words) -> Iterator[Words]:
    """The mask, where there is one, and then the planes from the highest byte on."""
    values, layout = words
    if _is_sparse(values, words.bits):
        yield Words((values != 0).view(np.uint8), layout._replace(bits=1))
        values = values[values != 0]
        layout = Layout(words.bits, values.shape)
    # The sign goes last: the highest byte is the exponent of bfloat16 and float32.
    rotated = _rotated(values, words.bits, 1)
    for shift in range(words.bits - 8, -1, -8):
        plane = (rotated >> rotated.dtype.type(shift)).astype(np.uint8)
        yield Words(plane, layout._replace(bits=8))


def _of(name: str, coders: tuple[Coder, ...]) -> Coder:
    """The coder of planes that are written by some of these, or as they are."""

    def fits(layout: Layout) -> bool:
        return layout.bits >= 16

    def least_bytes(layout: Layout) -> int:
        mask = layout._replace(bits=1)
        least = [coder.least_bytes(mask) for coder in (plain, *coders) if coder.fits(mask)]
        return 2 + min(least) if layout.size else 0

    def encode(words: Words) -> np.ndarray:
        if not words.values.size:
            return np.zeros(0, np.uint8)
        sparse = bytes([_is_sparse(words.values, words.bits)])
        pieces = [piece for part in _parts(words) for piece in written(part, coders)]
        return np.frombuffer(b"".join([sparse, *pieces]), np.uint8)

    def decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
        if coded.size < least_bytes(layout) or (coded.size and not layout.size):
            raise contradiction(f"{layout.size} words do not fit {coded.size} bytes")
        if not layout.size:
            return np.zeros(0, word_dtype(layout.bits))
        if coded[0] > 1:
            raise contradiction(f"its planes begin with {coded[0]}")
        if not coded[0]:
            return _joined(coded, layout, coders, 1)
        mask = read(coded, layout._replace(bits=1), coders, 1)
        present = mask.values.view(bool)
        others = Layout(layout.bits, (int(np.count_nonzero(present)),))
        values = np.zeros(layout.size, word_dtype(layout.bits))
        values[present] = _joined(coded, others, coders, mask.end)
        return values

    return Coder(name, 1, fits, least_bytes, lambda words: encode(words).size, encode, decode)


def _joined(coded: np.ndarray, layout: Layout, coders: tuple[Coder, ...], begin: int) -> np.ndarray:
    """The words of all planes, which are the rest of the bytes."""
    rotated = np.zeros(layout.size, word_dtype(layout.bits))
    for shift in range(layout.bits - 8, -1, -8):
        plane, begin = read(coded, layout._replace(bits=8), coders, begin)
        rotated |= plane.astype(rotated.dtype) << rotated.dtype.type(shift)
    if begin != coded.size:
        raise contradiction(f"planes of {layout.size} words do not fit {coded.size} bytes")
    return _rotated(rotated, layout.bits, layout.bits - 1)


_few = context._replace(
    fits=lambda layout: context.fits(layout) and (layout.bits == 1 or layout.size <= _FEW)
)

planes: Coder = _of("planes", (rans,))
"""Bytes of equal weight side by side, each plane by `rans` or as it is.

For floating-point numbers and wide integers. The highest plane of bfloat16 and float32
is the exponent, which takes about 2.6 bits in trained weights; mantissas stay as they
are. Where zeros are many a mask of them comes first. Bit for bit, NaN and -0.0 too.

Also known as: byte shuffling, exponent coding, lossless compression of weights.

Source: Hershcovitch et al. 2024, arXiv:2411.05239; Zhang et al. 2025, arXiv:2504.11651.
Differs: any plane that becomes smaller is coded, not the highest alone.
"""

context_planes: Coder = _of("context_planes", (rans, _few))
"""`planes` whose mask, and planes of few bytes, are coded by `context`.

For pruned floating-point matrices, and for scales, biases and codebooks.
"""
