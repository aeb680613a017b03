"""The low-rank leaf: two factors, stored in place of their product.

How factors are found is the matter of `structure`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxcompress.core import flax_leaf, jax_leaf
from jaxcompress.core.apart import in_brief, require_parts, require_whole
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_floating
from jaxcompress.core.leaf import CompressedLeaf, materialize
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import from_the_end, inverse
from jaxcompress.core.ordered_leaf import OrderedLeaf
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LowRank(OrderedLeaf):
    """Two factors, stored in place of their product, a floating-point array.

        array[batch…, output…, contracting…] = sum over r of
            left[batch…, output…, r] · right[batch…, r, contracting…]

    Invariants:
      - The leaf's axes are stored permuted to (batch…, output…, contracting…). Stored
        axis i is logical axis `order[i]`; `order` counts from the end and covers the
        last `len(order)` axes, those in front are in place.
      - `left` is (batch…, output…, rank) and `right` (batch…, rank, contracting…); each
        is an array or a `QTensor`. A convolution kernel keeps its window axes apart.
      - `output_ndim` is how many output axes there are. The batch axes are what `left`
        has beside these and the rank; every size follows from the factors, so `vmap`
        and `scan` may take leading axes away or add them.
      - A tree may hold gradients or an optimizer's state in the factors' places, of any
        shape; only factors that fit each other materialize.
      - The product is formed in float32 and then cast to `dtype`; what is finite stays
        finite.
    """

    left: Array | QTensor
    right: Array | QTensor
    dtype: np.dtype
    order: tuple[int, ...]
    output_ndim: int

    def __post_init__(self) -> None:
        flax_leaf.register(LowRank, CompressedLeaf)

    @classmethod
    def from_factors(
        cls, left: Array | QTensor, right: Array | QTensor, *, dtype: DTypeLike, axes: LeafAxes
    ) -> "LowRank":
        """Makes the leaf that stores these factors.

        Args:
          left: (batch…, output…, rank).
          right: (batch…, rank, contracting…).
          dtype: floating dtype of the array the leaf stands for.
          axes: the roles of the logical axes, which give the stored order.

        Returns:
          LowRank whose logical shape is that of the product in the leaf's own order.

        Raises:
          ValueError: the factors do not fit each other or the axes, or a dtype is not
            real floating.

        Example:
          >>> left, right = jnp.ones((5, 2)), jnp.ones((2, 3))
          >>> axes = LeafAxes(contracting=(0,), output=(1,))
          >>> LowRank.from_factors(left, right, dtype=jnp.float32, axes=axes)
          LowRank(rank=2, shape=(3, 5), dtype=float32)
        """
        for argument, given in (("left", left.dtype), ("right", right.dtype), ("dtype", dtype)):
            check_floating("LowRank.from_factors", argument, given)
        batch, outputs = len(axes.batch), len(axes.output)
        ranks = (len(left.shape), len(right.shape))
        expected = (batch + outputs + 1, batch + 1 + len(axes.contracting))
        shared = left.shape[:batch] == right.shape[:batch]
        if ranks != expected or not shared or left.shape[-1] != right.shape[batch]:
            raise ValueError(
                f"LowRank.from_factors(left, right): shapes {tuple(left.shape)} and "
                f"{tuple(right.shape)} must be (batch…, output…, rank) and (batch…, rank, "
                f"contracting…) with {batch} batch, {outputs} output and "
                f"{len(axes.contracting)} contracting axes."
            )
        return cls(left, right, np.dtype(dtype), from_the_end(axes.order), outputs)

    @property
    def rank(self) -> int:
        return self.left.shape[-1]

    @property
    def batch_ndim(self) -> int:
        return len(self.left.shape) - self.output_ndim - 1

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Sizes in stored order: (batch…, output…, contracting…)."""
        return (*self.left.shape[:-1], *self.right.shape[self.batch_ndim + 1 :])

    @property
    def stacked(self) -> bool:
        leads = self.batch_ndim > 0 and self.permutation[0] == 0
        quantized = (each for each in (self.left, self.right) if isinstance(each, QTensor))
        return leads and all(factor.stacked for factor in quantized)

    @property
    def factors(self) -> dict[str, Array | QTensor]:
        """The factors by name, for what works on trees of plain weights.

        Example:
          >>> axes = LeafAxes(contracting=(0,), output=(1,))
          >>> left, right = jnp.ones((5, 2)), jnp.ones((2, 3))
          >>> leaf = LowRank.from_factors(left, right, dtype=jnp.float32, axes=axes)
          >>> int8 = jc.quantize.int8()
          >>> codes, _ = jc.quantize.quantize(leaf.factors, int8, axes=leaf.factor_axes)
          >>> dataclasses.replace(leaf, **codes).left
          QTensor(int8 per channel, shape=(5, 2), dtype=float32)
        """
        return {"left": self.left, "right": self.right}

    @property
    def factor_axes(self) -> dict[str, LeafAxes]:
        """What the axes of the factors do: data meet `right` first, then `left`."""
        batch = tuple(range(self.batch_ndim))
        last, first = len(self.left.shape) - 1, len(batch)
        window = tuple(range(first + 1, len(self.right.shape)))
        return {
            "left": LeafAxes((last,), tuple(range(first, last)), batch),
            "right": LeafAxes(window, (first,), batch),
        }

    def materialize(self) -> Array:
        require_whole("LowRank", self._dtype_fault, self._shape_fault)
        return _array(self)

    @property
    def parts(self) -> dict[str, Array | QTensor]:
        return self.factors

    def with_parts(self, parts: dict[str, Array | QTensor]) -> "LowRank":
        leaf = dataclasses.replace(self, **parts)
        require_parts("LowRank", leaf._dtype_fault() or leaf._shape_fault())
        return leaf

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        children = tuple(
            (jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in ("left", "right")
        )
        return children, (self.dtype, self.order, self.output_ndim)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "LowRank":
        return cls(*children, *static)

    def _dtype_fault(self) -> str:
        for name, factor in self.factors.items():
            found = getattr(factor, "dtype", None)
            if found is None or not jnp.issubdtype(found, jnp.floating):
                return f"a {name} factor of {found or type(factor).__name__}"
        return ""

    def _shape_fault(self) -> str:
        left, right, batch = self.left.shape, self.right.shape, self.batch_ndim
        fits = 0 <= batch < len(right) and left[:batch] == right[:batch]
        if fits and left[-1] == right[batch] and len(self.stored_shape) >= len(self.order):
            return ""
        return f"factors of shapes {left} and {right}, which have no product"

    def __repr__(self) -> str:
        held = self.factors
        if not all(hasattr(factor, "shape") for factor in held.values()) or self._shape_fault():
            return f"LowRank({in_brief(held)})"
        specs = [
            f", {name}={factor.spec}"
            for name, factor in held.items()
            if isinstance(factor, QTensor)
        ]
        return f"LowRank(rank={self.rank}, shape={self.shape}, dtype={self.dtype}{''.join(specs)})"


def static_to_json(static: tuple[Any, ...]) -> dict[str, Any]:
    """What is static in a leaf, as its flattening gives it, in plain values."""
    dtype, order, output_ndim = static
    return {"dtype": dtype.name, "order": list(order), "output_ndim": output_ndim}


def static_from_json(fields: dict[str, Any]) -> tuple[Any, ...]:
    """The opposite of `static_to_json`."""
    return np.dtype(fields["dtype"]), tuple(fields["order"]), fields["output_ndim"]


jax_leaf.register_export(LowRank, static_to_json, static_from_json)


@functools.partial(jax.jit, inline=True)
def _array(leaf: LowRank) -> Array:
    """The array of a whole leaf: one program, not one for each operation."""
    left, right = materialize((leaf.left, leaf.right))
    batch = tuple(range(leaf.batch_ndim))
    product = jax.lax.dot_general(
        left.astype(jnp.float32),
        right.astype(jnp.float32),
        (((left.ndim - 1,), (len(batch),)), (batch, batch)),
        precision=jax.lax.Precision.HIGHEST,
    )
    return narrowed(jnp.transpose(product, inverse(leaf.permutation)), leaf.dtype)
