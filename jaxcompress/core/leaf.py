"""Compressed leaves: arrays stored in another form, and how models get plain arrays.

`materialized` is right for every model. A layer may also be given the leaf itself, if
it does nothing with it that `CompressedLeaf` does not list.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from jaxcompress.core import jax_leaf
from jaxcompress.core.array_reading import ArrayReading
from jaxcompress.core.kinds import check_function
from jaxcompress.core.order import checked_permutation
from jaxcompress.core.sizes import size_bytes
from jaxcompress.core.types import Array, PyTree


class CompressedLeaf(ArrayReading):
    """Base class of leaves that store an array in another form, such as `QTensor`.

    A model that is wrapped in `materialized` never sees one. Other code may take the
    leaf itself, as many layers do, as long as it
      - computes with it by `jnp` functions, operators and methods of an array, not by
        `lax` primitives, which the convolutions of Equinox and Haiku call;
      - maps over no tree that holds it (`jax.tree.map`, a cast of all params, a
        penalty over `jax.tree.leaves(params)`), since that changes codes and scales
        apart. Arrays that cannot be the leaf's are refused when it is put together
        again; a change that keeps their types and shapes cannot be seen.
      - takes layers apart along the first axis alone, as `scan` and `vmap` do; along
        another after `restack`.

    Invariants:
      - A subclass is a registered pytree node, so jit, vmap, scan and sharding
        see its arrays.
      - `shape` and `dtype` are those of the array it stands for, derived
        from its own arrays.
      - Layers that call `jnp` functions on it get `materialize()` through
        `__jax_array__`; operators, methods and NumPy read it too. It is not written to.
      - `leaf[...]`, transposes and casts to real floats are leaves, of the same
        numbers; any other index materializes first.
      - `unbox`, `replace_boxed`, `add_axis` and `remove_axis` are what Linen asks of a
        boxed parameter: it unboxes to the plain array, and no axis needs a name.
    """

    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def materialize(self) -> Array:
        """Forms the plain array of this leaf's `shape` and `dtype` (dequantizes it)."""
        raise NotImplementedError

    def transpose(self, *axes: Any) -> "CompressedLeaf":
        """The same leaf with its axes permuted; nothing is computed.

        Args:
          *axes: the permutation, as one tuple or number by number; without it the axes
            are reversed.
        """
        caller = f"{type(self).__name__}.transpose"
        return self._permuted(checked_permutation(caller, axes, self.ndim))

    def _permuted(self, permutation: tuple[int, ...]) -> "CompressedLeaf":
        """`transpose` by a permutation of all axes, none of them negative."""
        raise NotImplementedError

    def swapaxes(self, axis1: int, axis2: int) -> "CompressedLeaf":
        """The same leaf with two axes exchanged; nothing is computed."""
        axes = list(range(self.ndim))
        one, other = (normalize_axis_index(axis, self.ndim) for axis in (axis1, axis2))
        axes[one], axes[other] = other, one
        return self.transpose(axes)

    def astype(self, dtype: Any) -> Any:
        """The same leaf materializing to another real floating dtype, as stored.

        Of any other dtype, which the stored numbers cannot stand for, a plain array.
        """
        dtype = jax.dtypes.canonicalize_dtype(dtype)
        if jnp.issubdtype(dtype, jnp.floating):
            return self._standing_for(dtype)
        return self.materialize().astype(dtype)

    def _standing_for(self, dtype: np.dtype) -> "CompressedLeaf":
        """The same leaf for an array of this real floating dtype."""
        raise NotImplementedError

    @property
    def parts(self) -> dict[str, Any]:
        """The arrays it holds, by name; a factor of a low-rank leaf may be a leaf."""
        raise NotImplementedError

    def with_parts(self, parts: dict[str, Any]) -> "CompressedLeaf":
        """The same leaf with other arrays in the place of its `parts`.

        Raises:
          ValueError: they are not of the dtypes and shapes that it can hold.
        """
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
        return size_bytes(self)

    @property
    def itemsize(self) -> int:
        """Bytes of an entry of the array, not of what is stored for it."""
        return self.dtype.itemsize

    @property
    def T(self) -> "CompressedLeaf":
        return self.transpose()

    @property
    def mT(self) -> "CompressedLeaf":  # noqa: N802 (the name is an array's)
        return self.swapaxes(-1, -2)

    def copy(self) -> "CompressedLeaf":
        return jax.tree.map(jnp.copy, self)

    def block_until_ready(self) -> "CompressedLeaf":
        return jax.block_until_ready(self)

    def __jax_array__(self) -> Array:
        return self.materialize()

    def __getitem__(self, index: Any) -> "CompressedLeaf | Array":
        return self if index is Ellipsis else self.materialize()[index]

    def unbox(self) -> Array:
        return self.materialize()

    def replace_boxed(self, value: Any) -> PyTree:
        return value

    def add_axis(self, index: Any, params: Any) -> "CompressedLeaf":
        del index, params
        return self

    def remove_axis(self, index: Any, params: Any) -> "CompressedLeaf":
        del index, params
        return self


jax_leaf.refuse_primitives(CompressedLeaf)


def is_compressed(leaf: Any) -> bool:
    """True for a compressed leaf; as `is_leaf` it walks a tree by logical leaves."""
    return isinstance(leaf, CompressedLeaf)


def materialize(tree: PyTree) -> PyTree:
    """Replaces every compressed leaf by the plain array it stands for (dequantizes).

    Inside a jitted function, as `materialized` does around a whole model.

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
    return jax.tree.map(
        lambda leaf: leaf.materialize() if is_compressed(leaf) else leaf,
        tree,
        is_leaf=is_compressed,
    )


def materialized(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a model take compressed params: plain arrays are formed inside the call.

    How to call a model with compressed params: right for every program, since the
    model sees arrays alone. Under `jit` the arrays live only inside the call, what is
    held and read in between are the codes. To multiply the codes themselves where that
    is faster, plan once and use `quantize.run`.

    Args:
      fn: any function, a model for example; a callable pytree (an Equinox module) may
        hold compressed leaves itself. What `fn` closes over is not seen, nor what a
        method is bound to.

    Returns:
      Function of the same signature. Compressed leaves anywhere in its arguments reach
      `fn` as arrays, everything else as it is. All of JAX's transformations apply;
      gradients go to inputs and plain leaves (`partition`, and `combine` inside).

    Example:
      >>> params, _ = jc.quantize.quantize({"kernel": jnp.eye(2)}, jc.quantize.int8())
      >>> fn = lambda params, x: x @ jax.tree.map(jnp.negative, params)["kernel"]
      >>> jax.jit(jc.materialized(fn))(params, jnp.ones(2))
      Array([-1., -1.], dtype=float32)
    """
    check_function("materialized", "fn", fn, "Pass the model, as a bridge gives it.")

    @functools.wraps(fn)
    def on_arrays(*args, **kwargs):
        leaves = jax.tree.leaves((fn, args, kwargs), is_leaf=is_compressed)
        if not any(map(is_compressed, leaves)):
            return fn(*args, **kwargs)
        function, args, kwargs = materialize((fn, args, kwargs))
        return function(*args, **kwargs)

    return on_arrays


def logical(tree: PyTree) -> PyTree:
    """Gives shapes and dtypes of the arrays that the leaves stand for."""
    return jax.tree.map(_struct, tree, is_leaf=is_compressed)


def _struct(leaf) -> jax.ShapeDtypeStruct:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)
    return jax.ShapeDtypeStruct(np.shape(leaf), dtype)
