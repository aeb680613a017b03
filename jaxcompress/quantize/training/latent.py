"""The leaf of a weight in training: full precision, rounded where a model reads it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core import flax_leaf
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.ranges.grids import Ranges
from jaxcompress.quantize.training.view import fake_leaf


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Latent(CompressedLeaf):
    """A full-precision weight that a model reads rounded to codes.

    Invariants:
      - `array` is the weight itself, in the leaf's own order of axes.
      - `contracting` and `output` count axes from the end, all others are batch; so
        `scan` and `vmap` may take leading axes away or add them.
      - `materialize()` is bit for bit what `fake_quantize` shows, then cast to `dtype`.
    """

    array: Array
    contracting: tuple[int, ...]
    output: tuple[int, ...]
    spec: QuantSpec
    ranges: Ranges
    dtype: np.dtype

    def __post_init__(self) -> None:
        flax_leaf.register(Latent, CompressedLeaf)

    @classmethod
    def of(cls, array: Array, choice: Assignment, ranges: Ranges) -> "Latent":
        """Makes the leaf of one array, whose axes do what `choice` says."""
        contracting, output = (
            tuple(axis - array.ndim for axis in axes)
            for axes in (choice.axes.contracting, choice.axes.output)
        )
        return cls(array, contracting, output, choice.spec, ranges, np.dtype(array.dtype))

    @property
    def axes(self) -> LeafAxes:
        contracting, output = (
            tuple(self.ndim + axis for axis in axes) for axes in (self.contracting, self.output)
        )
        # What `vmap` or `scan` put in front is batch too: it is neither of the others.
        batch = tuple(sorted(set(range(self.ndim)) - {*contracting, *output}))
        return LeafAxes(contracting, output, batch)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def stacked(self) -> bool:
        return 0 in self.axes.batch

    def materialize(self) -> Array:
        seen = fake_leaf(self.array, Assignment(self.spec, self.axes), self.ranges)
        return narrowed(seen, self.dtype)

    def _permuted(self, permutation: tuple[int, ...]) -> "Latent":
        contracting, output = (
            tuple(permutation.index(self.ndim + axis) - self.ndim for axis in axes)
            for axes in (self.contracting, self.output)
        )
        array = jnp.transpose(self.array, permutation)
        return dataclasses.replace(self, array=array, contracting=contracting, output=output)

    def _standing_for(self, dtype: np.dtype) -> "Latent":
        return dataclasses.replace(self, dtype=dtype)

    @property
    def parts(self) -> dict[str, Array]:
        return {"array": self.array}

    def with_parts(self, parts: dict[str, Array]) -> "Latent":
        return dataclasses.replace(self, array=parts["array"])

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        static = (self.contracting, self.output, self.spec, self.ranges, self.dtype)
        return ((jax.tree_util.GetAttrKey("array"), self.array),), static

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Latent":
        return cls(*children, *static)

    def __repr__(self) -> str:
        return f"Latent({self.spec}, shape={self.shape}, dtype={self.dtype})"
