"""Formats on one matrix (outputs, inputs): its grid, and the way to codes and back."""

import dataclasses

import jax

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.cuts import cut, in_blocks
from jaxcompress.core.formats.grids import Grid, stored
from jaxcompress.core.formats.sharing import Group, Row, spread
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.grids import Ranges, found_grid

MATRIX = LeafAxes(contracting=(1,), output=(0,))


def matrix_spec(spec: QuantSpec, shape: tuple[int, ...], axes: LeafAxes) -> QuantSpec:
    """The spec by which the matrices of a leaf are rounded.

    A row along the last contracting axis is a group of a matrix that has joined them.

    Example:
      >>> rows = jc.quantize.int8(per="row")
      >>> heads = jc.LeafAxes(contracting=(0, 1), output=(2,))
      >>> str(matrix_spec(rows, (4, 16, 32), heads))
      'int8 in groups of 16'
    """
    if not isinstance(spec.sharing, Row):
        return spec
    return dataclasses.replace(spec, sharing=Group(shape[axes.contracting[-1]]))


def grid_of(
    weight: Array, spec: QuantSpec, ranges: Ranges, second_moment: Array | None = None
) -> Grid:
    """The grid of a matrix, one entry per block.

    Args:
      weight: (outputs, inputs) float32.
      spec: a format whose blocks divide it.
      ranges: which range the codes of a block cover, or a search of their scales.
      second_moment: (inputs, inputs), for a search that weighs errors with it.

    Returns:
      Grid of (1, outputs or tiles of them) by (1 or groups of inputs).

    Example:
      >>> spec = jc.quantize.int4(group_size=2)
      >>> grid_of(jnp.ones((3, 4)), spec, jc.quantize.ranges.min_max).scale.shape
      (3, 2)
    """
    parts = cut(weight.shape, spec.sharing, MATRIX)
    blocks = in_blocks(weight, parts)
    return stored(found_grid(ranges, blocks, parts, spec, second_moment), parts, MATRIX)


def each_entry(on: Grid, shape: tuple[int, ...]) -> Grid:
    """The grid with its blocks repeated: it broadcasts to a matrix of this shape."""
    whole = jax.tree.map(lambda part: spread(part, shape), on._replace(codebook=None))
    # What looks levels up in a codebook finds an entry's block itself.
    return whole._replace(codebook=on.codebook)


def encoded(weight: Array, on: Grid, spec: QuantSpec) -> Array:
    """The nearest code of each entry of a matrix, float32 whole numbers."""
    return encode(weight, each_entry(on, weight.shape), spec)


def decoded(codes: Array, on: Grid, spec: QuantSpec) -> Array:
    """The matrix that codes stand for, (outputs, inputs) float32."""
    return decode(codes, on, spec)
