"""Gather, scatter and dynamic slices: indexed axes stay whole, copied ones pass.

An index along an axis that is copied or written whole chooses nothing: the only place
is 0, however many entries the axis has. `vmap` writes such indices beside others.
"""

from typing import Any

from jaxcompress.graph.surgery.axis_rules.rule import Dims, Emitter, Record, Rule, bind
from jaxcompress.graph.surgery.dims import Dim


def couple_gather(record: Record) -> list[Dims]:
    """Passes axes that are copied whole, couples batching ones, pins all others."""
    (operand, indices), (shape,) = record.inputs, record.output_shapes
    numbers, sizes = record.params["dimension_numbers"], record.params["slice_sizes"]
    batching = numbers.operand_batching_dims
    for axis, other in zip(batching, numbers.start_indices_batching_dims, strict=True):
        record.couple(operand[axis], indices[other])
    # An axis copied whole, at index 0, passes: under `vmap` indices name such axes too.
    whole = [axis for axis, size in enumerate(sizes) if size == operand[axis].size]
    chosen = [operand[axis] for axis in range(len(operand)) if axis not in {*whole, *batching}]
    record.pin(indices[-1], *chosen)
    # The result has the operand's window axes at `offset_dims`, and elsewhere the axes
    # of the indices but for their last, which is the index itself.
    dropped = {*numbers.collapsed_slice_dims, *batching}
    window = iter([axis for axis in range(len(operand)) if axis not in dropped])
    rows = iter(indices[:-1])
    return [
        tuple(
            _copied(record, operand[next(window)], size)
            if axis in numbers.offset_dims
            else next(rows)
            for axis, size in enumerate(shape)
        )
    ]


def _copied(record: Record, d: Dim, size: int) -> Dim:
    if d.size == size:
        return d
    record.pin(d)
    return record.pinned(size)


def emit_gather(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits slices at their new length where they are as long as the axis."""
    return bind(record, values, slice_sizes=_whole_or_written(record, emitter))


def _whole_or_written(record: Record, emitter: Emitter) -> tuple[int, ...]:
    operand = record.inputs[0]
    written = record.params["slice_sizes"]
    there = emitter.sizes(operand)
    return tuple(
        now if size == d.size else size
        for size, d, now in zip(written, operand, there, strict=True)
    )


def couple_dynamic_slice(record: Record) -> list[Dims]:
    """Passes axes that are taken whole, pins all others."""
    operand, (shape,) = record.inputs[0], record.output_shapes
    return [tuple(_copied(record, d, size) for d, size in zip(operand, shape, strict=True))]


def emit_dynamic_slice(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits slices at their new length where they are as long as the axis."""
    return bind(record, values, slice_sizes=_whole_or_written(record, emitter))


def couple_dynamic_update(record: Record) -> list[Dims]:
    """Couples axes that are overwritten whole, pins all others."""
    operand, update = record.inputs[:2]
    for d, new in zip(operand, update, strict=True):
        _couple_if_whole(record, d, new)
    return [operand]


def _couple_if_whole(record: Record, d: Dim, part: Dim) -> None:
    if d.size == part.size:
        record.couple(d, part)
    else:
        record.pin(d, part)


def couple_scatter(record: Record) -> list[Dims]:
    """Couples updates and operand as a gather does; pins rows that may be summed."""
    operand, indices, updates = record.inputs
    numbers = record.params["dimension_numbers"]
    batching, inserted = numbers.operand_batching_dims, numbers.inserted_window_dims
    window = [axis for axis in range(len(operand)) if axis not in {*inserted, *batching}]
    for axis, update in zip(window, numbers.update_window_dims, strict=True):
        _couple_if_whole(record, operand[axis], updates[update])
    rows = [d for axis, d in enumerate(updates) if axis not in numbers.update_window_dims]
    for axis, (row, index) in enumerate(zip(rows, indices[:-1], strict=True)):
        record.couple(row, index)
        if axis not in numbers.scatter_indices_batching_dims:
            record.pin(row, index)
    for axis, other in zip(batching, numbers.scatter_indices_batching_dims, strict=True):
        record.couple(operand[axis], indices[other])
    record.pin(indices[-1], *(operand[axis] for axis in inserted))
    return [operand]


RULES = {
    "dynamic_slice": Rule(couple_dynamic_slice, emit_dynamic_slice),
    "dynamic_update_slice": Rule(couple_dynamic_update),
    "gather": Rule(couple_gather, emit_gather),
    "scatter": Rule(couple_scatter),
    "scatter-add": Rule(couple_scatter),
    "scatter-max": Rule(couple_scatter),
    "scatter-min": Rule(couple_scatter),
    "scatter-mul": Rule(couple_scatter),
    "scatter-sub": Rule(couple_scatter),
}
