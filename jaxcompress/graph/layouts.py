"""How data, weight and output lie at a site, for each of the three kinds of equation.

Positions and shapes only; which leaf the weight comes from is the matter of `sites`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.types import Array
from jaxcompress.graph.jaxprs import aval_of

AxisOrder = Callable[[int], tuple]
"""Sort key that puts the weight operand's axes in the order of the leaf's."""


@dataclasses.dataclass(frozen=True)
class Dot:
    """A `dot_general`: what the data's axes do, each group in the order of the leaf's.

    Fields:
      data: positions of the data's (batch, free, contracting) axes.
      data_shape: the data's shape.
      output_shape: sizes of the (batch, free, weight output) axes.
      permutation: from those to the equation's own output layout.
    """

    data: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    data_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    permutation: tuple[int, ...]

    def rows(self, data: Array) -> Array:
        batch, free, contracting = ([self.data_shape[i] for i in axes] for axes in self.data)
        ordered = jnp.transpose(data, sum(self.data, ()))
        return ordered.reshape(*batch, math.prod(free), math.prod(contracting))

    def output(self, y: Array) -> Array:
        return jnp.transpose(y.reshape(self.output_shape), self.permutation)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A `conv_general_dilated`: where features are, and which of them meet.

    Fields:
      feature_axis: of the data, its features.
      kernel_axis: of the weight operand, the features that one output sums over.
      groups: of the features; the outputs of a group sum over those of its own.
      batch_groups: of the examples; the outputs of a group see those of its own.
    """

    feature_axis: int
    kernel_axis: int
    groups: int
    batch_groups: int

    def rows(self, data: Array) -> Array:
        return jnp.moveaxis(data, self.feature_axis, -1).reshape(-1, data.shape[self.feature_axis])


@dataclasses.dataclass(frozen=True)
class Lookup:
    """A `gather`: the data are indices and have no rows."""


Layout = Dot | Convolution | Lookup


class Meeting(NamedTuple):
    """What an equation does with a weight operand.

    Fields:
      roles: the role of each axis of the weight operand.
      layout: how data and output lie.
      macs: multiply-adds of one execution.
    """

    roles: LeafAxes
    layout: Layout
    macs: int


def meeting(eqn: JaxprEqn, position: int, order: AxisOrder) -> Meeting:
    """What an equation does with its operand `position`, a weight."""
    match eqn.primitive.name:
        case "dot_general":
            return _dot(eqn, position, order)
        case "conv_general_dilated":
            return _convolution(eqn)
    return _lookup(eqn)


def _dot(eqn: JaxprEqn, position: int, order: AxisOrder) -> Meeting:
    contracting, batch = eqn.params["dimension_numbers"]
    weight_batch, data_batch = _paired(batch, position, order)
    weight_contracting, data_contracting = _paired(contracting, position, order)
    weight_shape = aval_of(eqn.invars[position]).shape
    data_shape = aval_of(eqn.invars[1 - position]).shape
    outputs = _others(len(weight_shape), weight_batch + weight_contracting)
    free = _others(len(data_shape), data_batch + data_contracting)
    ordered_outputs = tuple(sorted(outputs, key=order))

    # The equation writes batch axes first, then what is free on its left, on its right.
    weight_axes = tuple(("weight", axis) for axis in outputs)
    data_axes = tuple(("data", axis) for axis in free)
    free_axes = weight_axes + data_axes if position == 0 else data_axes + weight_axes
    own = tuple(("weight", axis) for axis in batch[position]) + free_axes
    ours = tuple(("weight", axis) for axis in weight_batch) + data_axes
    ours += tuple(("weight", axis) for axis in ordered_outputs)
    shapes = {"weight": weight_shape, "data": data_shape}

    layout = Dot(
        data=(data_batch, free, data_contracting),
        data_shape=data_shape,
        output_shape=tuple(shapes[operand][axis] for operand, axis in ours),
        permutation=tuple(ours.index(axis) for axis in own),
    )
    macs = math.prod(data_shape) * math.prod(weight_shape[axis] for axis in outputs)
    return Meeting(LeafAxes(weight_contracting, ordered_outputs, weight_batch), layout, macs)


def _paired(axes, position: int, order: AxisOrder) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes of the weight in the leaf's order, and the data's axes that go with them."""
    pairs = sorted(zip(axes[position], axes[1 - position], strict=True), key=lambda p: order(p[0]))
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def _convolution(eqn: JaxprEqn) -> Meeting:
    kernel = aval_of(eqn.invars[1])
    numbers = eqn.params["dimension_numbers"]
    output_axis = numbers.rhs_spec[0]
    roles = LeafAxes(_others(len(kernel.shape), (output_axis,)), (output_axis,))
    window = math.prod(kernel.shape) // max(kernel.shape[output_axis], 1)
    macs = math.prod(aval_of(eqn.outvars[0]).shape) * window
    layout = Convolution(
        feature_axis=numbers.lhs_spec[1],
        kernel_axis=numbers.rhs_spec[1],
        groups=eqn.params["feature_group_count"],
        batch_groups=eqn.params["batch_group_count"],
    )
    return Meeting(roles, layout, macs)


def _lookup(eqn: JaxprEqn) -> Meeting:
    numbers = eqn.params["dimension_numbers"]
    batch = tuple(numbers.operand_batching_dims)
    indexed = tuple(numbers.start_index_map)
    copied = _others(len(aval_of(eqn.invars[0]).shape), batch + indexed)
    return Meeting(LeafAxes(copied, indexed, batch), Lookup(), 0)


def _others(ndim: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in range(ndim) if axis not in axes)
