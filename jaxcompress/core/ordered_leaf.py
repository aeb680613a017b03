"""Compressed leaves whose arrays have the axes in an order of their own."""

import dataclasses
from typing import Self

import numpy as np

from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.order import inverse, permutation_of, reordered


class OrderedLeaf(CompressedLeaf):
    """Base class of leaves that are dataclasses with a stored order of axes.

    Invariants:
      - A transpose changes `order` and no array; a cast changes `dtype` and no array.

    Attributes:
      order: stored axis i is axis `order[i]` of the array, as `from_the_end` gives it.
    """

    order: tuple[int, ...]

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Sizes in stored order: (batch…, output…, contracting…)."""
        raise NotImplementedError

    @property
    def permutation(self) -> tuple[int, ...]:
        """Stored axis i is logical axis `permutation[i]`."""
        return permutation_of(self.order, len(self.stored_shape))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored_shape[axis] for axis in inverse(self.permutation))

    def _permuted(self, permutation: tuple[int, ...]) -> Self:
        return self._with(order=reordered(self.permutation, permutation))

    def _standing_for(self, dtype: np.dtype) -> Self:
        return self._with(dtype=dtype)

    def _with(self, **fields) -> Self:
        return dataclasses.replace(self, **fields)  # pyright: ignore[reportArgumentType]
