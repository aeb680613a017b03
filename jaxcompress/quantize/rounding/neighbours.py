"""The two levels that a weight lies between, in every format."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.rounding.columns import require_one_codebook
from jaxcompress.quantize.rounding.matrices import decoded, encoded


class Neighbours(NamedTuple):
    """The levels on both sides of each entry of a matrix, all (outputs, inputs).

    Attributes:
      nearest: code of the nearest level.
      other: code of the level on the other side of the entry; the nearest again where
        the entry is a level itself, or lies beyond all.
      value: the nearest level.
      beyond: the other level.
      share: of the gap that lies between the nearest level and the entry, in [0, 1/2];
        0 where there is no gap.
    """

    nearest: Array
    other: Array
    value: Array
    beyond: Array
    share: Array

    @property
    def gap(self) -> Array:
        """From the nearest level to the other, below 0 where that is the lower one."""
        return self.beyond - self.value


def neighbours(weight: Array, on: Grid, spec: QuantSpec) -> Neighbours:
    """The levels that the entries of a matrix lie between.

    Args:
      weight: (outputs, inputs) float32.
      on: its grid.
      spec: the format.

    Example:
      >>> on = Grid(jnp.ones((1, 1)))
      >>> found = neighbours(jnp.array([[0.25, -1.5, 9.0]]), on, jc.quantize.int4())
      >>> found.nearest.tolist(), found.other.tolist(), found.share.tolist()
      ([[0.0, -2.0, 7.0]], [[1.0, -1.0, 7.0]], [[0.25, 0.5, 0.0]])
    """
    nearest = encoded(weight, on, spec)
    value = decoded(nearest, on, spec)
    other = _beside(nearest, jnp.sign(weight - value), on, spec)
    beyond = decoded(other, on, spec)
    gap = beyond - value
    share = jnp.where(gap == 0, 0.0, (weight - value) / jnp.where(gap == 0, 1.0, gap))
    return Neighbours(nearest, other, value, beyond, jnp.clip(share, 0.0, 0.5))


def _beside(codes: Array, way: Array, on: Grid, spec: QuantSpec) -> Array:
    """The codes of the next levels above (1) or below (-1), if there are any."""
    if not isinstance(spec.levels, Codebook):
        return jnp.clip(codes + way, spec.lowest, spec.highest)
    require_one_codebook(on)
    # Its levels lie in any order.
    order = jnp.argsort(jnp.asarray(on.codebook).reshape(-1))
    rank = jnp.argsort(order)[codes.astype(jnp.int32)] + way.astype(jnp.int32)
    return order[jnp.clip(rank, spec.lowest, spec.highest)].astype(jnp.float32)
