"""The rotated leaf: a weight stored in coordinates in which fewer bits hold it."""

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
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.hadamard import rotated, rotated_back
from jaxcompress.core.leaf import CompressedLeaf, materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import from_the_end, inverse, permutation_of, reordered
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array

STORED = (QTensor, LowRank, Corrected)
"""The compressed leaves that a rotated one may hold."""


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Rotated(CompressedLeaf):
    """A weight stored rotated along what it contracts, by a block Hadamard transform.

        stored = W · R,   R = diag(signs) · blocks(H / sqrt(block))

    W is the weight as (batch…, outputs, inputs), its contracting axes flattened, the
    last fastest. The array is W: what is stored is rotated back. Where data x meet it,
    x · Wᵀ = (x · R) · storedᵀ, so a program may rotate the data instead.

    Also known as: randomized Hadamard transform, incoherence processing.

    Invariants:
      - `leaf` has the axes of the array; it is an array, a `QTensor`, a `LowRank`
        or a `Corrected`.
      - `order` is the leaf's axes as (batch…, output…, contracting…), counted from the
        end as in `LowRank`; of these the last `contracting_ndim` contract, and the
        `output_ndim` before them are outputs.
      - `negative` is bool of the leaf's rank, (batch…, 1…, contracting…): True where a
        sign is -1.
      - `block` is a power of two that divides the inputs.
      - The rotation is computed in float32, and the result cast to `dtype`.
    """

    leaf: Array | CompressedLeaf
    negative: Array
    block: int
    dtype: np.dtype
    order: tuple[int, ...]
    output_ndim: int
    contracting_ndim: int

    def __post_init__(self) -> None:
        flax_leaf.register(Rotated, CompressedLeaf)

    @classmethod
    def from_rotated(
        cls,
        leaf: Array | CompressedLeaf,
        negative: Array,
        *,
        block: int,
        dtype: DTypeLike,
        axes: LeafAxes,
    ) -> "Rotated":
        """Makes the leaf of a weight that is rotated already.

        Args:
          leaf: the rotated weight, with its axes as they were.
          negative: (batch…, inputs) bool, True where a sign of the rotation is -1.
          block: inputs per Hadamard matrix.
          dtype: floating dtype of the array the leaf stands for.
          axes: the roles of the axes.

        Returns:
          Rotated of the shape of `leaf`.

        Raises:
          TypeError: `leaf` is a leaf of another kind.
          ValueError: the signs do not fit the axes, the block is no power of two or
            does not divide the inputs, or a dtype is not real floating.

        Example:
          >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
          >>> form = {"block": 4, "dtype": jnp.float32, "axes": axes}
          >>> negative = jnp.array([True, False, False, False])
          >>> leaf = jc.Rotated.from_rotated(jnp.full((4, 2), 3.0), negative, **form)
          >>> leaf.materialize()[:2]
          Array([[-6., -6.],
                 [ 0.,  0.]], dtype=float32)
        """
        if isinstance(leaf, CompressedLeaf) and not isinstance(leaf, STORED):
            raise TypeError(
                f"Rotated.from_rotated(leaf=...) must be an array, a QTensor, a LowRank or a "
                f"Corrected, not a {type(leaf).__name__}."
            )
        for argument, given in (("leaf", leaf.dtype), ("dtype", dtype)):
            check_floating("Rotated.from_rotated", argument, given)
        stored = [leaf.shape[axis] for axis in axes.order if axis < len(leaf.shape)]
        batch, outputs = len(axes.batch), len(axes.output)
        sizes = (*stored[:batch], math.prod(stored[batch + outputs :]))
        if len(stored) != len(leaf.shape) or negative.shape != sizes:
            raise ValueError(
                f"Rotated.from_rotated(axes={axes}): signs of shape {negative.shape} must be "
                f"{sizes}, (batch…, inputs), for a leaf of shape {tuple(leaf.shape)}."
            )
        signs = negative.reshape(*stored[:batch], *(1,) * outputs, *stored[batch + outputs :])
        static = (block, np.dtype(dtype), from_the_end(axes.order), outputs, len(axes.contracting))
        result = cls(leaf, signs, *static)
        if fault := result._dtype_fault() or result._shape_fault():
            raise ValueError(f"Rotated.from_rotated(axes={axes}) cannot have {fault}.")
        return result

    @property
    def batch_ndim(self) -> int:
        return len(self.shape) - self.output_ndim - self.contracting_ndim

    @property
    def inputs(self) -> int:
        """How many entries of the data each output sums."""
        return math.prod(self.negative.shape[self.batch_ndim :])

    @property
    def permutation(self) -> tuple[int, ...]:
        """The axes in the order (batch…, output…, contracting…)."""
        return permutation_of(self.order, len(self.leaf.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.leaf.shape)

    @property
    def stacked(self) -> bool:
        leads = self.batch_ndim > 0 and self.permutation[0] == 0
        return leads and (not isinstance(self.leaf, CompressedLeaf) or self.leaf.stacked)

    def rotated_rows(self, rows: Array) -> Array:
        """Rotates data as the stored weight must meet them.

        Args:
          rows: (batch…, rows, inputs), batch and inputs in the order of the leaf's.

        Returns:
          Array of the shape and dtype of `rows`.

        Example:
          >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
          >>> form = {"block": 4, "dtype": jnp.float32, "axes": axes}
          >>> leaf = jc.Rotated.from_rotated(jnp.eye(4), jnp.zeros(4, bool), **form)
          >>> leaf.rotated_rows(jnp.array([[8.0, 0.0, 0.0, 0.0]]))
          Array([[4., 4., 4., 4.]], dtype=float32)
        """
        batch = self.negative.shape[: self.batch_ndim]
        negative = self.negative.reshape(*batch, 1, self.inputs)
        turned = rotated(rows.astype(jnp.float32), negative, self.block)
        return narrowed(turned, rows.dtype)

    def materialize(self) -> Array:
        require_whole("Rotated", self._dtype_fault, self._shape_fault)
        return _array(self)

    def _permuted(self, permutation: tuple[int, ...]) -> "Rotated":
        order = reordered(self.permutation, permutation)
        return dataclasses.replace(self, leaf=self.leaf.transpose(permutation), order=order)

    def _standing_for(self, dtype: np.dtype) -> "Rotated":
        return dataclasses.replace(self, dtype=dtype)

    @property
    def parts(self) -> dict[str, Array | CompressedLeaf]:
        return {"leaf": self.leaf, "negative": self.negative}

    def with_parts(self, parts: dict[str, Array | CompressedLeaf]) -> "Rotated":
        leaf = dataclasses.replace(self, **parts)
        require_parts("Rotated", leaf._dtype_fault() or leaf._shape_fault())
        return leaf

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        keyed = tuple((jax.tree_util.GetAttrKey(name), part) for name, part in self.parts.items())
        static = (self.block, self.dtype, self.order, self.output_ndim, self.contracting_ndim)
        return keyed, static

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Rotated":
        return cls(*children, *static)

    def _dtype_fault(self) -> str:
        signs = getattr(self.negative, "dtype", type(self.negative).__name__)
        if signs != np.bool_:
            return f"signs of {signs} instead of bool"
        if isinstance(self.leaf, STORED):
            return self.leaf._dtype_fault()
        found = getattr(self.leaf, "dtype", None)
        if found is None or not jnp.issubdtype(found, jnp.floating):
            return f"a leaf of {found or type(self.leaf).__name__}"
        return ""

    def _shape_fault(self) -> str:
        if isinstance(self.leaf, STORED) and (fault := self.leaf._shape_fault()):
            return fault
        shape, signs = tuple(self.leaf.shape), tuple(self.negative.shape)
        outputs, batch = self.output_ndim, self.batch_ndim
        if len(self.order) <= len(shape) and batch >= 0 <= self.contracting_ndim:
            stored = [shape[axis] for axis in self.permutation]
            if signs == (*stored[:batch], *(1,) * outputs, *stored[batch + outputs :]):
                return self._block_fault()
        return f"a leaf of shape {shape} and signs of shape {signs}"

    def _block_fault(self) -> str:
        block, inputs = self.block, self.inputs
        if block > 0 and not block & (block - 1) and inputs % block == 0:
            return ""
        return f"blocks of {block} of {inputs} inputs, no power of two that divides"

    def __repr__(self) -> str:
        if self._dtype_fault() or self._shape_fault():
            return f"Rotated({in_brief(self.parts)})"
        held = f"{self.leaf!r}, " if isinstance(self.leaf, CompressedLeaf) else ""
        return f"Rotated({held}block={self.block}, shape={self.shape}, dtype={self.dtype})"


def static_to_json(static: tuple[Any, ...]) -> dict[str, Any]:
    """What is static in a leaf, as its flattening gives it, in plain values."""
    block, dtype, order, output_ndim, contracting_ndim = static
    ndims = {"output_ndim": output_ndim, "contracting_ndim": contracting_ndim}
    return {"block": block, "dtype": dtype.name, "order": list(order), **ndims}


def static_from_json(fields: dict[str, Any]) -> tuple[Any, ...]:
    """The opposite of `static_to_json`."""
    dtype, order = np.dtype(fields["dtype"]), tuple(fields["order"])
    return fields["block"], dtype, order, fields["output_ndim"], fields["contracting_ndim"]


jax_leaf.register_export(Rotated, static_to_json, static_from_json)


@functools.partial(jax.jit, inline=True)
def _array(leaf: Rotated) -> Array:
    """The array of a whole leaf: one program, not one for each operation."""
    permutation, held = leaf.permutation, leaf.leaf
    if isinstance(held, CompressedLeaf):
        held = held.astype(np.float32)
    # (batch…, output…, contracting…); a leaf is moved before it is formed.
    stored = materialize(held.transpose(permutation)).astype(jnp.float32)
    flat = (*stored.shape[: stored.ndim - leaf.contracting_ndim], leaf.inputs)
    negative = leaf.negative.reshape(*leaf.negative.shape[: len(flat) - 1], leaf.inputs)
    array = rotated_back(stored.reshape(flat), negative, leaf.block).reshape(stored.shape)
    return narrowed(jnp.transpose(array, inverse(permutation)), leaf.dtype)
