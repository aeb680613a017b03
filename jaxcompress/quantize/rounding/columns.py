"""A matrix by its inputs, in the order in which they are rounded."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.formats import coding
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.sharing import spread
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array


class Columns(NamedTuple):
    """The inputs of a matrix in their turns; each is one row, contiguous in memory.

    Attributes:
      weights: (inputs, outputs) float32.
      on: what their codes are read with, (inputs, 1 or outputs) each; no codebook.
      codebook: (levels,) that all share; None where the spec knows the levels.
      spec: the format.
    """

    weights: Array
    on: Grid
    codebook: Array | None
    spec: QuantSpec

    def encode(self, x: Array, on: Grid, weights: Array) -> Array:
        """The nearest codes; those of zero where the weights are 0, if there are some.

        Args:
          x: (outputs,) of one input, or (inputs, outputs) of all.
          on: the same inputs of `self.on`.
          weights: of the shape of `x`.
        """
        if self.spec.has_zero:
            x = jnp.where(weights == 0, 0.0, x)
        return coding.encode(x, self._read(on, x), self.spec)

    def decode(self, codes: Array, on: Grid) -> Array:
        """The values of codes; arguments as `encode`."""
        return coding.decode(codes, self._read(on, codes), self.spec)

    @property
    def nearest(self) -> Array:
        """The codes of rounding to nearest, (inputs, outputs)."""
        return self.encode(self.weights, self.on, self.weights)

    def _read(self, on: Grid, x: Array) -> Grid:
        if self.codebook is None:
            return on
        return on._replace(codebook=self.codebook.reshape((1,) * x.ndim + (-1,)))


def require_one_codebook(on: Grid) -> None:
    """Raises a ValueError where the levels of a matrix differ from block to block."""
    if on.codebook is not None and math.prod(on.codebook.shape[:-1]) > 1:
        raise ValueError(
            f"a rounding between levels needs one codebook for each matrix, and this has "
            f"{math.prod(on.codebook.shape[:-1])}. Give k_means a format with per='tensor', or "
            "round by nearest(k_means())."
        )


def columns_of(weight: Array, on: Grid, turns: Array, spec: QuantSpec) -> Columns:
    """The inputs of a matrix (outputs, inputs) in their turns.

    Args:
      weight: (outputs, inputs) float32.
      on: its grid, as `grid_of` gives it.
      turns: (inputs,) which input is first, second, …
      spec: the format.

    Raises:
      ValueError: blocks of the matrix have codebooks of their own.
    """
    outputs, inputs = weight.shape
    require_one_codebook(on)

    def each(part: Array) -> Array:
        rows = 1 if part.shape[0] == 1 else outputs
        part = jnp.broadcast_to(spread(part, weight.shape), (rows, inputs))
        return part.T[turns]

    codebook = None if on.codebook is None else on.codebook.reshape(-1)
    parts = jax.tree.map(each, on._replace(codebook=None))
    return Columns(weight.T[turns], parts, codebook, spec)
