"""The leaf of random codes: a few indices, and a fixed generator of candidate weights.

How indices are found is the matter of `quantize.companions`.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core import flax_leaf, jax_leaf
from jaxcompress.core.apart import in_brief, require_parts, require_whole
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_floating
from jaxcompress.core.draws import draws, streams
from jaxcompress.core.hashed import MOST_ENTRIES, places
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import from_the_end, inverse
from jaxcompress.core.ordered_leaf import OrderedLeaf
from jaxcompress.core.packing import pack, packed_length, unpack
from jaxcompress.core.types import Array

MOST_BITS = 24
"""Of an index: so many candidates can still be tried."""


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RandomCode(OrderedLeaf):
    """An array of random numbers, of which blocks were chosen from 2**bits candidates.

        array[batch…, i] = scale[batch…] · draw(i, index[batch…, block(i)])

    i counts the entries of a layer, its axes in the order (output…, contracting…), the
    last fastest. Block and draws come from fixed integer hashes, so that files stay
    readable and every machine forms the same numbers: block(i) is `bucket(i)` of
    `Hashed` with as many buckets as blocks, and draw(i, k) is the whole number of
    `core.draws`, nearly normal. One product in float32 rounds, and nothing else.

    Also known as: minimal random code learning (MIRACLE).

    Invariants:
      - `codes` is (batch…, bytes) uint8: the indices, packed. `indices` unpacks them.
      - `scale` is (batch…) float32: the deviation of the candidates over
        `draws.DEVIATION`. Layers of a stack share blocks and candidates; `vmap` and
        `scan` may take leading axes away or add them.
      - `sizes` are those of a layer's axes in the order above; their product is from 1
        to `MOST_ENTRIES`, and there are from 1 to as many blocks.
      - Stored axis i, of (batch…, output…, contracting…), is logical axis `order[i]`,
        counted from the end as in `LowRank`.
      - `bits` is from 1 to `MOST_BITS`, `seed` in [0, 2**32).
    """

    codes: Array
    scale: Array
    sizes: tuple[int, ...]
    blocks: int
    bits: int
    seed: int
    dtype: np.dtype
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        flax_leaf.register(RandomCode, CompressedLeaf)

    @classmethod
    def from_indices(
        cls,
        indices: Array,
        scale: Array,
        like: Any,  # an array or a shape
        *,
        bits: int,
        seed: int,
        axes: LeafAxes,
    ) -> "RandomCode":
        """Makes the leaf of these indices.

        Args:
          indices: (batch…, blocks) integers, each below 2**bits; higher bits are lost.
          scale: (batch…) float32, the deviation of candidates over `draws.DEVIATION`.
          like: has the shape and the floating dtype of the array the leaf stands for.
          bits: of an index, from 1 to `MOST_BITS`.
          seed: of the hashes, in [0, 2**32).
          axes: the roles of the logical axes, which give the stored order.

        Raises:
          ValueError: arrays, shape and axes do not fit each other, bits, seed or the
            number of entries are out of range, or a dtype is not real floating.

        Example:
          >>> axes = LeafAxes(contracting=(0,), output=(1,))
          >>> form = {"like": jnp.zeros((3, 2)), "bits": 8, "seed": 0, "axes": axes}
          >>> indices, scale = jnp.array([3, 200]), jnp.float32(2**-16)
          >>> leaf = RandomCode.from_indices(indices, scale, **form)
          >>> leaf.indices.tolist(), leaf.materialize()[0].tolist()
          ([3, 200], [0.844, -4.459])
        """
        check_floating("RandomCode.from_indices", "like", like.dtype)
        order = from_the_end(axes.order)
        sizes = tuple(like.shape[axis] for axis in axes.order[len(axes.batch) :])
        batch, shape = tuple(like.shape[axis] for axis in axes.batch), tuple(indices.shape)
        if shape[:-1] != batch or len(shape) != len(batch) + 1:
            raise ValueError(
                f"RandomCode.from_indices(indices, like): indices of shape {shape} must be "
                f"(batch…, blocks), and batch axes of the array have sizes {batch}."
            )
        static = (sizes, shape[-1], bits, seed, np.dtype(like.dtype), order)
        coded = (*batch, packed_length(shape[-1], bits) if type(bits) is int else 0)
        codes: Any = jax.ShapeDtypeStruct(coded, jnp.uint8)
        leaf = cls(codes, scale, *static)
        if fault := leaf._dtype_fault() or leaf._shape_fault():
            raise ValueError(f"RandomCode.from_indices(indices, like) cannot have {fault}.")
        return dataclasses.replace(leaf, codes=_packed(indices, bits))

    @property
    def indices(self) -> Array:
        """Which candidate each block is: (batch…, blocks) uint32."""
        single = unpack(self.codes, 1, self.blocks * self.bits)
        single = single.reshape(*single.shape[:-1], self.blocks, self.bits)
        worth = jax.lax.broadcasted_iota(jnp.uint32, single.shape, single.ndim - 1)
        return jnp.sum(single.astype(jnp.uint32) << worth, axis=-1, dtype=jnp.uint32)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Sizes in stored order: (batch…, output…, contracting…)."""
        return (*self.codes.shape[:-1], *self.sizes)

    @property
    def stacked(self) -> bool:
        return len(self.codes.shape) > 1 and self.permutation[0] == 0

    def materialize(self) -> Array:
        require_whole("RandomCode", self._dtype_fault, self._shape_fault)
        return _array(self)

    @property
    def parts(self) -> dict[str, Array]:
        return {"codes": self.codes, "scale": self.scale}

    def with_parts(self, parts: dict[str, Array]) -> "RandomCode":
        leaf = dataclasses.replace(self, **parts)
        require_parts("RandomCode", leaf._dtype_fault() or leaf._shape_fault())
        return leaf

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        keyed = tuple((jax.tree_util.GetAttrKey(name), part) for name, part in self.parts.items())
        return keyed, (self.sizes, self.blocks, self.bits, self.seed, self.dtype, self.order)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "RandomCode":
        return cls(*children, *static)

    def _dtype_fault(self) -> str:
        for name, part in self.parts.items():
            found, held = getattr(part, "dtype", None), {"codes": np.uint8, "scale": np.float32}
            if found != held[name]:
                return f"{name} of {found or type(part).__name__}"
        return ""

    def _shape_fault(self) -> str:
        shape, entries = tuple(self.codes.shape), math.prod(self.sizes)
        if type(self.bits) is not int or not 1 <= self.bits <= MOST_BITS:
            return f"indices of {self.bits!r} bits, not 1 to {MOST_BITS}"
        if not self.sizes or min(self.sizes) < 1 or entries > MOST_ENTRIES:
            return f"layers of sizes {self.sizes}, not of 1 to {MOST_ENTRIES} entries"
        if type(self.blocks) is not int or not 1 <= self.blocks <= entries:
            return f"{self.blocks!r} blocks for {entries} entries"
        length = packed_length(self.blocks, self.bits)
        fits = shape and shape[-1] == length and tuple(self.scale.shape) == shape[:-1]
        if not fits or len(self.order) > len(shape) - 1 + len(self.sizes):
            return f"codes of shape {shape} and scale of {tuple(self.scale.shape)}"
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            return f"a seed of {self.seed!r}, no int in [0, 2**32)"
        return ""

    def __repr__(self) -> str:
        whole = all(hasattr(part, "shape") for part in self.parts.values())
        if not whole or self._shape_fault():
            return f"RandomCode({in_brief(self.parts)})"
        return (
            f"RandomCode(blocks={self.blocks}, bits={self.bits}, shape={self.shape}, "
            f"dtype={self.dtype})"
        )


def numbers(indices: Array, entries: int, seed: int) -> Array:
    """The draws of a layer's entries, of the candidates that its blocks are.

    Args:
      indices: (batch…, blocks) uint32.
      entries: of the layer.
      seed: of the hashes.

    Returns:
      (batch…, entries) int32, as `draws` gives it.
    """
    block, _ = places(entries, indices.shape[-1], seed)
    chosen = jnp.take(indices, block, axis=-1, mode="clip")
    stream = streams(entries, seed)
    return draws(jnp.broadcast_to(stream, chosen.shape), chosen)


def _packed(indices: Array, bits: int) -> Array:
    """Indices as bytes: (batch…, blocks) to (batch…, bytes) uint8."""
    wide = jnp.broadcast_to(indices.astype(jnp.uint32)[..., None], (*indices.shape, bits))
    worth = jax.lax.broadcasted_iota(jnp.uint32, wide.shape, wide.ndim - 1)
    single = ((wide >> worth) & jnp.uint32(1)).astype(jnp.uint8)
    return pack(single.reshape(*indices.shape[:-1], -1), 1)


def static_to_json(static: tuple[Any, ...]) -> dict[str, Any]:
    """What is static in a leaf, as its flattening gives it, in plain values."""
    sizes, blocks, bits, seed, dtype, order = static
    named = {"blocks": blocks, "bits": bits, "seed": seed, "dtype": dtype.name}
    return {"sizes": list(sizes), **named, "order": list(order)}


def static_from_json(fields: dict[str, Any]) -> tuple[Any, ...]:
    """The opposite of `static_to_json`."""
    numbers_of_it = (fields["blocks"], fields["bits"], fields["seed"])
    return tuple(fields["sizes"]), *numbers_of_it, np.dtype(fields["dtype"]), tuple(fields["order"])


jax_leaf.register_export(RandomCode, static_to_json, static_from_json)


@functools.partial(jax.jit, inline=True)
def _array(leaf: RandomCode) -> Array:
    """The array of a whole leaf: one program, not one for each operation."""
    found = numbers(leaf.indices, math.prod(leaf.sizes), leaf.seed).astype(jnp.float32)
    stored = (leaf.scale[..., None] * found).reshape(leaf.stored_shape)
    return narrowed(jnp.transpose(stored, inverse(leaf.permutation)), leaf.dtype)
