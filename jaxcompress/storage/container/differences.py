"""Leaves of a file that says how a tree differs from that of another file.

A difference is taken of the bits, as integers, so that it is exact for every dtype, and
stored in planes of one byte: numbers of nearly the same value differ in low bytes, and
the planes of the high ones are mostly zeros.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from jaxcompress.core.messages import shown
from jaxcompress.core.spec import QuantSpec
from jaxcompress.storage.container.dtypes import (
    WORD_BITS,
    array_layout,
    array_words,
    floating_dtype,
    known_dtype,
)
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.limits import checked_shape
from jaxcompress.storage.container.parts import Codes


@dataclasses.dataclass(frozen=True)
class Same:
    """A leaf that is the other file's, bit for bit.

    Attributes:
      dtype: of the array that it stands for.
      shape: of that array.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    parts: ClassVar[dict[str, Any]] = {}


@dataclasses.dataclass(frozen=True)
class Difference:
    """An array as the difference of its bits from those of the other file's.

    Attributes:
      dtype: of the array; the other's too.
      shape: of the array; the other's too.
      planes: (words,) uint8 each, the bytes of the folded differences, lowest first.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    planes: tuple

    @property
    def parts(self) -> dict[str, Any]:
        """The planes by name, as files have them."""
        return {str(position): plane for position, plane in enumerate(self.planes)}


@dataclasses.dataclass(frozen=True)
class Signs:
    """An array as the other file's and one step up or down for each number.

        x = base + scale where not negative, base - scale where negative

    Computed in float32 and rounded to the dtype.

    Attributes:
      dtype: of the array, a real floating one; the other's too.
      shape: of the array; the other's too.
      negative: uint8 of the shape, 1 where the step goes down.
      scale: () float32.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    negative: Any
    scale: Any

    @property
    def parts(self) -> dict[str, Any]:
        """The signs and the scale by name, as files have them."""
        return {"negative": self.negative, "scale": self.scale}

    def applied(self, base: np.ndarray) -> np.ndarray:
        """The array, from the other file's."""
        step = np.where(self.negative, -self.scale, self.scale)
        return (base.astype(np.float32) + step).astype(self.dtype)


REFERRING = (Same, Difference, Signs)
"""Leaves that need another file."""


def folded(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Differences of unsigned words as unsigned words, small where they are near.

        d = new - old, in the words' bits;  0, -1, 1, -2, 2… become 0, 1, 2, 3, 4…

    Also known as: zigzag encoding.

    Args:
      new: (n,) unsigned.
      old: the same.

    Returns:
      (n,) of the same dtype.

    Example:
      >>> folded(np.array([5, 7, 0], np.uint8), np.array([5, 8, 255], np.uint8))
      array([0, 1, 2], dtype=uint8)
    """
    difference = new - old
    top = difference.dtype.type(8 * difference.itemsize - 1)
    negative = difference >> top  # 0 or 1
    difference <<= difference.dtype.type(1)
    np.subtract(difference.dtype.type(0), negative, out=negative)  # all bits or none
    difference ^= negative
    return difference


def unfolded(folds: np.ndarray, old: np.ndarray) -> np.ndarray:
    """The new words, in the memory of the folded differences.

    Example:
      >>> unfolded(np.array([0, 1, 2], np.uint8), np.array([5, 8, 255], np.uint8))
      array([5, 7, 0], dtype=uint8)
    """
    one = folds.dtype.type(1)
    negative = folds & one
    np.subtract(folds.dtype.type(0), negative, out=negative)
    folds >>= one
    folds ^= negative
    folds += old
    return folds


def plane_of(folds: np.ndarray, position: int) -> np.ndarray:
    """One byte of each word, (n,) uint8, the lowest at position 0."""
    return np.ascontiguousarray(folds.view(np.uint8).reshape(-1, folds.itemsize)[:, position])


def plane_count(dtype: np.dtype) -> int:
    """Bytes of one word; 0 where words have no whole ones and differences no planes."""
    return WORD_BITS[dtype.name] // 8


def applied(difference: Difference, base: np.ndarray) -> np.ndarray:
    """The array that differs so from the other file's, both of one dtype and shape."""
    old = array_words(base).values
    joined = np.empty((old.size, old.itemsize), np.uint8)
    for position, plane in enumerate(difference.planes):
        joined[:, position] = plane
    new = unfolded(joined.reshape(-1).view(old.dtype), old)
    return new.view(difference.dtype).reshape(difference.shape)


def fields_of(leaf: Same | Difference | Signs, specs: Sequence[QuantSpec]) -> list:
    """What is no array of a leaf, as JSON."""
    del specs
    return [leaf.dtype.name, list(leaf.shape)]


def same(fields: list, arrays: Mapping, specs: Sequence[QuantSpec]) -> Same:
    """The leaf that a file describes.

    Raises:
      FileError: it describes none.
    """
    del specs
    if arrays:
        raise contradiction(f"parts {shown(sorted(arrays))} in a leaf that is the same")
    return Same(*_struct(fields))


def difference(fields: list, arrays: Mapping, specs: Sequence[QuantSpec]) -> Difference:
    """The leaf that a file describes, of arrays or of their shapes.

    Raises:
      FileError: it describes none.
    """
    del specs
    dtype, shape = _struct(fields)
    wanted = [str(position) for position in range(plane_count(dtype))]
    words = array_layout(dtype, shape).size
    if not wanted or list(arrays) != wanted:
        raise contradiction(f"parts {shown(list(arrays))} in a difference, not {wanted}")
    for plane in arrays.values():
        if not isinstance(plane, np.ndarray | jax.ShapeDtypeStruct):
            raise contradiction("planes of a difference that are no arrays")
        if (plane.dtype, plane.shape) != (np.uint8, (words,)):
            raise contradiction(f"planes of a difference that are not of {words} bytes")
    return Difference(dtype, shape, tuple(arrays.values()))


def signs(fields: list, arrays: Mapping, specs: Sequence[QuantSpec]) -> Signs:
    """The leaf that a file describes, of arrays or of their shapes.

    Raises:
      FileError: it describes none.
    """
    del specs
    dtype, shape = _struct(fields)
    match arrays:
        case {"negative": (Codes() | np.ndarray()) as negative, "scale": scale} if len(arrays) == 2:
            bits = negative.bits if isinstance(negative, Codes) else 1
            found = negative.shape, bits, getattr(scale, "shape", None), _dtype(scale)
            if found == (shape, 1, (), np.float32):
                return Signs(floating_dtype(dtype.name), shape, negative, scale)
    raise contradiction(f"parts {shown(sorted(arrays))} that are not signs and one scale")


def _dtype(x) -> np.dtype | None:
    return np.dtype(x.dtype) if isinstance(x, np.ndarray | jax.ShapeDtypeStruct) else None


def _struct(fields: list) -> tuple[np.dtype, tuple[int, ...]]:
    match fields:
        case [str(name), list(shape)]:
            return known_dtype(name), checked_shape(shape)
    raise contradiction(f"{shown(fields)} are not dtype and shape of a difference")
