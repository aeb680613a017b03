"""One array of a leaf as coded bytes, and back."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.storage.coders import FAST, Coder
from jaxcompress.storage.coders.selection import sizes
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container.dtypes import (
    PYTHON_TYPES,
    array_layout,
    array_words,
    known_dtype,
)
from jaxcompress.storage.container.errors import contradiction

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

    @property
    def layout(self) -> Layout:
        """How the words lie that its coder codes."""
        struct = self.struct
        if isinstance(struct, Codes):
            return _codes_layout(struct.shape, struct.bits)
        return array_layout(struct.dtype, struct.shape)


def declared(coder: Coder, dtype: str, shape: tuple[int, ...], size_bytes: int) -> Part:
    """A part as a file describes it.

    Raises:
      FileError: the dtype is none that can be stored, a Python number has axes, the
        coder has no such words, or the bytes are too few.
    """
    if dtype not in _CODE_BITS:
        known_dtype(PYTHON_TYPES.get(dtype, dtype))
    if dtype in PYTHON_TYPES and shape:
        raise contradiction(f"a {dtype} of shape {shown(shape)}, which is one number")
    part = Part(coder, dtype, shape, size_bytes)
    layout = part.layout
    if not coder.fits(layout):
        raise contradiction(f"{dtype} by the coder {coder.name}, which has no such words")
    least = coder.least_bytes(layout)
    if size_bytes < least:
        raise contradiction(f"{size_bytes} bytes where its numbers take {least} or more")
    return part


def of_array(x: np.ndarray, dtype: str = "") -> Source:
    """The source that stores an array on the host; `dtype` where it is a number's."""
    return Source(dtype or x.dtype.name, x.shape, lambda: array_words(x))


def of_codes(shape: tuple[int, ...], bits: int, values: Callable[[], np.ndarray]) -> Source:
    """Codes of a few bits each; `values` gives them as uint8 of this shape."""
    layout = _codes_layout(shape, bits)
    return Source(
        f"bits{bits}", shape, lambda: Words(np.ascontiguousarray(values()).reshape(-1), layout)
    )


def _codes_layout(shape: tuple[int, ...], bits: int) -> Layout:
    return Layout(bits, shape, inputs_last=True)


def planned(source: Source, coders: Sequence[Coder] = FAST) -> list[Part]:
    """The array by each coder that may make it small, the smallest first.

    Nothing is written yet.
    """
    found = sizes(source.words(), coders)
    ordered = sorted(found, key=found.__getitem__)
    return [Part(coder, source.dtype, source.shape, found[coder]) for coder in ordered]


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
      FileError: the bytes are not such an array.
    """
    values, struct = part.coder.decode(coded, part.layout), part.struct
    dtype = values.dtype if isinstance(struct, Codes) else struct.dtype
    return values.view(dtype).reshape(part.shape)
