"""Sites: where a weight meets data, and what each axis of the weight does there.

A site is a dot, convolution or gather with exactly one operand that comes from a leaf.
"""

import dataclasses
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.types import Array
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.layouts import Convolution, Dot, Layout, Lookup, meeting
from jaxcompress.graph.provenance import Leaf, Origin, Weight
from jaxcompress.graph.value_axes import Part, ValueAxes

# Which operand may be the weight: either of a dot, the filter, the table.
_WEIGHT_POSITIONS = {"dot_general": (0, 1), "conv_general_dilated": (1,), "gather": (0,)}


@dataclasses.dataclass(frozen=True)
class Site:
    """One place in the program where a leaf meets data.

    Fields:
      name: unique; the leaf's name, then "leaf#2", "leaf#3" … in program order.
      leaves: the leaf; or several of like axes that lie side by side in the operand, as
        the gates of a recurrent cell do. The site goes by the first one's name.
      primitive: "dot_general", "conv_general_dilated" or "gather".
      axes: the roles of the *leaf*'s axes. One that the operand no longer has (scanned
        or indexed) is batch. One split into parts of different roles is contracting if
        any part is, else output: to share a scale too widely is coarse, never wrong.
      operand_axes: the roles of the axes of the weight operand as it stands. Within
        each role they are in the order of the leaf's axes, so that a flattened group
        means the same at every site.
      operand_parts: the axes of the weight operand as products of the leaf's.
      as_stored: whether the weight operand has the leaf's own entries, but for their
        dtype and a factor that all share.
      in_order: whether entries along each of the leaf's axes follow one another in the
        weight operand as they do in the leaf.
      position: which operand the weight is, 0 or 1.
      data_shape, data_dtype: of the other operand, in one execution.
      output_shape, dtype: of the equation's output, in one execution.
      scans: lengths of the enclosing scans, outermost first.
      sliced_by: which of the scans slice the leaf, as positions in `scans`.
      macs_once: multiply-adds of one execution.
      layout: how data and output lie; used by `rows`, `windows` and `output`.
      source: the name scopes and the line the equation comes from.
    """

    name: str
    leaves: tuple[Leaf, ...]
    primitive: str
    axes: LeafAxes
    operand_axes: LeafAxes
    operand_parts: ValueAxes
    as_stored: bool
    in_order: bool
    position: int
    data_shape: tuple[int, ...]
    data_dtype: np.dtype
    output_shape: tuple[int, ...]
    dtype: np.dtype
    scans: tuple[int, ...]
    sliced_by: tuple[int, ...]
    macs_once: int
    layout: Layout
    source: str

    @property
    def leaf(self) -> str:
        """The name that rules go by: that of the first leaf."""
        return self.leaves[0].name

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        return self.leaves[0].shape

    @property
    def leaf_dtype(self) -> np.dtype:
        return self.leaves[0].dtype

    @property
    def repeats(self) -> int:
        """Executions per call; the body of a while loop counts once."""
        return math.prod(self.scans)

    @property
    def macs(self) -> int:
        """Multiply-adds of one call of the model; zeros of padding count."""
        return self.macs_once * self.repeats

    @property
    def stack(self) -> tuple[int, ...]:
        """Lengths of the scans that slice the leaf: leading axes of a reading."""
        return tuple(self.scans[depth] for depth in self.sliced_by)

    @property
    def observable(self) -> bool:
        """True where the data are vectors that the weight multiplies."""
        return not isinstance(self.layout, Lookup)

    @property
    def grouped(self) -> bool:
        """True where the outputs of one matrix meet different vectors."""
        return isinstance(self.layout, Convolution) and self.layout.grouped

    @property
    def is_matmul(self) -> bool:
        return isinstance(self.layout, Dot)

    def rows(self, data: Array) -> Array:
        """The vectors that the weight multiplies.

        Args:
          data: the data operand of one execution, of `data_shape`.

        Returns:
          At a dot (batch…, rows, contracting), its batch axes in the order of the
          leaf's and its contracting axes flattened in that order; at a convolution
          (rows, in features).

        Raises:
          ValueError: the site is a gather, whose data are indices.
        """
        if isinstance(self.layout, Lookup):
            raise ValueError(
                f"Site.rows: {self.name!r} is a gather; its data are indices, not rows."
            )
        return self.layout.rows(data)

    def windows(self, data: Array) -> Array:
        """The vectors that the matrix of the leaf multiplies.

        At a convolution one for each position that it computes, zeros of padding
        included; at a dot the rows. Entries are copies.

            output = windows(data) · matrixᵀ,   matrix: `as_matrices(leaf, axes)`

        Args:
          data: the data operand of one execution, of `data_shape`.

        Returns:
          (batch…, rows, inputs): batch axes in the order of the leaf's, inputs the
          leaf's contracting axes flattened in their order, if the weight is `in_order`.

        Raises:
          ValueError: the site is a gather, or a convolution in groups.
        """
        if isinstance(self.layout, Lookup) or self.grouped:
            raise ValueError(
                f"Site.windows: {self.name!r} is a {self.primitive} whose data are indices, or "
                "whose outputs meet different inputs; neither has windows of one matrix."
            )
        vectors = self.layout.windows(data)  # (batch…, rows, inputs as the operand has them)
        axes = self.operand_axes.contracting
        parts = [(part, axis) for axis in axes for part in self.operand_parts[axis]]
        order = sorted(range(len(parts)), key=lambda i: (_leaf_axis(parts[i][0]), parts[i][1]))
        apart = vectors.reshape(*vectors.shape[:-1], *(part.size for part, _ in parts))
        first = vectors.ndim - 1
        ordered = jnp.transpose(apart, (*range(first), *(first + i for i in order)))
        return ordered.reshape(vectors.shape)

    def output(self, y: Array) -> Array:
        """The equation's own output layout, from (batch…, rows, outputs).

        Args:
          y: what `rows(data)` gives times the weight as (batch…, outputs, contracting).

        Returns:
          Array of `output_shape` and the dtype of `y`.

        Raises:
          ValueError: the site is not a dot.
        """
        if not isinstance(self.layout, Dot):
            raise ValueError(
                f"Site.output: {self.name!r} is a {self.primitive}; only a dot has rows of outputs."
            )
        return self.layout.output(y)


def weight_operand(eqn: JaxprEqn, origins: list[Origin]) -> tuple[int, Weight] | None:
    """The operand that is a weight meeting data, with its position; else None."""
    weights = [(i, origin) for i, origin in enumerate(origins) if isinstance(origin, Weight)]
    allowed = _WEIGHT_POSITIONS.get(eqn.primitive.name, ())
    return weights[0] if len(weights) == 1 and weights[0][0] in allowed else None


def site_of(
    name: str, eqn: JaxprEqn, position: int, weight: Weight, scans: tuple[int, ...]
) -> Site:
    """The site of an equation whose operand `position` comes from `weight`."""
    roles, layout, macs = meeting(eqn, position, lambda axis: _leaf_order(weight, axis))
    primitive = eqn.primitive.name
    data, output = aval_of(eqn.invars[1 - position]), aval_of(eqn.outvars[0])
    return Site(
        name=name,
        leaves=weight.leaves,
        primitive=primitive,
        axes=leaf_axes(weight, roles, primitive),
        operand_axes=dataclasses.replace(roles, primitive=primitive),
        operand_parts=weight.axes,
        as_stored=weight.as_stored,
        in_order=weight.in_order,
        position=position,
        data_shape=data.shape,
        data_dtype=data.dtype,
        output_shape=output.shape,
        dtype=output.dtype,
        scans=scans,
        sliced_by=weight.sliced_by,
        macs_once=macs,
        layout=layout,
        source=source_of(eqn),
    )


def leaf_axes(weight: Weight, roles: LeafAxes, primitive: str) -> LeafAxes:
    """The roles of the leaf's axes, from those of the axes of the operand it became."""
    contracting = _leaf_axes_in(weight, roles.contracting)
    output = _leaf_axes_in(weight, roles.output) - contracting
    batch = set(range(len(weight.leaves[0].shape))) - contracting - output
    return LeafAxes(
        contracting=tuple(sorted(contracting)),
        output=tuple(sorted(output)),
        batch=tuple(sorted(batch)),
        primitive=primitive,
    )


def _leaf_axes_in(weight: Weight, axes: tuple[int, ...]) -> set[int]:
    return {part.axis for axis in axes for part in weight.axes[axis] if part.axis is not None}


def _leaf_axis(part: Part) -> int:
    """Which of the leaf's axes; -1 where a part is of none."""
    return -1 if part.axis is None else part.axis


def _leaf_order(weight: Weight, axis: int) -> tuple[int, int]:
    parts = [part.axis for part in weight.axes[axis] if part.axis is not None]
    return (parts[0] if parts else len(weight.leaves[0].shape), axis)


def source_of(eqn: JaxprEqn) -> str:
    """Where an equation comes from: the name scopes, and the first line outside JAX."""
    scope = str(eqn.source_info.name_stack)
    inside = os.path.dirname(jax.__file__)
    frames = getattr(eqn.source_info.traceback, "frames", ())
    lines = [
        f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
        for frame in frames
        if not frame.file_name.startswith(inside)
    ]
    return " ".join(part for part in (scope, *lines[:1]) if part)
