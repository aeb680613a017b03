"""How data, weight and output lie at a site, for each kind of equation.

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
from jaxcompress.graph.convolutions import Convolution, Sweep
from jaxcompress.graph.jaxprs import aval_of

AxisOrder = Callable[[int], tuple]
"""Sort key that puts the weight operand's axes in the order of the leaf's."""


@dataclasses.dataclass(frozen=True)
class Dot:
    """A `dot_general`: what the data's axes do, each group in the order of the leaf's.

    Attributes:
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
        ordered = jnp.transpose(data, sum(self.data, ()))  # (batch…, free…, contracting…)
        # To (batch…, rows, inputs).
        return ordered.reshape(*batch, math.prod(free), math.prod(contracting))

    def windows(self, data: Array) -> Array:
        return self.rows(data)

    def taps(self, rows: Array) -> Array:
        return rows[..., None, :]

    @property
    def output_rows(self) -> tuple[int, ...]:
        batch, free, _ = ([self.data_shape[i] for i in axes] for axes in self.data)
        return (*batch, math.prod(free))

    def output(self, y: Array) -> Array:
        # From (batch…, rows, outputs), by (batch…, free…, outputs…).
        return jnp.transpose(y.reshape(self.output_shape), self.permutation)


@dataclasses.dataclass(frozen=True)
class Lookup:
    """A `gather` or `dynamic_slice`: the data are indices and have no rows."""

    data_are = "its data are indices"


@dataclasses.dataclass(frozen=True)
class Ragged:
    """A `ragged_dot_general`: which rows meet which matrix only the data tell."""

    data_are = "its data are rows of different matrices"


Layout = Dot | Convolution | Lookup | Ragged


class Meeting(NamedTuple):
    """What an equation does with a weight operand.

    Attributes:
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
        case "ragged_dot_general":
            return _ragged(eqn)
        case "dynamic_slice":
            return _slice(eqn)
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
    # Entries one output sums over; the kernel's inputs are those of one group already.
    window = math.prod(kernel.shape) // max(kernel.shape[output_axis], 1)
    macs = math.prod(aval_of(eqn.outvars[0]).shape) * window
    layout = Convolution(
        data_axes=tuple(numbers.lhs_spec),
        kernel_axes=tuple(numbers.rhs_spec),
        output_axes=tuple(numbers.out_spec),
        data_shape=tuple(aval_of(eqn.invars[0]).shape),
        output_shape=tuple(aval_of(eqn.outvars[0]).shape),
        sweeps=_sweeps(eqn),
        groups=eqn.params["feature_group_count"],
        batch_groups=eqn.params["batch_group_count"],
    )
    return Meeting(roles, layout, macs)


def _sweeps(eqn: JaxprEqn) -> tuple[Sweep, ...]:
    params, numbers = eqn.params, eqn.params["dimension_numbers"]
    kernel, output = aval_of(eqn.invars[1]).shape, aval_of(eqn.outvars[0]).shape
    # Data that are dilated have zeros between their entries.
    padding = [
        (low, high, dilation - 1)
        for (low, high), dilation in zip(params["padding"], params["lhs_dilation"], strict=True)
    ]
    positions = [output[axis] for axis in numbers.out_spec[2:]]
    taps = [kernel[axis] for axis in numbers.rhs_spec[2:]]
    along = (padding, positions, params["window_strides"], taps, params["rhs_dilation"])
    return tuple(Sweep(*each) for each in zip(*along, strict=True))


def _lookup(eqn: JaxprEqn) -> Meeting:
    """Rows are chosen where less than an axis is copied; `vmap` indexes others too."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    shape = aval_of(eqn.invars[0]).shape
    batch, indexed = tuple(numbers.operand_batching_dims), tuple(numbers.start_index_map)
    chosen = tuple(axis for axis in indexed if sizes[axis] != shape[axis])
    # A table of one row has nothing to choose from: its axis of size one is the rows'.
    rows = chosen or tuple(axis for axis in indexed if shape[axis] == 1)
    return Meeting(LeafAxes(_others(len(shape), batch + rows), rows, batch), Lookup(), 0)


def _slice(eqn: JaxprEqn) -> Meeting:
    """A slice at a traced index looks rows up, as the gather `vmap` makes of it."""
    shape, sizes = aval_of(eqn.invars[0]).shape, eqn.params["slice_sizes"]
    rows = tuple(axis for axis, size in enumerate(sizes) if size != shape[axis])
    return Meeting(LeafAxes(_others(len(shape), rows), rows), Lookup(), 0)


def _ragged(eqn: JaxprEqn) -> Meeting:
    """Every row of the data meets the matrix of its group; groups are batch axes."""
    numbers = eqn.params["ragged_dot_dimension_numbers"]
    (_, contracting), (_, batch) = numbers.dot_dimension_numbers
    data, weight = (aval_of(operand).shape for operand in eqn.invars[:2])
    batch = (*batch, *numbers.rhs_group_dimensions)
    outputs = _others(len(weight), (*batch, *contracting))
    macs = math.prod(data) * math.prod(weight[axis] for axis in outputs)
    return Meeting(LeafAxes(tuple(contracting), outputs, batch), Ragged(), macs)


def _others(ndim: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in range(ndim) if axis not in axes)
