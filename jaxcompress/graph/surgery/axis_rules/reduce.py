"""Reductions, and what needs an axis whole: sorting, running sums, windows.

A reduction has a neutral element, which changes no result: 0 for a sum, -inf for a
maximum. The masked program puts it in place of removed entries, and equals the shrunk
program for that reason. What has none known keeps its axes whole.
"""

from typing import Any

import numpy as np

from jaxcompress.graph.surgery.axis_rules.rule import Dims, Record, Reduction, Rule, zero


def one(dtype: np.dtype):
    """The neutral element of a product and of a conjunction."""
    return np.ones((), dtype)


def smallest(dtype: np.dtype):
    """The neutral element of a maximum."""
    return np.asarray(-np.inf, dtype) if _inexact(dtype) else np.asarray(_range(dtype)[0], dtype)


def highest(dtype: np.dtype):
    """The neutral element of a minimum."""
    return np.asarray(np.inf, dtype) if _inexact(dtype) else np.asarray(_range(dtype)[1], dtype)


def _inexact(dtype: np.dtype) -> bool:
    return not np.issubdtype(dtype, np.integer) and dtype != np.dtype(bool)


def _range(dtype: np.dtype) -> tuple[Any, ...]:
    if dtype == np.dtype(bool):
        return False, True
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def couple_reduction(record: Record) -> list[Dims]:
    """Passes the axes that are not reduced."""
    axes = record.params["axes"]
    return [tuple(d for axis, d in enumerate(dims) if axis not in axes) for dims in record.inputs]


def reduction(neutral: Any) -> Rule:
    """The rule of a reduction with this neutral element."""

    def reduces(record: Record) -> list[Reduction]:
        return [Reduction(0, axis, neutral) for axis in record.params["axes"]]

    return Rule(couple_reduction, reduces=reduces)


def couple_open_reduction(record: Record) -> list[Dims]:
    """Pins the reduced axes of a function with no known neutral element."""
    count = len(record.eqn.outvars)
    first, *others = record.inputs[:count]
    axes = record.params["dimensions"]
    for dims in others:
        for a, b in zip(first, dims, strict=True):
            record.couple(a, b)
    record.pin(*(first[axis] for axis in axes))
    return [tuple(d for axis, d in enumerate(first) if axis not in axes)] * count


def couple_position(record: Record) -> list[Dims]:
    """Pins the axis along which the position of an extreme is counted."""
    (operand,) = record.inputs
    record.pin(*(operand[axis] for axis in record.params["axes"]))
    return couple_reduction(record)


def couple_ordered(record: Record, axes: tuple[int, ...]) -> list[Dims]:
    """Pins axes whose order matters; couples the others of all operands."""
    first, *others = record.inputs
    for dims in others:
        for a, b in zip(first, dims, strict=True):
            record.couple(a, b)
    record.pin(*(first[axis] for axis in axes))
    return [first] * len(record.output_shapes)


def couple_cumulative(record: Record) -> list[Dims]:
    """Pins the axis of a running sum, maximum or the like."""
    return couple_ordered(record, (record.params["axis"],))


def couple_sort(record: Record) -> list[Dims]:
    """Pins the axis that is sorted."""
    return couple_ordered(record, (record.params["dimension"],))


def couple_top(record: Record) -> list[Dims]:
    """Pins the axis along which the largest are chosen."""
    (operand,) = record.inputs
    # `approx_top_k` and JAX releases name the axis differently; unnamed it is the last.
    axis = record.params.get("axis", record.params.get("reduction_dimension", -1)) % len(operand)
    record.pin(operand[axis])
    chosen = record.pinned(record.output_shapes[0][axis])
    return [(*operand[:axis], chosen, *operand[axis + 1 :])] * len(record.output_shapes)


def couple_transform(record: Record) -> list[Dims]:
    """Pins the last axes, which a Fourier transform takes whole."""
    (operand,), (shape,) = record.inputs, record.output_shapes
    first = len(operand) - len(record.params["fft_lengths"])
    record.pin(*operand[first:])
    return [(*operand[:first], *(record.pinned(size) for size in shape[first:]))]


def couple_window(record: Record) -> list[Dims]:
    """Passes axes along which the window has one entry, pins all others."""
    arrays = [dims for dims in record.inputs if dims]  # initial values are scalars
    axes = []
    for axis, size in enumerate(record.output_shapes[0]):
        operands = [dims[axis] for dims in arrays]
        if _windowed(record, axis):
            record.pin(*operands)
            axes.append(record.pinned(size))
            continue
        for other in operands[1:]:
            record.couple(operands[0], other)
        axes.append(operands[0])
    return [tuple(axes)] * len(record.output_shapes)


def _windowed(record: Record, axis: int) -> bool:
    passes = {
        "window_dimensions": 1,
        "window_strides": 1,
        "padding": (0, 0),
        "base_dilation": 1,
        "window_dilation": 1,
    }
    return any(
        tuple(record.params[name][axis]) != value
        if name == "padding"
        else record.params[name][axis] != value
        for name, value in passes.items()
        if name in record.params
    )


RULES = {
    "approx_top_k": Rule(couple_top),
    "argmax": Rule(couple_position),
    "argmin": Rule(couple_position),
    "cumlogsumexp": Rule(couple_cumulative),
    "cummax": Rule(couple_cumulative),
    "cummin": Rule(couple_cumulative),
    "cumprod": Rule(couple_cumulative),
    "cumsum": Rule(couple_cumulative),
    "fft": Rule(couple_transform),
    "reduce": Rule(couple_open_reduction),
    "reduce_and": reduction(one),
    "reduce_max": reduction(smallest),
    "reduce_min": reduction(highest),
    "reduce_or": reduction(zero),
    "reduce_prod": reduction(one),
    "reduce_sum": reduction(zero),
    "reduce_window": Rule(couple_window),
    "reduce_window_max": Rule(couple_window),
    "reduce_window_min": Rule(couple_window),
    "reduce_window_sum": Rule(couple_window),
    "reduce_xor": reduction(zero),
    "select_and_gather_add": Rule(couple_window),
    "select_and_scatter_add": Rule(couple_window),
    "sort": Rule(couple_sort),
    "top_k": Rule(couple_top),
}
