"""Differences of arrays, and how files describe the leaves that need another file.

A difference is taken of the bits, as integers, so that it is exact for every dtype, and
stored in planes of one byte: numbers of nearly the same value differ in low bytes, and
the planes of the high ones are mostly zeros.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcompress.core.lowrank import LowRank
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
from jaxcompress.storage.container.references import (
    Difference,
    Product,
    Same,
    Signs,
    matrices_of,
)


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


def fields_of(leaf: Same | Difference | Signs | Product, specs: Sequence[QuantSpec]) -> list[Any]:
    """What is no array of a leaf, as JSON."""
    del specs
    return [leaf.dtype.name, list(leaf.shape)]


def same(fields: list[Any], arrays: Mapping[Any, Any], specs: Sequence[QuantSpec]) -> Same:
    """The leaf that a file describes.

    Raises:
      FileError: it describes none.
    """
    del specs
    if arrays:
        raise contradiction(f"parts {shown(sorted(arrays))} in a leaf that is the same")
    return Same(*_struct(fields))


def difference(
    fields: list[Any], arrays: Mapping[Any, Any], specs: Sequence[QuantSpec]
) -> Difference:
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


def signs(fields: list[Any], arrays: Mapping[Any, Any], specs: Sequence[QuantSpec]) -> Signs:
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


def product(fields: list[Any], parts: Mapping[Any, Any], specs: Sequence[QuantSpec]) -> Product:
    """The leaf that a file describes, of arrays or of their shapes.

    Raises:
      FileError: it describes none.
    """
    del specs
    dtype, shape = _struct(fields)
    factors = parts.get("factors")
    if len(parts) > 1 or not isinstance(factors, LowRank):
        raise contradiction(f"parts {shown(sorted(parts))} that are not the factors of a product")
    if (factors.shape, factors.dtype) != (shape, np.float32):
        raise contradiction("a product of another shape than its leaf's, or not of float32")
    largest = min(matrices_of(factors)[1:])
    if not 1 <= factors.rank <= largest:
        raise contradiction(f"rank {factors.rank} of matrices that have {largest} at most")
    return Product(floating_dtype(dtype.name), shape, factors)


def _dtype(x) -> np.dtype | None:
    return np.dtype(x.dtype) if isinstance(x, np.ndarray | jax.ShapeDtypeStruct) else None


def _struct(fields: list[Any]) -> tuple[np.dtype, tuple[int, ...]]:
    match fields:
        case [str(name), list(shape)]:
            return known_dtype(name), checked_shape(shape)
    raise contradiction(f"{shown(fields)} are not dtype and shape of a difference")
