"""Coders that write which words are not zero in a way of their own, then the others."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.pieces import from_varint, read, varint, written, written_bytes
from jaxcompress.storage.coders.plain import plain
from jaxcompress.storage.coders.planes import planes
from jaxcompress.storage.coders.rans import rans
from jaxcompress.storage.coders.words import Layout, Words, word_dtype
from jaxcompress.storage.container.errors import FileError, contradiction

_CODERS = (rans, planes)
"""Of the words that are not zero, beside `plain`."""

_WORDS_A_BYTE = 4096
"""That a byte of a stream vouches for, so that a few bytes claim no huge array."""

_FEWEST = 5
"""Bytes of a stream: two lengths, the kind, a mask and a part."""


class MaskCode(NamedTuple):
    """A code of masks.

    Attributes:
      size_bytes: (mask (n,) bool, layout) -> how many bytes `encode` gives.
      encode: the same -> bytes.
      decode: (these bytes, uint8; layout; what to raise) -> the mask.
    """

    size_bytes: Callable[[np.ndarray, Layout], int]
    encode: Callable[[np.ndarray, Layout], bytes]
    decode: Callable[[np.ndarray, Layout, FileError], np.ndarray]


def coder_of(name: str, mask: MaskCode) -> Coder:
    """The coder whose masks are written so.

    Where zeros are so few that a bit for each word is not worth it, words are as they
    are. A stream is filled up with zeros to a byte for each 4,096 words.
    """

    def size_bytes(words: Words) -> int:
        if not words.values.size:
            return 0
        present = words.values != 0
        if not _is_sparse(present, words.bits):
            found = 1 + plain.size_bytes(words)
        else:
            mask_bytes = mask.size_bytes(present, words.layout)
            found = 1 + len(varint(mask_bytes)) + mask_bytes
            found += written_bytes(_others(words, present), _CODERS)
        missing = max(0, _least_bytes(words.layout) - found)
        return found + len(varint(missing)) + missing

    def encode(words: Words) -> np.ndarray:
        if not words.values.size:
            return np.zeros(0, np.uint8)
        present = words.values != 0
        if not _is_sparse(present, words.bits):
            found = b"\0" + plain.encode(words).tobytes()
        else:
            coded = mask.encode(present, words.layout)
            others = written(_others(words, present), _CODERS)
            found = b"".join([b"\1", varint(len(coded)), coded, *others])
        missing = max(0, _least_bytes(words.layout) - len(found))
        return np.frombuffer(varint(missing) + found + bytes(missing), np.uint8)

    def decode(coded: np.ndarray, layout: Layout) -> np.ndarray:
        misfit = contradiction(f"{layout.size} words do not fit {coded.size} bytes")
        if coded.size < _least_bytes(layout) or (coded.size and not layout.size):
            raise misfit
        if not layout.size:
            return np.zeros(0, word_dtype(layout.bits))
        found = _unfilled(coded, misfit)
        if not found[0]:
            return plain.decode(found[1:], layout)
        return _decoded(found, layout, mask, misfit)

    return Coder(name, 1, lambda layout: True, _least_bytes, size_bytes, encode, decode)


def _least_bytes(layout: Layout) -> int:
    return max(_FEWEST, layout.size // _WORDS_A_BYTE) if layout.size else 0


def _is_sparse(present: np.ndarray, bits: int) -> bool:
    """Whether a mask may be worth its bits."""
    return bits == 1 or (present.size - int(np.count_nonzero(present))) * bits > present.size


def _others(words: Words, present: np.ndarray) -> Words:
    """The words that are not zero; of one bit none, since all are 1."""
    others = words.values[present] if words.bits > 1 else words.values[:0]
    return Words(others, Layout(words.bits, others.shape))


def _unfilled(coded: np.ndarray, misfit: FileError) -> np.ndarray:
    """The stream without its length of zeros and these."""
    missing, length = from_varint(coded[:10].tobytes())
    end = coded.size - missing
    if not 0 < length < end or np.any(coded[end:]) or coded[length] > 1:
        raise misfit
    return coded[length:end]


def _decoded(found: np.ndarray, layout: Layout, mask: MaskCode, misfit: FileError) -> np.ndarray:
    mask_bytes, length = from_varint(found[1:11].tobytes())
    begin = 1 + length
    if not length or begin + mask_bytes > found.size:
        raise misfit
    present = mask.decode(found[begin : begin + mask_bytes], layout, misfit)
    count = int(np.count_nonzero(present)) if layout.bits > 1 else 0
    others = read(found, Layout(layout.bits, (count,)), _CODERS, begin + mask_bytes)
    if others.end != found.size:
        raise misfit
    if layout.bits == 1:
        return present.view(np.uint8)
    values = np.zeros(layout.size, word_dtype(layout.bits))
    values[present] = others.values
    return values
