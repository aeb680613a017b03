"""Roles of the axes of a weight where it meets data: contracting, output or batch.

`graph.axes` reads this from the program. Without a program, `assumed_axes` states the
documented layout default.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxcompress.core.checks import check_whole
from jaxcompress.core.kinds import check_kind, check_text
from jaxcompress.core.types import Array, PyTree


@dataclasses.dataclass(frozen=True)
class LeafAxes:
    """The role of every axis of one leaf; a static value, and a leaf of an `Axes` tree.

    Invariants:
      - The three tuples hold every axis of the leaf once, as non-negative positions,
        unless `primitive` is empty: then the leaf never meets data
        and all three are empty.
      - `contracting` axes are summed over. For a lookup (an embedding table) the copied
        axes count as contracting and the indexed one as output, so that one row shares
        scales; this agrees with an output projection tied to the table.
      - `batch` axes hold independent weights: layers of a scan, experts.
      - `assumed` says that the roles come from the layout default
        and not from a program.
      - `left_out` says why the default selection leaves the leaf out; it is empty for a
        leaf that it takes, and tells no two axes apart.
      - `grouped` says that the leaf is the kernel of a convolution in groups, a
        depthwise one for example: each output meets the inputs of its own group, so
        the leaf is no matrix. It tells no two axes apart either.
    """

    contracting: tuple[int, ...]
    output: tuple[int, ...]
    batch: tuple[int, ...] = ()
    primitive: str = "dot_general"
    assumed: bool = False
    left_out: str = dataclasses.field(default="", compare=False, repr=False)
    grouped: bool = dataclasses.field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for role in ("contracting", "output", "batch"):
            check_kind("LeafAxes", role, getattr(self, role), tuple, "As (0, 1).")
        check_text("LeafAxes", "primitive", self.primitive)
        check_text("LeafAxes", "left_out", self.left_out)
        for flag in ("assumed", "grouped"):
            check_kind("LeafAxes", flag, getattr(self, flag), bool, "True or False.")
        axes = self.order
        for axis in axes:
            check_whole("LeafAxes", "axis", axis)
        if sorted(axes) != list(range(len(axes))):
            raise ValueError(
                f"LeafAxes(contracting={self.contracting}, output={self.output}, "
                f"batch={self.batch}) must hold "
                f"every axis of the leaf exactly once."
            )

    @property
    def order(self) -> tuple[int, ...]:
        """The permutation to (batch…, output…, contracting…)."""
        return self.batch + self.output + self.contracting

    @property
    def meets_data(self) -> bool:
        return bool(self.primitive)

    @property
    def looked_up(self) -> bool:
        """Whether data choose rows of the leaf, which multiply nothing."""
        return self.primitive in ("gather", "dynamic_slice")


Axes = PyTree
"""A tree of the params' structure with one `LeafAxes` per leaf."""

UNUSED = LeafAxes((), (), (), primitive="")
"""The axes of a leaf that meets no data in a dot, convolution or gather."""


def assumed_axes(leaf: Any) -> LeafAxes:
    """The layout default: the last axis is the output, all before it contract.

    True for an (in, out) matrix and for an HWIO convolution kernel. Leaves below rank 2
    are taken as meeting no data.
    """
    ndim = len(leaf.shape)
    if ndim < 2:
        return UNUSED
    return LeafAxes(tuple(range(ndim - 1)), (ndim - 1,), assumed=True)


def to_canonical(x: Array, axes: LeafAxes) -> Array:
    """Transposes a leaf to (batch…, output…, contracting…)."""
    return jnp.transpose(x, axes.order)


def from_canonical(x: Array, axes: LeafAxes) -> Array:
    """The inverse of `to_canonical`."""
    inverse = sorted(range(x.ndim), key=axes.order.__getitem__)
    return jnp.transpose(x, inverse)
