"""One array of a leaf as coded bytes, and back."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.storage.coders import Coder, smallest
from jaxcompress.storage.coders.words import Words
from jaxcompress.storage.container.dtypes import (
    PYTHON_TYPES,
    WORD_BITS,
    array_words,
    known_dtype,
    word_count,
)

_LARGEST_RANK = 32
_CODE_BITS = {f"bits{bits}": bits for bits in range(1, 9)}


class Source(NamedTuple):
    """An array that is to be stored.

    Attributes:
      dtype: a name in `WORD_BITS` or `PYTHON_TYPES`, or "bits3" for codes of 3 bits.
      shape: of the array.
      words: gives its words; called once to choose a coder and once to write.
    """

    dtype: str
    shape: tuple[int, ...]
    words: Callable[[], Words]


class Codes(NamedTuple):
    """Shape and width of codes, where arrays have shape and dtype."""

    shape: tuple[int, ...]
    bits: int


class Part(NamedTuple):
    """How an array lies in a file.

    Attributes:
      coder: of its words.
      dtype: as `Source` says.
      shape: of the array.
      size_bytes: that the coder wrote.
    """

    coder: Coder
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def struct(self) -> jax.ShapeDtypeStruct | Codes:
        """Shape and dtype of the array; of a Python number, those of its array."""
        if self.dtype in _CODE_BITS:
            return Codes(self.shape, _CODE_BITS[self.dtype])
        return jax.ShapeDtypeStruct(
            self.shape, known_dtype(PYTHON_TYPES.get(self.dtype, self.dtype))
        )


def declared(coder: Coder, dtype: str, shape: tuple[int, ...], size_bytes: int) -> Part:
    """A part as a file describes it.

    Raises:
      ValueError: the dtype is none that can be stored, or there are too many axes.
    """
    if dtype not in _CODE_BITS:
        known_dtype(PYTHON_TYPES.get(dtype, dtype))
    if len(shape) > _LARGEST_RANK:
        raise ValueError(f"an array of {len(shape)} axes, more than {_LARGEST_RANK}")
    return Part(coder, dtype, shape, size_bytes)


def of_array(x: np.ndarray, dtype: str = "") -> Source:
    """The source that stores an array on the host; `dtype` where it is a number's."""
    return Source(dtype or x.dtype.name, x.shape, lambda: array_words(x))


def of_codes(shape: tuple[int, ...], bits: int, values: Callable[[], np.ndarray]) -> Source:
    """Codes of a few bits each; `values` gives them as uint8 of this shape."""
    return Source(
        f"bits{bits}", shape, lambda: Words(np.ascontiguousarray(values()).reshape(-1), bits)
    )


def planned(source: Source) -> Part:
    """The array with the coder that takes the fewest bytes; nothing is written yet."""
    coder, size_bytes = smallest(source.words())
    return Part(coder, source.dtype, source.shape, size_bytes)


def encoded(source: Source, part: Part) -> np.ndarray:
    """The bytes that were planned, (part.size_bytes,) uint8.

    Raises:
      ValueError: the array has changed since.
    """
    coded = part.coder.encode(source.words())
    if coded.size != part.size_bytes:
        raise ValueError("an array changed while it was saved. Save a copy of it")
    return coded


def decoded(part: Part, coded: np.ndarray) -> np.ndarray:
    """The array; of codes, uint8 values below 2**bits.

    Args:
      part: how it lies in the file.
      coded: (part.size_bytes,) uint8.

    Raises:
      ValueError: the bytes are not such an array.
    """
    struct, size = part.struct, math.prod(part.shape)
    if isinstance(struct, Codes):
        return part.coder.decode(coded, size, struct.bits).reshape(part.shape)
    count = word_count(struct.dtype, size)
    values = part.coder.decode(coded, count, WORD_BITS[struct.dtype.name])
    return values.view(struct.dtype).reshape(part.shape)
