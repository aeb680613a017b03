"""The hashed leaf: a few values, and a fixed hash that says which entry is which.

How values are found is the matter of `quantize.sharing`.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxcompress.core import flax_leaf, jax_leaf
from jaxcompress.core.apart import in_brief, require_parts, require_whole
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_floating
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import from_the_end, inverse
from jaxcompress.core.ordered_leaf import OrderedLeaf
from jaxcompress.core.types import Array

MOST_ENTRIES = 2**31 - 1
"""Of one layer: places are hashed and counted in 32 bits."""


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Hashed(OrderedLeaf):
    """An array whose entries are a few values, chosen by a hash of their place.

        array[batch…, i] = sign(i) · values[batch…, bucket(i)]

    i counts the entries of a layer, its axes in the order (output…, contracting…), the
    last fastest. The hash is fixed for ever, so that files stay readable:

        mix(x): x ^= x >> 16;  x *= 0x85EBCA6B;  x ^= x >> 13;  x *= 0xC2B2AE35;
                x ^= x >> 16                         in 32 bits without a sign
        h(i) = mix(i + seed · 0x9E3779B9)
        bucket(i) = h(i) mod buckets
        sign(i) = -1 where mix(h(i) ^ 0x5BD1E995) >= 2**31, else 1

    Also known as: HashedNets, the hashing trick for weights.

    Invariants:
      - `values` is (batch…, buckets), real floating. Layers of a stack share the hash
        and nothing else; `vmap` and `scan` may take leading axes away or add them.
      - `sizes` are those of a layer's axes in the order above; their product is from 1
        to `MOST_ENTRIES`.
      - Stored axis i, of (batch…, output…, contracting…), is logical axis `order[i]`,
        counted from the end as in `LowRank`.
      - `seed` is in [0, 2**32).
      - A tree may hold gradients or an optimizer's state in the place of the values.
    """

    values: Array
    sizes: tuple[int, ...]
    seed: int
    dtype: np.dtype
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        flax_leaf.register(Hashed, CompressedLeaf)

    @classmethod
    def from_values(
        cls, values: Array, sizes: tuple[int, ...], *, seed: int, dtype: DTypeLike, axes: LeafAxes
    ) -> "Hashed":
        """Makes the leaf of these values.

        Args:
          values: (batch…, buckets).
          sizes: of the axes of a layer, (output…, contracting…).
          seed: of the hash, in [0, 2**32).
          dtype: floating dtype of the array the leaf stands for.
          axes: the roles of the logical axes, which give the stored order.

        Returns:
          Hashed whose logical shape has the sizes in the leaf's own order.

        Raises:
          ValueError: values, sizes and axes do not fit each other, the seed or the
            number of entries is out of range, or a dtype is not real floating.

        Example:
          >>> axes = LeafAxes(contracting=(0,), output=(1,))
          >>> form = {"seed": 0, "dtype": jnp.float32, "axes": axes}
          >>> leaf = Hashed.from_values(jnp.array([1.0, 3.0]), (2, 4), **form)
          >>> leaf.materialize().T
          Array([[-1., -3., -1.,  3.],
                 [-3., -3.,  1.,  1.]], dtype=float32)
        """
        for argument, given in (("values", values.dtype), ("dtype", dtype)):
            check_floating("Hashed.from_values", argument, given)
        batch, layer = len(axes.batch), len(axes.order) - len(axes.batch)
        if len(values.shape) != batch + 1 or len(sizes) != layer:
            raise ValueError(
                f"Hashed.from_values(values, sizes={sizes}): values of shape {values.shape} must "
                f"be (batch…, buckets) with {batch} batch axes, and sizes those of {layer} others."
            )
        static = (tuple(map(int, sizes)), seed, np.dtype(dtype), from_the_end(axes.order))
        leaf = cls(values, *static)
        if fault := leaf._shape_fault():
            raise ValueError(f"Hashed.from_values(values, sizes={sizes}) cannot have {fault}.")
        return leaf

    @property
    def buckets(self) -> int:
        return self.values.shape[-1]

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Sizes in stored order: (batch…, output…, contracting…)."""
        return (*self.values.shape[:-1], *self.sizes)

    @property
    def stacked(self) -> bool:
        return len(self.values.shape) > 1 and self.permutation[0] == 0

    def materialize(self) -> Array:
        require_whole("Hashed", self._dtype_fault, self._shape_fault)
        return _array(self)

    @property
    def parts(self) -> dict[str, Array]:
        return {"values": self.values}

    def with_parts(self, parts: dict[str, Array]) -> "Hashed":
        leaf = dataclasses.replace(self, **parts)
        require_parts("Hashed", leaf._dtype_fault() or leaf._shape_fault())
        return leaf

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        keyed = ((jax.tree_util.GetAttrKey("values"), self.values),)
        return keyed, (self.sizes, self.seed, self.dtype, self.order)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Hashed":
        return cls(*children, *static)

    def _dtype_fault(self) -> str:
        found = getattr(self.values, "dtype", None)
        if found is None or not jnp.issubdtype(found, jnp.floating):
            return f"values of {found or type(self.values).__name__}"
        return ""

    def _shape_fault(self) -> str:
        shape, entries = tuple(self.values.shape), math.prod(self.sizes)
        if not shape or not shape[-1] or len(self.order) > len(shape) - 1 + len(self.sizes):
            return f"values of shape {shape} for axes of sizes {self.sizes}"
        if not self.sizes or min(self.sizes) < 1 or entries > MOST_ENTRIES:
            return f"layers of sizes {self.sizes}, not of 1 to {MOST_ENTRIES} entries"
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            return f"a seed of {self.seed!r}, no int in [0, 2**32)"
        return ""

    def __repr__(self) -> str:
        if not hasattr(self.values, "shape") or self._shape_fault():
            return f"Hashed({in_brief(self.parts)})"
        return f"Hashed(buckets={self.buckets}, shape={self.shape}, dtype={self.dtype})"


def places(entries: int, buckets: int, seed: int) -> tuple[Array, Array]:
    """The bucket and the sign of each entry of a layer.

    Args:
      entries: of the layer.
      buckets: how many values there are.
      seed: of the hash.

    Returns:
      (bucket, negative): (entries,) int32 in [0, buckets), and bool.

    Example:
      >>> bucket, negative = places(4, 2, seed=0)
      >>> bucket.tolist(), negative.tolist()
      ([0, 1, 0, 1], [True, True, True, False])
    """
    mixed = hashes(entries, seed)
    bucket = jax.lax.rem(mixed, jnp.full_like(mixed, buckets))
    return bucket.astype(jnp.int32), mix(mixed ^ np.uint32(0x5BD1E995)) >= np.uint32(2**31)


def hashes(entries: int, seed: int) -> Array:
    """The hash h(i) of each entry of a layer, (entries,) uint32; no two are equal.

    Example:
      >>> hashes(3, seed=0).tolist()
      [0, 1364076727, 821347078]
    """
    first = np.uint32(seed * 0x9E3779B9 % 2**32)
    return mix(jax.lax.iota(jnp.uint32, entries) + first)


def mix(x: Array) -> Array:
    """The finalizer of MurmurHash3 on uint32: every bit depends on every other."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def static_to_json(static: tuple[Any, ...]) -> dict[str, Any]:
    """What is static in a leaf, as its flattening gives it, in plain values."""
    sizes, seed, dtype, order = static
    return {"sizes": list(sizes), "seed": seed, "dtype": dtype.name, "order": list(order)}


def static_from_json(fields: dict[str, Any]) -> tuple[Any, ...]:
    """The opposite of `static_to_json`."""
    dtype, order = np.dtype(fields["dtype"]), tuple(fields["order"])
    return tuple(fields["sizes"]), fields["seed"], dtype, order


jax_leaf.register_export(Hashed, static_to_json, static_from_json)


@functools.partial(jax.jit, inline=True)
def _array(leaf: Hashed) -> Array:
    """The array of a whole leaf: one program, not one for each operation."""
    bucket, negative = places(math.prod(leaf.sizes), leaf.buckets, leaf.seed)
    found = jnp.take(leaf.values, bucket, axis=-1, mode="clip")
    negative = jnp.broadcast_to(negative, found.shape)
    stored = jnp.where(negative, -found, found).reshape(leaf.stored_shape)
    return narrowed(jnp.transpose(stored, inverse(leaf.permutation)), leaf.dtype)
