"""Dots and convolutions: an index summed over is removed from both operands or none."""

from typing import Any

from jaxcompress.graph.surgery.axis_rules.rule import (
    Dims,
    Emitter,
    Record,
    Reduction,
    Rule,
    bind,
    zero,
)
from jaxcompress.graph.surgery.dims import Dim, MisfitError
from jaxcompress.graph.surgery.refinement import split


def couple_dot(record: Record) -> list[Dims]:
    """Couples contracting and batch axes of both operands; the others pass on."""
    (left_summed, right_summed), (left_batch, right_batch) = record.params["dimension_numbers"]
    left, right = record.inputs
    pairs = zip((*left_summed, *left_batch), (*right_summed, *right_batch), strict=True)
    for one, other in pairs:
        record.couple(left[one], right[other])
    batch = tuple(left[axis] for axis in left_batch)
    return [
        batch
        + _others(left, (*left_summed, *left_batch))
        + _others(right, (*right_summed, *right_batch))
    ]


def _others(dims: Dims, axes: tuple[int, ...]) -> Dims:
    return tuple(d for axis, d in enumerate(dims) if axis not in axes)


def dot_reduces(record: Record) -> list[Reduction]:
    """Both operands' contracting axes."""
    return _sums(record.params["dimension_numbers"])


def _sums(dimension_numbers) -> list[Reduction]:
    (left_summed, right_summed), _ = dimension_numbers
    left = [Reduction(0, axis, zero) for axis in left_summed]
    return left + [Reduction(1, axis, zero) for axis in right_summed]


def couple_ragged(record: Record) -> list[Dims]:
    """Couples as a dot does; pins the rows that fall into groups, and the groups."""
    left, right, *group_sizes = record.inputs
    numbers = record.params["ragged_dot_dimension_numbers"]
    (summed, right_summed), (batch, right_batch) = numbers.dot_dimension_numbers
    ragged, groups = numbers.lhs_ragged_dimensions, numbers.rhs_group_dimensions
    for one, other in zip((*summed, *batch), (*right_summed, *right_batch), strict=True):
        record.couple(left[one], right[other])
    record.pin(*(left[axis] for axis in ragged), *(right[axis] for axis in groups))
    record.pin(*(d for sizes in group_sizes for d in sizes))
    result = tuple(left[axis] for axis in batch)
    result += _others(left, (*summed, *batch))
    result += _others(right, (*right_summed, *right_batch, *groups))
    # Where the sum itself falls into groups, there is one result for each of them.
    of_groups = record.output_shapes[0][: len(record.output_shapes[0]) - len(result)]
    return [(*(record.pinned(size) for size in of_groups), *result)]


def ragged_reduces(record: Record) -> list[Reduction]:
    """Both operands' contracting axes."""
    numbers = record.params["ragged_dot_dimension_numbers"]
    return _sums(numbers.dot_dimension_numbers)


def couple_convolution(record: Record) -> list[Dims]:
    """Couples features as a dot does; pins windows and positions.

    With g groups the input features are (g, in) and the output features (g, out / g).
    """
    data, kernel = record.inputs
    numbers = record.params["dimension_numbers"]
    batch, features, *positions = numbers.lhs_spec
    outputs, inputs, *window = numbers.rhs_spec
    record.pin(*(data[axis] for axis in positions), *(kernel[axis] for axis in window))
    try:
        if record.params["batch_group_count"] > 1:
            raise MisfitError
        # Data (g, in) meet a kernel with outputs (g, out / g) and inputs (in,): a whole
        # group goes from both, or the same input from all groups.
        groups, within = split(data[features], *_grouped(record, data[features]))
        record.aside.append(groups)
        output_groups, _ = split(kernel[outputs], *_grouped(record, kernel[outputs]))
        record.couple(groups, output_groups)
        record.couple(within, kernel[inputs])
    except MisfitError:
        record.pin(data[batch], data[features], kernel[inputs], kernel[outputs])
    return [_convolved(record, data[batch], kernel[outputs])]


def _grouped(record: Record, d: Dim) -> tuple[int, int]:
    groups = record.params["feature_group_count"]
    return groups, d.size // groups


def _convolved(record: Record, batch: Dim, features: Dim) -> Dims:
    (shape,) = record.output_shapes
    batch_axis, feature_axis, *_ = record.params["dimension_numbers"].out_spec
    # A size that differs is one of batch groups, which were pinned.
    kept_whole = {batch_axis: batch, feature_axis: features}
    return tuple(
        kept_whole[axis]
        if axis in kept_whole and kept_whole[axis].size == size
        else record.pinned(size)
        for axis, size in enumerate(shape)
    )


def emit_convolution(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a convolution with as many groups as are kept."""
    if record.params["feature_group_count"] == 1 or not record.aside:
        return bind(record, values)
    (groups,) = emitter.sizes(record.aside)
    return bind(record, values, feature_group_count=groups)


def convolution_reduces(record: Record) -> list[Reduction]:
    """The features of the data and the inputs of the kernel."""
    numbers = record.params["dimension_numbers"]
    return [Reduction(0, numbers.lhs_spec[1], zero), Reduction(1, numbers.rhs_spec[1], zero)]


RULES = {
    "dot_general": Rule(couple_dot, reduces=dot_reduces),
    "ragged_dot_general": Rule(couple_ragged, reduces=ragged_reduces),
    "conv_general_dilated": Rule(couple_convolution, emit_convolution, convolution_reduces),
}
