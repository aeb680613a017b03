"""The product-quantized leaf: one code for each short vector of weights.

How codebooks are found is the matter of `quantize.sharing`.
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
from jaxcompress.core.apart import in_brief, refuse_apart, require_parts, require_whole
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_floating
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.numerics import known_extremes, narrowed
from jaxcompress.core.order import from_the_end, inverse
from jaxcompress.core.ordered_leaf import OrderedLeaf
from jaxcompress.core.packing import WIDTHS, pack, packed_length, unpack
from jaxcompress.core.types import Array

MOST_ENTRIES = 256
"""Of a codebook, so that a code is at most a byte."""


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ProductQuantized(OrderedLeaf):
    """An array whose vectors of weights are entries of a codebook.

        array[batch…, output…, s · length : (s + 1) · length]
            = codebooks[batch…, book of s, codes[batch…, output…, s]]

    s counts the vectors along the contracting axes as one, the last fastest. Each s has
    a codebook of its own, or all of them have one in common.

    Also known as: product quantization, vector quantization.

    Invariants:
      - `codebooks` are (batch…, books, entries, length), real floating, of 2 to
        `MOST_ENTRIES` entries; books are 1 or one for each s.
      - `codes` are (batch…, output…, s) uint8 below `entries`, packed along the last
        axis in planes of 1, 2 or 4 bits where so few hold a code.
      - `inputs` are the sizes of the contracting axes; `length` divides their product.
      - Stored axis i, of (batch…, output…, contracting…), is logical axis `order[i]`,
        counted from the end as in `LowRank`. `vmap` and `scan` may take leading axes
        away or add them.
      - A tree may hold gradients or an optimizer's state in the codebooks' place.
    """

    codes: Array
    codebooks: Array
    inputs: tuple[int, ...]
    dtype: np.dtype
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        flax_leaf.register(ProductQuantized, CompressedLeaf)

    @classmethod
    def from_codes(
        cls,
        codes: Array,
        codebooks: Array,
        inputs: tuple[int, ...],
        *,
        dtype: DTypeLike,
        axes: LeafAxes,
    ) -> "ProductQuantized":
        """Makes the leaf that stores these codes.

        Args:
          codes: (batch…, output…, vectors) integers, one for each vector.
          codebooks: (batch…, books, entries, length).
          inputs: sizes of the contracting axes.
          dtype: floating dtype of the array the leaf stands for.
          axes: the roles of the logical axes, which give the stored order.

        Returns:
          ProductQuantized whose logical shape has the sizes in the leaf's own order.

        Raises:
          ValueError: codes, codebooks, inputs and axes do not fit each other, a code
            that is known is none of the entries, or a dtype is not real floating.

        Example:
          >>> codes, codebooks = jnp.array([[0, 1], [1, 1]]), jnp.eye(2)[None]
          >>> axes = LeafAxes(contracting=(0,), output=(1,))
          >>> form = {"dtype": jnp.float32, "axes": axes}
          >>> leaf = ProductQuantized.from_codes(codes, codebooks, (4,), **form)
          >>> leaf.materialize().T
          Array([[1., 0., 0., 1.],
                 [0., 1., 0., 1.]], dtype=float32)
        """
        for argument, given in (("codebooks", codebooks.dtype), ("dtype", dtype)):
            check_floating("ProductQuantized.from_codes", argument, given)
        batch, outputs = len(axes.batch), len(axes.output)
        ranks = (len(codes.shape), len(codebooks.shape), len(inputs))
        if ranks != (batch + outputs + 1, batch + 3, len(axes.contracting)):
            raise ValueError(
                f"ProductQuantized.from_codes(codes, codebooks, inputs={inputs}): codes of shape "
                f"{tuple(codes.shape)} must be (batch…, output…, vectors) and codebooks of shape "
                f"{tuple(codebooks.shape)} (batch…, books, entries, length), with {batch} batch, "
                f"{outputs} output and {len(axes.contracting)} contracting axes."
            )
        entries, known = codebooks.shape[-2], known_extremes(codes)
        if known and not 0 <= known[0] <= known[1] < entries:
            raise ValueError(
                f"ProductQuantized.from_codes(codes=...): codes from {known[0]} to {known[1]} must "
                f"be in [0, {entries}), the entries of the codebooks."
            )
        static = (tuple(map(int, inputs)), np.dtype(dtype), from_the_end(axes.order))
        leaf = cls(pack(codes.astype(jnp.uint8), _stored_bits(entries)), codebooks, *static)
        fault = leaf._shape_fault()
        if not fault and codes.shape[-1] != leaf.vectors:
            fault = f"{codes.shape[-1]} codes for {leaf.vectors} vectors along inputs of {inputs}"
        if fault:
            raise ValueError(f"ProductQuantized.from_codes(codes, codebooks) cannot have {fault}.")
        return leaf

    @property
    def length(self) -> int:
        """Weights of a vector."""
        return self.codebooks.shape[-1]

    @property
    def entries(self) -> int:
        return self.codebooks.shape[-2]

    @property
    def vectors(self) -> int:
        """Codes along the contracting axes."""
        return math.prod(self.inputs) // self.length

    @property
    def codes_shape(self) -> tuple[int, ...]:
        """Sizes of the codes, unpacked: (batch…, output…, vectors)."""
        return (*self.codes.shape[:-1], self.vectors)

    @property
    def bits(self) -> int:
        """Bits that a code needs; in memory it has 1, 2, 4 or 8."""
        return (self.entries - 1).bit_length()

    @property
    def form(self) -> str:
        """How it is stored, in words."""
        per = "per tensor" if self.codebooks.shape[-3] == 1 else "per subspace"
        return f"{self.entries} vectors of {self.length} {per}"

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Sizes in stored order: (batch…, output…, contracting…)."""
        return (*self.codes.shape[:-1], *self.inputs)

    @property
    def stacked(self) -> bool:
        return len(self.codebooks.shape) > 3 and self.permutation[0] == 0

    @property
    def unpacked_codes(self) -> Array:
        """(batch…, output…, vectors) uint8, the entry of each vector."""
        require_whole("ProductQuantized", self._dtype_fault, self._shape_fault)
        return unpack(self.codes, _stored_bits(self.entries), self.vectors)

    def materialize(self) -> Array:
        require_whole("ProductQuantized", self._dtype_fault, self._shape_fault)
        return _array(self)

    @property
    def parts(self) -> dict[str, Array]:
        return {"codes": self.codes, "codebooks": self.codebooks}

    def with_parts(self, parts: dict[str, Array]) -> "ProductQuantized":
        leaf = dataclasses.replace(self, **parts)
        require_parts("ProductQuantized", leaf._dtype_fault() or leaf._shape_fault())
        return leaf

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        keyed = tuple((jax.tree_util.GetAttrKey(name), part) for name, part in self.parts.items())
        return keyed, (self.inputs, self.dtype, self.order)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "ProductQuantized":
        leaf = cls(*children, *static)
        refuse_apart("ProductQuantized", children, leaf._dtype_fault, leaf._shape_fault)
        return leaf

    def _dtype_fault(self) -> str:
        codes, codebooks = (getattr(each, "dtype", None) for each in self.parts.values())
        if codes != np.uint8:
            return f"codes of {codes or type(self.codes).__name__}, not of uint8"
        if codebooks is None or not jnp.issubdtype(codebooks, jnp.floating):
            return f"codebooks of {codebooks or type(self.codebooks).__name__}"
        return ""

    def _shape_fault(self) -> str:
        codes, codebooks = tuple(self.codes.shape), tuple(self.codebooks.shape)
        batch = len(codebooks) - 3
        if batch < 0 or len(codes) <= batch or codes[:batch] != codebooks[:batch]:
            return f"codes of shape {codes} and codebooks of shape {codebooks}"
        books, entries, length = codebooks[batch:]
        if not 2 <= entries <= MOST_ENTRIES:
            return f"codebooks of {entries} entries, not of 2 to {MOST_ENTRIES}"
        total = math.prod(self.inputs)
        if not self.inputs or min(self.inputs) < 1 or not length or total % length:
            return f"vectors of {length} along inputs of {self.inputs}, which they do not divide"
        expected = total // length
        if books not in (1, expected):
            return f"{books} codebooks for {expected} vectors, neither one nor as many"
        if codes[-1] != packed_length(expected, _stored_bits(entries)):
            return f"codes of shape {codes} for {expected} vectors along inputs of {self.inputs}"
        if len(self.order) > len(self.stored_shape):
            return f"an order of {len(self.order)} axes for sizes {self.stored_shape}"
        return ""

    def __repr__(self) -> str:
        if not all(hasattr(part, "shape") for part in self.parts.values()) or self._shape_fault():
            return f"ProductQuantized({in_brief(self.parts)})"
        return f"ProductQuantized({self.form}, shape={self.shape}, dtype={self.dtype})"


def static_to_json(static: tuple[Any, ...]) -> dict[str, Any]:
    """What is static in a leaf, as its flattening gives it, in plain values."""
    inputs, dtype, order = static
    return {"inputs": list(inputs), "dtype": dtype.name, "order": list(order)}


def static_from_json(fields: dict[str, Any]) -> tuple[Any, ...]:
    """The opposite of `static_to_json`."""
    return tuple(fields["inputs"]), np.dtype(fields["dtype"]), tuple(fields["order"])


jax_leaf.register_export(ProductQuantized, static_to_json, static_from_json)


def _stored_bits(entries: int) -> int:
    return next((width for width in WIDTHS if 2**width >= entries), WIDTHS[-1])


@functools.partial(jax.jit, inline=True)
def _array(leaf: ProductQuantized) -> Array:
    """The array of a whole leaf: one program, not one for each operation."""
    codes, books = leaf.unpacked_codes, leaf.codebooks.shape[-3]
    batch = math.prod(leaf.codebooks.shape[:-3])
    codes = codes.reshape(batch, -1, leaf.vectors).astype(jnp.int32)
    first = jnp.arange(batch * books, dtype=jnp.int32).reshape(batch, 1, books) * leaf.entries
    at = jnp.broadcast_to(first, (batch, 1, leaf.vectors)) + jnp.minimum(codes, leaf.entries - 1)
    table = leaf.codebooks.reshape(-1, leaf.length)
    found = jnp.take(table, at, axis=0, mode="clip")  # (batch, outputs, vectors, length)
    stored = found.reshape(leaf.stored_shape)
    return narrowed(jnp.transpose(stored, inverse(leaf.permutation)), leaf.dtype)
