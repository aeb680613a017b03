"""Leaves of a file that need those of another file."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from jaxcompress.core.leaf import materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.order import inverse

_BLOCK = 1 << 18
"""Numbers that are held in float32 at once."""


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
    planes: tuple[Any, ...]

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
        found = np.array(base, order="C")
        numbers, negative = found.reshape(-1), np.reshape(self.negative, -1)
        for some in _blocks(numbers.size):
            step = np.where(negative[some], -self.scale, self.scale)
            numbers[some] = _moved(numbers[some], step)
        return found


@dataclasses.dataclass(frozen=True)
class Product:
    """An array as the other file's and the product of two factors.

        x = base + left · right

    Computed in float32 and rounded to the dtype.

    Attributes:
      dtype: of the array, a real floating one; the other's too.
      shape: of the array; the other's too.
      factors: a leaf of the shape that stands for float32; its rank is at least 1 and
        at most what a matrix of the shape can have.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    factors: Any

    @property
    def parts(self) -> dict[str, Any]:
        """The factors by name, as files have them."""
        return {"factors": self.factors}

    def applied(self, base: np.ndarray) -> np.ndarray:
        """The array, from the other file's."""
        left, right = materialize((self.factors.left, self.factors.right))
        order, (matrices, outputs, inputs) = self.factors.permutation, matrices_of(self.factors)
        left = np.asarray(left, np.float32).reshape(matrices, outputs, self.factors.rank)
        right = np.asarray(right, np.float32).reshape(matrices, self.factors.rank, inputs)
        found = np.array(base.transpose(order), order="C")  # (batch…, output…, contracting…)
        numbers = found.reshape(matrices, outputs, inputs)
        for group in _blocks(matrices, outputs * inputs):
            for some in _blocks(outputs, inputs * len(left[group])):
                with np.errstate(over="ignore", invalid="ignore"):
                    step = left[group, some] @ right[group]
                numbers[group, some] = _moved(numbers[group, some], step)
        return np.ascontiguousarray(found.transpose(inverse(order)))


REFERRING = (Same, Difference, Signs, Product)
"""Leaves that need another file."""


def matrices_of(factors: LowRank) -> tuple[int, int, int]:
    """How many matrices a product of factors is, and their outputs and inputs."""
    shape, batch = factors.stored_shape, factors.batch_ndim
    outputs = batch + factors.output_ndim
    return math.prod(shape[:batch]), math.prod(shape[batch:outputs]), math.prod(shape[outputs:])


def _blocks(rows: int, columns: int = 1) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, columns))
    return (slice(begin, begin + step) for begin in range(0, rows, step))


def _moved(numbers: np.ndarray, step: np.ndarray) -> np.ndarray:
    # What leaves the range of float32 or of the dtype becomes infinite or NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        return (numbers.astype(np.float32) + step).astype(numbers.dtype)
