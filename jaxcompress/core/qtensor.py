"""The quantized leaf: packed codes and scales that stand for an array."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxcompress.core import flax_leaf, jax_leaf
from jaxcompress.core.apart import in_brief, refuse_apart, require_parts, require_whole
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_floating
from jaxcompress.core.formats.coding import decode
from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.order import from_the_end, inverse
from jaxcompress.core.ordered_leaf import OrderedLeaf
from jaxcompress.core.packing import pack, unpack
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.stored import check_parts, dtype_fault, part_dtypes, shape_fault
from jaxcompress.core.types import Array


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class QTensor(OrderedLeaf):
    """Low-bit codes that stand for a floating-point array.

    Invariants:
      - `codes` are stored with the leaf's axes permuted to (batch…, output…,
        contracting…), so that the numbers sharing a scale lie side by side. Stored axis
        i is logical axis `order[i]`; `order` counts from the end and covers the last
        `len(order)` axes, those in front are in place. So `vmap` and `scan` may take
        leading axes away or add them.
      - Codes of more than 4 bits are int8 (uint8 where 8 bits begin at 0). Smaller ones
        are uint8 offsets from `spec.lowest`, packed along the last stored axis in 1, 2
        or 4 bits; `length` is that axis's unpacked size.
      - `scale` has the dtype of `spec.scales` and the rank of `codes`; what it stands
        for (`scales`) is finite and above 0. Each of its sizes divides the unpacked
        stored size; the quotient is the length of the block that shares a scale.
      - `second_scale` is None for scales of one level, `codebook` for levels that the
        spec knows, `zero_point` for a symmetric spec, else int32 of `scale`'s shape.
      - Children may be traced, sharded or stacked; every other size follows from them,
        of codes that are not packed the length too.
      - Children that `jax.tree.map` has changed apart are refused where they can be
        told from the leaf's own (`core.apart`), at the latest when it is materialized.
    """

    codes: Array
    scale: Array
    second_scale: Array | None
    zero_point: Array | None
    codebook: Array | None
    spec: QuantSpec
    dtype: np.dtype
    order: tuple[int, ...]
    length: int

    def __post_init__(self) -> None:
        flax_leaf.register(QTensor, CompressedLeaf)

    @classmethod
    def from_codes(
        cls, codes: Array, grid: Grid, *, spec: QuantSpec, dtype: DTypeLike, axes: LeafAxes
    ) -> "QTensor":
        """The leaf that stores these codes.

        Args:
          codes: (batch…, output…, contracting…) integers in
            [spec.lowest, spec.highest].
          grid: what the codes are read with, in the same order of axes: of the rank of
            `codes`, one entry per block of the spec.
          spec: the format.
          dtype: floating dtype of the array the leaf stands for.
          axes: the roles of the logical axes, which give the stored order.

        Returns:
          QTensor whose logical shape is that of `codes` in the leaf's own order.

        Raises:
          ValueError: a dtype or shape is not what the spec and the axes say, a code or
            zero point is outside the spec's codes, or a scale is not finite and above
            0. Of traced arrays only dtypes and shapes are known.

        Example:
          >>> codes, scale = jnp.array([[1, -2], [7, 0]]), jnp.array([[0.5], [1.0]])
          >>> axes = LeafAxes(contracting=(0,), output=(1,))
          >>> form = {"spec": jc.quantize.int4(), "dtype": jnp.float32, "axes": axes}
          >>> leaf = QTensor.from_codes(codes, Grid(scale), **form)
          >>> leaf.materialize()
          Array([[ 0.5,  7. ],
                 [-1. ,  0. ]], dtype=float32)
        """
        check_floating("QTensor.from_codes", "dtype", dtype)
        check_parts(codes, grid, spec, axes)
        return cls.from_rounded(codes, grid, spec=spec, dtype=dtype, axes=axes)

    @classmethod
    def from_rounded(
        cls, codes: Array, grid: Grid, *, spec: QuantSpec, dtype: DTypeLike, axes: LeafAxes
    ) -> "QTensor":
        """`from_codes` without its checks, for codes just rounded to the grid."""
        return cls(
            codes=_stored(codes, spec),
            **grid._asdict(),
            spec=spec,
            dtype=np.dtype(dtype),
            order=from_the_end(axes.order),
            length=codes.shape[-1],
        )

    @property
    def grid(self) -> Grid:
        """What the codes are read with."""
        return Grid(self.scale, self.second_scale, self.zero_point, self.codebook)

    @property
    def scales(self) -> Array:
        """What the stored scales stand for: float32 of the shape of `scale`."""
        return self.grid.steps(self.spec)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Sizes in stored order, unpacked."""
        if self.spec.stored_bits == 8:
            return self.codes.shape
        return (*self.codes.shape[:-1], self.length)

    @property
    def stacked(self) -> bool:
        leading = self.shape[:1]
        children = jax.tree.leaves(self)
        return len(self.order) < self.ndim and all(x.shape[:1] == leading for x in children)

    @property
    def unpacked_codes(self) -> Array:
        """Codes in stored order, one per entry, of `spec.code_dtype`."""
        require_whole(f"QTensor({self.spec})", self._dtype_fault, self._shape_fault)
        if self.spec.stored_bits == 8:
            return self.codes
        offsets = unpack(self.codes, self.spec.stored_bits, self.length)
        return offsets.astype(jnp.int8) + jnp.int8(self.spec.lowest)

    def materialize(self) -> Array:
        require_whole(f"QTensor({self.spec})", self._dtype_fault, self._shape_fault)
        return _array(self)

    @property
    def parts(self) -> dict[str, Array]:
        return {name: getattr(self, name) for name in part_dtypes(self.spec)}

    def with_parts(self, parts: dict[str, Array]) -> "QTensor":
        leaf = dataclasses.replace(self, **parts)
        require_parts(f"QTensor({leaf.spec})", leaf._dtype_fault() or leaf._shape_fault())
        return leaf

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        children = tuple(
            (jax.tree_util.GetAttrKey(name), getattr(self, name))
            for name in ("codes", *Grid._fields)
        )
        return children, (self.spec, self.dtype, self.order, self.length)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "QTensor":
        leaf = cls(*children, *static)
        arrays = list(leaf.parts.values())
        refuse_apart(f"QTensor({leaf.spec})", arrays, leaf._dtype_fault, leaf._shape_fault)
        return leaf

    def _dtype_fault(self) -> str:
        return dtype_fault(self.spec, self.codes, self.grid)

    def _shape_fault(self) -> str:
        return shape_fault(self.spec, self.order, self.length, self.codes, self.grid)

    def __repr__(self) -> str:
        held = self.parts.values()
        if not all(hasattr(part, "shape") for part in held) or self._shape_fault():
            return f"QTensor({self.spec}, {in_brief(self.parts)})"
        return f"QTensor({self.spec}, shape={self.shape}, dtype={self.dtype})"


def static_to_json(static: tuple[Any, ...]) -> dict[str, Any]:
    """What is static in a leaf, as its flattening gives it, in plain values."""
    spec, dtype, order, length = static
    return {"spec": spec.to_json(), "dtype": dtype.name, "order": list(order), "length": length}


def static_from_json(fields: dict[str, Any]) -> tuple[Any, ...]:
    """The opposite of `static_to_json`."""
    spec, dtype = QuantSpec.from_json(fields["spec"]), np.dtype(fields["dtype"])
    return spec, dtype, tuple(fields["order"]), fields["length"]


jax_leaf.register_export(QTensor, static_to_json, static_from_json)


@functools.partial(jax.jit, inline=True)
def _array(leaf: QTensor) -> Array:
    """The array of a whole leaf: one program, not one for each operation."""
    values = decode(leaf.unpacked_codes, leaf.grid, leaf.spec)
    return narrowed(jnp.transpose(values, inverse(leaf.permutation)), leaf.dtype)


def _stored(codes: Array, spec: QuantSpec) -> Array:
    if spec.stored_bits == 8:
        return codes.astype(spec.code_dtype)
    return pack(_offsets(codes, spec.lowest), spec.stored_bits)


@functools.partial(jax.jit, inline=True)
def _offsets(codes: Array, lowest: int) -> Array:
    # As int32, since narrow codes may not hold minus the lowest.
    return (codes.astype(jnp.int32) - lowest).astype(jnp.uint8)
