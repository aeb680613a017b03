"""The corrected leaf: low-bit codes, and a product of two thin factors added to them.

How the factors are found is the matter of `quantize.rounding`.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike

from jaxcompress.core import flax_leaf, jax_leaf
from jaxcompress.core.apart import in_brief, require_parts, require_whole
from jaxcompress.core.checks import check_floating
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Corrected(CompressedLeaf):
    """Low-bit codes and a low-rank product that corrects their error.

        array = base + correction

    Invariants:
      - `base` is a `QTensor` and `correction` a `LowRank` of the same shape, whose
        factors may be quantized themselves. Each keeps its own stored order of axes.
      - The sum is formed in float32, whatever the dtypes of the two, and then cast to
        `dtype`; what is finite stays finite.
    """

    base: QTensor
    correction: LowRank
    dtype: np.dtype

    def __post_init__(self) -> None:
        flax_leaf.register(Corrected, CompressedLeaf)

    @classmethod
    def from_parts(cls, base: QTensor, correction: LowRank, *, dtype: DTypeLike) -> "Corrected":
        """Makes the leaf that stores codes and their correction.

        Args:
          base: the codes.
          correction: of the same shape.
          dtype: floating dtype of the array the leaf stands for.

        Returns:
          Corrected of that shape.

        Raises:
          TypeError: the parts are of other types.
          ValueError: the shapes differ, or the dtype is not real floating.

        Example:
          >>> params, _ = jc.quantize.quantize({"w": jnp.eye(3)}, jc.quantize.int4())
          >>> left, right = jnp.ones((3, 1)), jnp.ones((1, 3))
          >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
          >>> ones = jc.LowRank.from_factors(left, right, dtype=jnp.float32, axes=axes)
          >>> leaf = Corrected.from_parts(params["w"], ones, dtype=jnp.float32)
          >>> leaf.materialize()[0]
          Array([2., 1., 1.], dtype=float32)
        """
        for argument, part, kind in (("base", base, QTensor), ("correction", correction, LowRank)):
            if not isinstance(part, kind):
                raise TypeError(
                    f"Corrected.from_parts({argument}=...) must be a {kind.__name__}, not "
                    f"{type(part).__name__}."
                )
        check_floating("Corrected.from_parts", "dtype", dtype)
        leaf = cls(base, correction, np.dtype(dtype))
        if fault := leaf._dtype_fault() or leaf._shape_fault():
            raise ValueError(f"Corrected.from_parts(base, correction) cannot have {fault}.")
        return leaf

    @property
    def rank(self) -> int:
        """Of the correction."""
        return self.correction.rank

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    @property
    def stacked(self) -> bool:
        return self.base.stacked and self.correction.stacked

    def materialize(self) -> Array:
        require_whole("Corrected", self._dtype_fault, self._shape_fault)
        return _array(self)

    def _permuted(self, permutation: tuple[int, ...]) -> "Corrected":
        moved = {name: part.transpose(permutation) for name, part in self.parts.items()}
        return dataclasses.replace(self, **moved)

    def _standing_for(self, dtype: np.dtype) -> "Corrected":
        return dataclasses.replace(self, dtype=dtype)

    @property
    def parts(self) -> dict[str, CompressedLeaf]:
        return {"base": self.base, "correction": self.correction}

    def with_parts(self, parts: dict[str, CompressedLeaf]) -> "Corrected":
        leaf = dataclasses.replace(self, **parts)
        require_parts("Corrected", leaf._dtype_fault() or leaf._shape_fault())
        return leaf

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        keyed = tuple((jax.tree_util.GetAttrKey(name), part) for name, part in self.parts.items())
        return keyed, (self.dtype,)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Corrected":
        return cls(*children, *static)

    def _dtype_fault(self) -> str:
        for name, part in self.parts.items():
            if not isinstance(part, QTensor | LowRank):
                return f"a {name} of {type(part).__name__}"
        return self.base._dtype_fault() or self.correction._dtype_fault()

    def _shape_fault(self) -> str:
        fault = self.base._shape_fault() or self.correction._shape_fault()
        if fault or self.base.shape == self.correction.shape:
            return fault
        return f"codes of shape {self.base.shape} and a product of {self.correction.shape}"

    def __repr__(self) -> str:
        if self._dtype_fault() or self._shape_fault():
            return f"Corrected({in_brief(self.parts)})"
        return (
            f"Corrected({self.base.spec}, rank={self.rank}, shape={self.shape}, dtype={self.dtype})"
        )


def static_to_json(static: tuple[Any, ...]) -> dict[str, Any]:
    """What is static in a leaf, as its flattening gives it, in plain values."""
    (dtype,) = static
    return {"dtype": dtype.name}


def static_from_json(fields: dict[str, Any]) -> tuple[Any, ...]:
    """The opposite of `static_to_json`."""
    return (np.dtype(fields["dtype"]),)


jax_leaf.register_export(Corrected, static_to_json, static_from_json)


@functools.partial(jax.jit, inline=True)
def _array(leaf: Corrected) -> Array:
    """The array of a whole leaf: one program, not one for each operation."""
    base, correction = (part.astype(np.float32).materialize() for part in leaf.parts.values())
    return narrowed(base + correction, leaf.dtype)
