"""Stacked layers of a compressed leaf, on the axis on which a program takes them apart.

A `QTensor` or `LowRank` leads with its stacked axes, wherever the array has them. Code
that maps over a tree, as `vmap` and the scans of Flax do, takes an axis by its number
of each array that a leaf holds: for it, the arrays must have the axis where the array
that they stand for has it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core import flax_leaf
from jaxcompress.core.apart import MEND, in_brief
from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.leaf import CompressedLeaf, is_compressed
from jaxcompress.core.names import map_named
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.trees import check_arrays, named_axes
from jaxcompress.core.types import Array, Params


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Restacked(CompressedLeaf):
    """A compressed leaf with its stacked axes where the array has them.

    Invariants:
      - `arrays` are those that the leaf holds, in the order of its tree, each with the
        stacked axes at their places in the array.
      - `marker` has no entries: its size is 0 along every axis of one layer, and along
        a stacked axis that of the array. So what maps over another axis than a stacked
        one meets two sizes and fails, and where a stacked axis goes (`out_axes`,
        `jnp.moveaxis`), the marker says.
      - `structure` is the tree of the leaf with its stacked axes in front.
    """

    arrays: tuple[Array, ...]
    marker: Array
    structure: Any
    dtype: np.dtype

    def __post_init__(self) -> None:
        flax_leaf.register(Restacked, CompressedLeaf)

    @classmethod
    def of(cls, leaf: CompressedLeaf, stacked: tuple[int, ...]) -> "Restacked":
        """The leaf of which these axes, in ascending order, are stacked."""
        layer = [axis for axis in range(leaf.ndim) if axis not in stacked]
        arrays, structure = jax.tree.flatten(leaf.transpose(*stacked, *layer))
        front = tuple(range(len(stacked)))
        marker = np.zeros([leaf.shape[i] if i in stacked else 0 for i in range(leaf.ndim)])
        return cls(
            tuple(jnp.moveaxis(array, front, stacked) for array in arrays),
            jnp.asarray(marker, jnp.float32),
            structure,
            leaf.dtype,
        )

    @property
    def stacked_axes(self) -> tuple[int, ...]:
        """The axes, of the array and of all arrays alike, that hold layers."""
        return tuple(axis for axis, size in enumerate(self.marker.shape) if size)

    @property
    def leaf(self) -> CompressedLeaf:
        """The leaf it holds, with the stacked axes in front."""
        return self._leaf(lambda x, axes: jnp.moveaxis(x, axes, range(len(axes))))

    def _leaf(self, in_front: Callable[..., Any]) -> CompressedLeaf:
        if not all(hasattr(part, "shape") for part in self.parts.values()):
            raise ValueError(f"Restacked cannot have {in_brief(self.parts)}. {MEND}")
        axes = self.stacked_axes
        return jax.tree.unflatten(self.structure, [in_front(x, axes) for x in self.arrays])

    @property
    def shape(self) -> tuple[int, ...]:
        axes = self.stacked_axes
        shape = list(self._leaf(_struct_in_front).shape[len(axes) :])
        for axis in axes:
            shape.insert(axis, self.marker.shape[axis])
        return tuple(shape)

    @property
    def stacked(self) -> bool:
        return self.stacked_axes[:1] == (0,)

    def materialize(self) -> Array:
        layers = self.leaf.materialize()
        axes = self.stacked_axes
        return jnp.moveaxis(layers, range(len(axes)), axes)

    def _permuted(self, permutation: tuple[int, ...]) -> "CompressedLeaf":
        axes = self.stacked_axes
        layer = [axis for axis in range(self.ndim) if axis not in axes]
        order = [*axes, *layer]  # of the leaf that is held, by axes of this one
        leaf = self.leaf.transpose([order.index(axis) for axis in permutation])
        moved = tuple(sorted(permutation.index(axis) for axis in axes))
        return Restacked.of(leaf, moved)

    def _standing_for(self, dtype: np.dtype) -> "Restacked":
        _, structure = jax.tree.flatten(self.leaf.astype(dtype))
        return dataclasses.replace(self, structure=structure, dtype=dtype)

    @property
    def parts(self) -> dict[str, Any]:
        return {str(rank): array for rank, array in enumerate(self.arrays)} | {
            "marker": self.marker
        }

    def with_parts(self, parts: dict[str, Any]) -> "Restacked":
        *arrays, marker = (parts[name] for name in self.parts)
        return dataclasses.replace(self, arrays=tuple(arrays), marker=marker)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        children = (("arrays", self.arrays), ("marker", self.marker))
        keyed = tuple((jax.tree_util.GetAttrKey(name), child) for name, child in children)
        return keyed, (self.structure, self.dtype)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Restacked":
        return cls(*children, *static)

    def __repr__(self) -> str:
        if not all(hasattr(part, "shape") for part in self.parts.values()):
            return f"Restacked({in_brief(self.parts)})"
        leaf = self._leaf(_struct_in_front)
        return f"Restacked({leaf!r}, shape={self.shape}, stacked_axes={self.stacked_axes})"


def _struct_in_front(x: Array, axes: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    order = [*axes, *(axis for axis in range(len(x.shape)) if axis not in axes)]
    return jax.ShapeDtypeStruct([x.shape[axis] for axis in order], x.dtype)


def restack(params: Params, axes: Axes) -> Params:
    """Moves stacked layers of compressed leaves to the axis that the program maps over.

    For unmodified layers that a program takes apart along another axis than the first:
    `nn.scan(variable_axes={"params": 1})`, `param_scan_axis=1`, `nnx.scan` and
    `nnx.vmap` with `StateAxes`, `jax.vmap(in_axes=1)`, a scan over moved axes. Without
    it such programs fail on compressed leaves. `materialized(fn)` needs none of this,
    but forms the arrays of all layers at once.

    Args:
      params: compressed leaves among others, as `quantize` with the same axes gave.
      axes: what `graph.axes(fn, params, *inputs)` gave; the batch axes are the stacked
        ones.

    Returns:
      The tree with a `Restacked` for every compressed leaf whose batch axes are not its
      first; other leaves are the same objects. Keep files of what `quantize` gave.

    Raises:
      ValueError: a leaf was compressed with other axes, or holds an array with fewer
        axes than the place of a stacked one; the axes are of another tree.
      TypeError: `axes` holds anything but `LeafAxes`, or params what is no array.

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(2,), batch=(1,))
      >>> left, right = jnp.ones((3, 4, 1)), jnp.ones((3, 1, 2))  # of three layers
      >>> kernel = jc.LowRank.from_factors(left, right, dtype=jnp.float32, axes=axes)
      >>> kernel.shape
      (2, 3, 4)
      >>> jax.vmap(jnp.sum, in_axes=1)(jc.restack(kernel, axes))
      Array([8., 8., 8.], dtype=float32)

    Also known as: parameter scan axis.
    """
    check_arrays("restack", "params", params)
    known = named_axes("restack", axes)
    if known is None:
        raise TypeError("restack(axes=None) must be what graph.axes(fn, params, *inputs) gave.")
    return map_named(lambda name, leaf: _restacked(name, leaf, axes_of(name, leaf, known)), params)


def _restacked(name: str, leaf, axes: LeafAxes):
    batch = tuple(sorted(axes.batch))
    in_place = isinstance(leaf, Restacked) or batch == tuple(range(len(batch)))
    if in_place or not is_compressed(leaf):
        return leaf
    layer = [axis for axis in range(leaf.ndim) if axis not in batch]
    sizes = tuple(leaf.shape[axis] for axis in batch)
    arrays = jax.tree.leaves(leaf.transpose(*batch, *layer))
    if any(array.shape[: len(batch)] != sizes for array in arrays):
        raise ValueError(
            f"restack(axes=...): leaf {name!r}, {leaf!r}, was not compressed with {axes}, and "
            "does not lead with these batch axes. Pass the same axes to both."
        )
    if any(array.ndim <= batch[-1] for array in arrays):
        raise ValueError(
            f"restack(axes=...): leaf {name!r}, {leaf!r}, holds arrays without an axis "
            f"{batch[-1]}. Call the program as jc.materialized(fn)(params, ...)."
        )
    return Restacked.of(leaf, batch)
