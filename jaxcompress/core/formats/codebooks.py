"""Codes that stand for levels which the leaf stores itself: learned tables."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.choices import set_whole
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.formats.tables import count_below, entries_at, padded
from jaxcompress.core.sharding import gathered
from jaxcompress.core.types import Array


@dataclasses.dataclass(frozen=True)
class Codebook:
    """A table of levels that is part of the leaf, one for each of its stacked leaves.

    Also known as: weight sharing, clustering, a k-means codebook.

    Invariants:
      - 2**bits levels of float32, in units of the scale, in any order.
      - The level of code 0 is exactly zero, so that pruned weights stay so.
      - The nearest level wins; a tie goes to the lower level.
    """

    kind: ClassVar[str] = "codebook"
    symmetric: ClassVar[bool] = True
    odd: ClassVar[bool] = False
    has_zero: ClassVar[bool] = True
    lowest: ClassVar[int] = 0
    ends: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    bits: int

    def __post_init__(self) -> None:
        set_whole(self, "bits")
        if not 2 <= self.bits <= 8:
            raise ValueError(f"Codebook(bits={self.bits}) must be from 2 to 8.")

    @property
    def highest(self) -> int:
        return 2**self.bits - 1

    @property
    def name(self) -> str:
        return f"codebook of {2**self.bits}"

    @property
    def start(self) -> np.ndarray:
        """Levels to begin with, (2**bits,): zero and even steps to -1 and to 1."""
        below = 2 ** (self.bits - 1)  # one more than above
        steps = [0.0, *(-(np.arange(below, 0, -1) / below)), *(np.arange(1, below) / (below - 1))]
        return np.asarray(steps, np.float32)

    def nearest(self, x: Array, codebook: Array) -> Array:
        """The code of the level nearest to each entry, ties to the lower level.

        Args:
          x: (...) float32.
          codebook: of the rank of `x` and one more, its sizes dividing those of `x`.
        """
        order = jnp.argsort(gathered(codebook), axis=-1)
        levels = jnp.take_along_axis(gathered(codebook), order, axis=-1)
        # Halves first, since the sum of two huge levels overflows.
        middles = padded(levels[..., 1:] / 2 + levels[..., :-1] / 2, self.bits)
        first = _first(codebook, x.shape)
        found = count_below(x, middles.reshape(-1), self.bits, first)
        return entries_at(order.reshape(-1), first + found).astype(jnp.float32)

    def value(self, codes: Array, codebook: Array) -> Array:
        """The levels of codes, as float32; arguments as `nearest`."""
        index = _first(codebook, codes.shape) + codes.astype(jnp.int32)
        return entries_at(gathered(codebook).reshape(-1), index)


def _first(codebook: Array, shape: tuple[int, ...]) -> Array:
    """Where the levels of each entry begin among all, to broadcast to `shape`."""
    *blocks, levels = codebook.shape
    begins = np.arange(math.prod(blocks), dtype=np.int32).reshape(blocks) * levels
    return spread(jnp.asarray(begins), shape)
