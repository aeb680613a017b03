"""Which operands of an equation are weights, and what site the equation then is."""

import dataclasses
import math
from collections.abc import Sequence

from jax.extend.core import JaxprEqn

from jaxcompress.core.axes import LeafAxes
from jaxcompress.graph.formulas import first_operand, formula_of
from jaxcompress.graph.jaxprs import Manual, aval_of, differing
from jaxcompress.graph.layouts import meeting
from jaxcompress.graph.origins import Leaf, Origin, Source, Weight, origin_of_leaf
from jaxcompress.graph.products import PRODUCTS
from jaxcompress.graph.sites import Site, source_of

Order = tuple[int, ...]
"""The order in which an einsum has the axes of a dot's output."""

# Which operand may be the weight: either of a dot, the filter, the table.
_WEIGHT_POSITIONS = {
    "conv_general_dilated": (1,),
    "dot_general": (0, 1),
    "dynamic_slice": (0,),
    "gather": (0,),
    "ragged_dot_general": (1,),
}


def weight_operands(eqn: JaxprEqn, origins: list[Origin]) -> list[tuple[int, Weight]]:
    """The operands that are weights meeting data or other weights, by position.

    A bias or gain that is broadcast is none, nor is a vector that meets a matrix of
    parameters, nor a slice at a place that no data choose, nor what meets itself.
    """
    weights = {i: origin for i, origin in enumerate(origins) if isinstance(origin, Weight)}
    # An index into a table counts as data that meet it; one known when tracing, as in
    # `w[0]`, only selects a part of the weight.
    allowed = _WEIGHT_POSITIONS.get(eqn.primitive.name, ())
    found = [(i, weights[i]) for i in allowed if i in weights]
    if eqn.primitive.name == "dynamic_slice" and Source.DATA not in origins[1:]:
        return []
    if len(found) < 2:
        return [each for each in found if not each[1].is_spread_vector]
    (_, first), (_, other) = found
    # `w @ w.T` is a norm or a regularizer of the weight, no layer.
    if {*first.leaves} & {*other.leaves}:
        return []
    # In `x @ (a @ b)`, a and b are each other's data, so both are sites.
    return [each for each in found if _is_matrix(each[1])]


def is_product(eqn: JaxprEqn, origins: list[Origin]) -> bool:
    """Whether data meet in an equation that no weight is followed to.

    Both operands of a product are data in attention; in an activation's fixed transform
    the other one is constant, in a kernel that has lost its axes made of params.
    """
    return eqn.primitive.name in PRODUCTS and Source.DATA in origins[:2]


def product_of(
    name: str,
    eqn: JaxprEqn,
    scans: tuple[int, ...],
    origins: list[Origin],
    meshes: tuple[Manual, ...],
    order: Order | None,
) -> Site:
    """The site of a product: its second operand stands where a weight would."""
    formula = formula_of(str(eqn.source_info.name_stack))
    first = first_operand(formula, eqn, _order_of(eqn, order))
    second = aval_of(eqn.invars[1 - first])
    itself = origin_of_leaf(Leaf(name, second.shape, second.dtype))
    site = site_of(name, eqn, 1 - first, itself, scans, origins[first], meshes, order)
    # Whether devices share what it sums over is not known: then no reading is right.
    return dataclasses.replace(site, divided=bool(site.differs_along))


def _order_of(eqn: JaxprEqn, order: Order | None) -> Order:
    """The order of the output's axes, as they are where no einsum has changed it."""
    return tuple(range(len(aval_of(eqn.outvars[0]).shape))) if order is None else order


def _is_matrix(weight: Weight) -> bool:
    """Whether entries lie along more than one axis of the leaf."""
    parts = {part.axis for axis in weight.axes for part in axis if part.size > 1}
    return len(parts - {None}) > 1


def site_of(
    name: str,
    eqn: JaxprEqn,
    position: int,
    weight: Weight,
    scans: tuple[int, ...],
    other: Origin,
    meshes: tuple[Manual, ...],
    order: Order | None,
) -> Site:
    """The site of an equation of `weight`, at this position, and another operand."""
    roles, layout, macs = meeting(eqn, position, lambda axis: _leaf_order(weight, axis))
    primitive = eqn.primitive.name
    data, output = aval_of(eqn.invars[1 - position]), aval_of(eqn.outvars[0])
    found = leaf_axes(weight, roles, primitive)
    return Site(
        name=name,
        leaves=weight.leaves,
        primitive=primitive,
        axes=found,
        operand_axes=dataclasses.replace(roles, primitive=primitive),
        operand_parts=weight.axes,
        operand_dtype=aval_of(eqn.invars[position]).dtype,
        as_stored=weight.as_stored,
        in_order=weight.in_order,
        position=position,
        data_shape=data.shape,
        data_dtype=data.dtype,
        output_shape=output.shape,
        dtype=output.dtype,
        result_order=_order_of(eqn, order),
        scans=scans,
        sliced_by=weight.sliced_by,
        macs_once=macs,
        layout=layout,
        source=source_of(eqn),
        of_parameters=isinstance(other, Weight) or other is Source.PARAMETERS,
        differs_along=differing(eqn.invars[1 - position], meshes),
        divided=bool(meshes) and _is_part(weight, (*found.contracting, *found.batch)),
    )


def _is_part(weight: Weight, axes: Sequence[int]) -> bool:
    """Whether the value has less than all of these axes of its leaf."""
    parts = [part for axis in weight.axes for part in axis]
    return any(
        math.prod(part.size for part in parts if part.axis == axis) != weight.leaves[0].shape[axis]
        for axis in axes
    )


def leaf_axes(weight: Weight, roles: LeafAxes, primitive: str) -> LeafAxes:
    """The roles of the leaf's axes, from those of the axes of the operand it became."""
    contracting = _leaf_axes_in(weight, roles.contracting)
    # An axis split into parts of both roles counts as contracting: entries summed
    # together then share a scale, which is coarse where less would do, never wrong.
    output = _leaf_axes_in(weight, roles.output) - contracting
    # The rest is gone from the operand, by a scan or an index, or is its batch axis.
    batch = set(range(len(weight.leaves[0].shape))) - contracting - output
    return LeafAxes(
        contracting=tuple(sorted(contracting)),
        output=tuple(sorted(output)),
        batch=tuple(sorted(batch)),
        primitive=primitive,
    )


def _leaf_axes_in(weight: Weight, axes: tuple[int, ...]) -> set[int]:
    return {part.axis for axis in axes for part in weight.axes[axis] if part.axis is not None}


def _leaf_order(weight: Weight, axis: int) -> tuple[int, int]:
    parts = [part.axis for part in weight.axes[axis] if part.axis is not None]
    return (parts[0] if parts else len(weight.leaves[0].shape), axis)
