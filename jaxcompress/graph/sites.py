"""Sites: where a weight meets data, and what each axis of the weight does there.

A site is a dot, convolution or gather with an operand that comes from a leaf. Where
both operands of a dot do, as the factors of a low-rank update, it is a site of each.
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
from jaxcompress.graph.convolutions import Convolution
from jaxcompress.graph.layouts import Dot, Layout, Lookup, Ragged
from jaxcompress.graph.origins import Leaf
from jaxcompress.graph.products import MARK
from jaxcompress.graph.value_axes import ValueAxes


@dataclasses.dataclass(frozen=True)
class Site:
    """One place in the program where a leaf meets data, or data meet data.

    Of a product, in which data meet data, all that is said of the weight and of its
    leaf is said of the second operand: in an einsum, of its formula's.

    Attributes:
      name: unique; the leaf's name, then "leaf#2", "leaf#3" … in program order. Of a
        product "@", the scopes it was written in, and an einsum's formula or "dot".
      leaves: the leaf; or several of like axes that lie side by side in the operand, as
        the gates of a recurrent cell do, or are combined entry by entry, as the parts
        of complex numbers are. The site goes by the first one's name.
      primitive: "dot_general", "ragged_dot_general", "conv_general_dilated", "gather"
        or "dynamic_slice".
      axes: the roles of the *leaf*'s axes. One that the operand no longer has (scanned
        or indexed) is batch. One split into parts of different roles is contracting if
        any part is, else output: to share a scale too widely is coarse, never wrong.
      operand_axes: the roles of the axes of the weight operand as it stands. Within
        each role they are in the order of the leaf's axes, so that a flattened group
        means the same at every site.
      operand_parts: the axes of the weight operand as products of the leaf's.
      operand_dtype: of the weight operand as it stands.
      as_stored: whether the weight operand has the leaf's own entries, but for their
        dtype and a factor that all share.
      in_order: whether entries along each of the leaf's axes follow one another in the
        weight operand as they do in the leaf.
      position: which operand the weight is, 0 or 1.
      data_shape, data_dtype: of the other operand, in one execution.
      output_shape, dtype: of the equation's output, in one execution.
      result_order: the order that an einsum gives to the output's axes; that they have
        where no einsum wrote the equation.
      scans: lengths of the enclosing scans, outermost first.
      sliced_by: which of the scans slice the leaf, as positions in `scans`.
      macs_once: multiply-adds of one execution.
      layout: how data and output lie; used by `rows`, `windows` and `output`.
      source: the name scopes and the line the equation comes from.
      of_parameters: whether the other operand is made of parameters alone.
      differs_along: inside of a shard_map, where shapes and multiply-adds are those of
        one device, the mesh axes along which its data differ from those of others.
      divided: whether a device has a part of what the weight sums over or of its batch.
    """

    name: str
    leaves: tuple[Leaf, ...]
    primitive: str
    axes: LeafAxes
    operand_axes: LeafAxes
    operand_parts: ValueAxes
    operand_dtype: np.dtype
    as_stored: bool
    in_order: bool
    position: int
    data_shape: tuple[int, ...]
    data_dtype: np.dtype
    output_shape: tuple[int, ...]
    dtype: np.dtype
    result_order: tuple[int, ...]
    scans: tuple[int, ...]
    sliced_by: tuple[int, ...]
    macs_once: int
    layout: Layout
    source: str
    of_parameters: bool
    differs_along: tuple[str, ...]
    divided: bool

    @property
    def is_product(self) -> bool:
        """Whether both operands are computed values, none of them a weight."""
        return self.name.startswith(MARK)

    @property
    def leaf(self) -> str:
        """The name that rules go by: that of the first leaf."""
        return self.leaves[0].name

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        return self.leaves[0].shape

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
    def is_complex(self) -> bool:
        """Whether the weight operand holds complex numbers, perhaps made of parts."""
        return np.issubdtype(self.operand_dtype, np.complexfloating)

    @property
    def is_pair(self) -> bool:
        """Whether the equation takes data and weight alone.

        What else it takes (group sizes, further indices) `apply` of a rewrite holds,
        which then means nothing outside of that trace.
        """
        return self.primitive not in ("dynamic_slice", "ragged_dot_general")

    @property
    def observable(self) -> bool:
        """Whether the data are vectors, each multiplied with the whole weight."""
        return not isinstance(self.layout, Lookup | Ragged) and not self.divided

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
          ValueError: the site is a gather, whose data are indices, or a ragged dot,
            whose rows meet a part of the weight each.
        """
        if isinstance(self.layout, Lookup | Ragged):
            raise ValueError(
                f"Site.rows: {self.name!r} is a {self.primitive}; {self.layout.data_are}, not rows."
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
          ValueError: the site is a gather, a ragged dot, or a convolution in groups.
        """
        # (batch…, rows, inputs as the operand has them)
        vectors = self._layout_of_rows("windows").windows(data)
        # A leaf (heads, width, out) may be (width · heads, out) where it arrives. Its
        # inputs are split into parts of one axis of the leaf each, put in the order of
        # the leaf, and joined again.
        axes = self.operand_axes.contracting
        parts = [(part, axis) for axis in axes for part in self.operand_parts[axis]]
        # Parts that are of no axis of the leaf come first.
        places = [(-1 if part.axis is None else part.axis, axis) for part, axis in parts]
        order = sorted(range(len(parts)), key=places.__getitem__)
        # (batch…, rows, inputs) to (batch…, rows, part, part…)
        apart = vectors.reshape(*vectors.shape[:-1], *(part.size for part, _ in parts))
        first = vectors.ndim - 1
        ordered = jnp.transpose(apart, (*range(first), *(first + i for i in order)))
        return ordered.reshape(vectors.shape)  # (batch…, rows, inputs as the leaf has them)

    def result(self, output: Array) -> Array:
        """The equation's output as the program's author wrote it: an einsum's formula.

        Args:
          output: of one execution, of `output_shape`.
        """
        return jnp.transpose(output, self.result_order)

    def taps(self, rows: Array) -> Array:
        """Vectors gathered as the entries of `rows` are where the weight meets them.

        At a convolution for each position that it computes one for each tap of the
        window, zeros in padding; at a dot the vectors themselves, as of one tap.

        Args:
          rows: (batch…, rows, n), a vector for each of those that `rows(data)` gives.

        Returns:
          (batch…, rows, taps, n), taps in the order of the window's axes.

        Raises:
          ValueError: the site is a gather, a ragged dot, or a convolution in groups.
        """
        return self._layout_of_rows("taps").taps(rows)

    @property
    def output_rows(self) -> tuple[int, ...]:
        """(batch…, rows) of what `output` takes."""
        return self._layout_of_rows("output_rows").output_rows

    def output(self, y: Array) -> Array:
        """The equation's own output layout, from (batch…, rows, outputs).

        Args:
          y: what `windows(data)` gives, at a dot the rows, times the weight as (batch…,
            outputs, contracting).

        Returns:
          Array of `output_shape` and the dtype of `y`.

        Raises:
          ValueError: the site is a gather, a ragged dot, or a convolution in groups.
        """
        return self._layout_of_rows("output").output(y)

    def _layout_of_rows(self, attribute: str) -> Dot | Convolution:
        """The layout, if one matrix multiplies all rows."""
        if isinstance(self.layout, Lookup | Ragged) or self.grouped:
            raise ValueError(
                f"Site.{attribute}: {self.name!r} is a {self.primitive} whose data are indices, or "
                "whose outputs meet different inputs; it multiplies no rows with one matrix."
            )
        return self.layout


def source_of(eqn: JaxprEqn) -> str:
    """Where an equation comes from: the name scopes, and the first line outside JAX."""
    scope = str(eqn.source_info.name_stack)
    # The pretty-printer of source lines is private to JAX; frames of the traceback are
    # not. The first one outside of JAX is the author's.
    inside = os.path.dirname(jax.__file__)
    frames = getattr(eqn.source_info.traceback, "frames", ())
    lines = [
        f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
        for frame in frames
        if not frame.file_name.startswith(inside)
    ]
    return " ".join(part for part in (scope, *lines[:1]) if part)
