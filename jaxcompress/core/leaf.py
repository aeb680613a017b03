"""What a compressed leaf is: an array in another form that unmodified layers accept."""

import math

import jax
import numpy as np

from jaxcompress.core.types import Array, PyTree


class CompressedLeaf:
    """A leaf that stores an array in another form and stands in its place.

    Invariants:
      - A subclass is a registered pytree node, so jit, vmap, scan and sharding
        see its arrays.
      - `shape` and `dtype` are those of the array it stands for, derived
        from its own arrays.
      - Layers that call `jnp` functions on it get `materialize()` through
        `__jax_array__`.
      - `leaf[...]` is the leaf itself; any other index materializes first.
      - `unbox`, `replace_boxed`, `add_axis` and `remove_axis` are what Linen asks of a
        boxed parameter: it unboxes to the plain array, and no axis needs a name.
    """

    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def materialize(self) -> Array:
        """The array this leaf stands for, of its `shape` and `dtype`."""
        raise NotImplementedError

    def transpose(self, permutation: tuple[int, ...]) -> "CompressedLeaf":
        """The same leaf with its axes permuted; nothing is computed."""
        raise NotImplementedError

    def astype(self, dtype) -> "CompressedLeaf":
        """The same leaf materializing to another inexact dtype; nothing is computed."""
        raise NotImplementedError

    @property
    def stacked(self) -> bool:
        """True where a scan may slice it: its arrays lead with its own first axis."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the arrays it holds in memory."""
        return sum(child.nbytes for child in jax.tree.leaves(self))

    @property
    def T(self) -> "CompressedLeaf":
        return self.transpose(tuple(reversed(range(self.ndim))))

    def __jax_array__(self) -> Array:
        return self.materialize()

    def __getitem__(self, index) -> "CompressedLeaf | Array":
        return self if index is Ellipsis else self.materialize()[index]

    def unbox(self) -> Array:
        return self.materialize()

    def replace_boxed(self, value) -> PyTree:
        return value

    def add_axis(self, index, params) -> "CompressedLeaf":
        del index, params
        return self

    def remove_axis(self, index, params) -> "CompressedLeaf":
        del index, params
        return self


def is_compressed(leaf) -> bool:
    """True for a compressed leaf; as `is_leaf` it walks a tree by logical leaves."""
    return isinstance(leaf, CompressedLeaf)


def materialize(tree: PyTree) -> PyTree:
    """The tree with every compressed leaf as the plain array it stands for.

    Call it inside the jitted function where a layer cannot take a compressed leaf.

    Args:
      tree: any pytree; leaves that are not compressed pass through unchanged.

    Returns:
      A tree of the same structure whose leaves are plain arrays.

    Example:
      >>> params, _ = jc.quantize.quantize({"kernel": jnp.eye(2)}, jc.quantize.int8())
      >>> jc.materialize(params)["kernel"]
      Array([[1., 0.],
             [0., 1.]], dtype=float32)
    """
    return jax.tree.map(_plain, tree, is_leaf=is_compressed)


def logical(tree: PyTree) -> PyTree:
    """Shapes and dtypes of the arrays that the leaves stand for."""
    return jax.tree.map(_struct, tree, is_leaf=is_compressed)


def _plain(leaf):
    return leaf.materialize() if is_compressed(leaf) else leaf


def _struct(leaf) -> jax.ShapeDtypeStruct:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)
    return jax.ShapeDtypeStruct(np.shape(leaf), dtype)
