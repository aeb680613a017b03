"""Leaves inside of a step alone: a weight, and the adapter that lies beside it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core import flax_leaf
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.leaf import CompressedLeaf, is_compressed, materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import inverse
from jaxcompress.core.types import Array


def wide(dtype: Any) -> np.dtype:
    """What sums of weights of this dtype are formed in: float32, or float64."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def widened(leaf: Any) -> Array:
    """The array of a leaf, in the dtype that sums are formed in."""
    if is_compressed(leaf):
        leaf = leaf.astype(wide(leaf.dtype))
    return jnp.asarray(materialize(leaf)).astype(wide(leaf.dtype))


def base_as_read(leaf: "Adapted | Corrected") -> Any:
    """The base of a sum without the product, of the dtype that the sum has."""
    base: Any = leaf.base
    return base.astype(leaf.dtype) if is_compressed(base) else narrowed(base, leaf.dtype)


def spread(gain: Array, product: LowRank) -> Array:
    """A number for each output, as it broadcasts to the array of a product.

    Args:
      gain: (batch…, output…) in the stored order of the product.
      product: any.
    """
    inputs = len(product.shape) - gain.ndim
    stored = jnp.expand_dims(gain, tuple(range(-inputs, 0)))  # (batch…, output…, 1…)
    return jnp.transpose(stored, inverse(product.permutation))


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Adapted(CompressedLeaf):
    """A weight plus a product of two factors.

        array = base + correction

    Invariants:
      - `base` is an array or any compressed leaf, `correction` a `LowRank` of its shape
        with factors of float32.
      - The sum is formed in float32, or float64 where the base has it, and then cast.
    """

    base: Any
    correction: LowRank
    dtype: np.dtype

    def __post_init__(self) -> None:
        flax_leaf.register(Adapted, CompressedLeaf)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.base.shape)

    @property
    def stacked(self) -> bool:
        return self.correction.stacked and (not is_compressed(self.base) or self.base.stacked)

    @property
    def total(self) -> Array:
        """The sum before the cast."""
        base = widened(self.base)
        return base + self.correction.astype(base.dtype).materialize()

    def materialize(self) -> Array:
        return narrowed(self.total, self.dtype)

    def _permuted(self, permutation: tuple[int, ...]) -> "Adapted":
        base = self.base
        base = (
            base.transpose(permutation) if is_compressed(base) else jnp.transpose(base, permutation)
        )
        return dataclasses.replace(
            self, base=base, correction=self.correction.transpose(permutation)
        )

    def _standing_for(self, dtype: np.dtype) -> "Adapted":
        return dataclasses.replace(self, dtype=dtype)

    @property
    def parts(self) -> dict[str, Any]:
        return {"base": self.base, "correction": self.correction}

    def with_parts(self, parts: dict[str, Any]) -> "Adapted":
        return dataclasses.replace(self, **parts)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        keyed = tuple((jax.tree_util.GetAttrKey(name), part) for name, part in self.parts.items())
        return keyed, (self.dtype,)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Adapted":
        return cls(*children, *static)

    def __repr__(self) -> str:
        return f"Adapted(shape={self.shape}, dtype={self.dtype})"


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Rescaled(CompressedLeaf):
    """A weight plus a product of two factors, each output times a number of its own.

        array = gain · (base + correction)

    Invariants:
      - `gain` is (batch…, output…) float in the stored order of the correction.
    """

    direction: Adapted
    gain: Array

    def __post_init__(self) -> None:
        flax_leaf.register(Rescaled, CompressedLeaf)

    @property
    def dtype(self) -> np.dtype:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.direction.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.direction.shape

    @property
    def stacked(self) -> bool:
        return self.direction.stacked

    def materialize(self) -> Array:
        total = self.direction.total
        gain = spread(self.gain, self.direction.correction)
        return narrowed(total * gain.astype(total.dtype), self.dtype)

    def _permuted(self, permutation: tuple[int, ...]) -> "Rescaled":
        return dataclasses.replace(self, direction=self.direction.transpose(permutation))

    def _standing_for(self, dtype: np.dtype) -> "Rescaled":
        return dataclasses.replace(self, direction=self.direction.astype(dtype))

    @property
    def parts(self) -> dict[str, Any]:
        return {"direction": self.direction, "gain": self.gain}

    def with_parts(self, parts: dict[str, Any]) -> "Rescaled":
        return dataclasses.replace(self, **parts)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        keyed = tuple((jax.tree_util.GetAttrKey(name), part) for name, part in self.parts.items())
        return keyed, ()

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Rescaled":
        del static
        return cls(*children)

    def __repr__(self) -> str:
        return f"Rescaled(shape={self.shape}, dtype={self.dtype})"
