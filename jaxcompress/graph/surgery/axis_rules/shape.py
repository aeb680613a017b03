"""Primitives that move, group, cut and join axes without touching an entry."""

import itertools
from typing import Any

from jaxcompress.graph.surgery.axis_rules.rule import Dims, Emitter, Record, Rule, bind, fresh
from jaxcompress.graph.surgery.dims import (
    Dim,
    MisfitError,
    concatenation,
    pinned,
    product,
    reversal,
)
from jaxcompress.graph.surgery.refinement import pieces, reshape, split


def couple_transpose(record: Record) -> list[Dims]:
    """Passes the axes in another order."""
    (operand,) = record.inputs
    return [tuple(operand[axis] for axis in record.params["permutation"])]


def couple_reverse(record: Record) -> list[Dims]:
    """Passes the axes reversed: index i is that of size - 1 - i."""
    (operand,) = record.inputs
    axes = record.params["dimensions"]
    return [tuple(reversal(d) if axis in axes else d for axis, d in enumerate(operand))]


def couple_tile(record: Record) -> list[Dims]:
    """Makes each axis the product (copies, size)."""
    (operand,) = record.inputs
    copies = fresh(record.params["reps"])
    record.aside.extend(copies)
    return [tuple(product(pair) for pair in zip(copies, operand, strict=True))]


def emit_tile(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits as many copies as are kept."""
    return bind(record, values, reps=emitter.sizes(record.aside))


def couple_squeeze(record: Record) -> list[Dims]:
    """Passes the axes but those squeezed."""
    (operand,) = record.inputs
    gone = record.params["dimensions"]
    return [tuple(d for axis, d in enumerate(operand) if axis not in gone)]


def couple_broadcast(record: Record) -> list[Dims]:
    """Passes axes that keep their size; a new or expanded one is free."""
    operand, (shape,) = record.inputs[0], record.output_shapes
    axes = list(fresh(shape))
    for d, axis in zip(operand, record.params["broadcast_dimensions"], strict=True):
        if d.size == shape[axis]:
            axes[axis] = d
    return [tuple(axes)]


def emit_broadcast(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits the equation to the kept sizes."""
    return bind(record, values, shape=emitter.sizes(record.outputs[0]))


def couple_reshape(record: Record) -> list[Dims]:
    """Splits and joins the axes; pins what cannot be followed."""
    return [reshape(record.inputs[0], record.output_shapes[0], record)]


def emit_reshape(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits the equation to the kept sizes."""
    return bind(record, values, new_sizes=emitter.sizes(record.outputs[0]))


def couple_slice(record: Record) -> list[Dims]:
    """Cuts axes at slices; every s-th entry is the outer part of (n / s, s)."""
    (operand,) = record.inputs
    found = [_sliced(record, d, *one) for d, one in zip(operand, _slices(record), strict=True)]
    record.aside = [before for before, _ in found]
    return [tuple(taken for _, taken in found)]


def _slices(record: Record) -> list[tuple[int, int, int]]:
    """Per axis: first index, stride, number of indices."""
    starts = record.params["start_indices"]
    strides = record.params["strides"] or (1,) * len(starts)
    return list(zip(starts, strides, record.output_shapes[0], strict=True))


def _sliced(record: Record, d: Dim, begin: int, stride: int, size: int) -> tuple[Dim, Dim]:
    """What lies before the slice of one axis, and the slice."""
    if size == d.size:
        return Dim(0), d
    try:
        # No index of a pinned axis may go, so that its pieces need not be told apart.
        # Cut all the same, windows along time would shatter the axis.
        if pinned(d):
            raise MisfitError
        if stride == 1:
            before, taken, _ = pieces_of(d, (begin, size, d.size - begin - size))
            return before, taken
        # Every s-th entry of n: as (n / s, s), what is taken is one column of it. The
        # column must stay one, so the phase is pinned and whole rows go.
        if begin >= stride or size * stride != d.size:
            raise MisfitError
        taken, phase = split(d, size, stride)
    except MisfitError:
        record.pin(d)
        return Dim(begin), record.pinned(size)
    record.pin(phase)
    return Dim(begin), taken


def emit_slice(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits the slice from behind the kept indices before it, of the kept length."""
    # x[:, 4:8] with indices 1 and 5 removed is x[:, 3:6]: 3 are left before, 3 inside.
    starts = emitter.sizes(record.aside)
    strides = [stride for _, stride, _ in _slices(record)]
    counts = emitter.sizes(record.outputs[0])
    # The last entry taken, and one more: a limit may not lie beyond the operand.
    limits = tuple(
        start + (count - 1) * stride + 1 if count else start
        for start, stride, count in zip(starts, strides, counts, strict=True)
    )
    return bind(record, values, start_indices=starts, limit_indices=limits)


def pieces_of(d: Dim, sizes: tuple[int, ...]) -> list[Dim]:
    """Consecutive pieces of these sizes, any of which may be 0."""
    bounds = list(itertools.accumulate(sizes))
    found = iter(pieces(d, [bound for bound, size in zip(bounds, sizes, strict=True) if size]))
    return [next(found) if size else Dim(0) for size in sizes]


def couple_split(record: Record) -> list[Dims]:
    """Cuts one axis into consecutive pieces."""
    (operand,) = record.inputs
    axis, sizes = record.params["axis"], record.params["sizes"]
    try:
        if pinned(operand[axis]):
            raise MisfitError
        parts = pieces_of(operand[axis], sizes)
    except MisfitError:
        record.pin(operand[axis])
        parts = [record.pinned(size) for size in sizes]
    return [(*operand[:axis], part, *operand[axis + 1 :]) for part in parts]


def emit_split(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits pieces of the kept sizes."""
    axis = record.params["axis"]
    sizes = tuple(int(emitter.kept(dims[axis]).sum()) for dims in record.outputs)
    return bind(record, values, sizes=sizes)


def couple_concatenate(record: Record) -> list[Dims]:
    """Joins the axes in a row; couples all others."""
    axis = record.params["dimension"]
    first, *others = record.inputs
    for dims in others:
        for position, (one, other) in enumerate(zip(first, dims, strict=True)):
            if position != axis:
                record.couple(one, other)
    joined = concatenation([dims[axis] for dims in record.inputs])
    return [(*first[:axis], joined, *first[axis + 1 :])]


def couple_stack(record: Record) -> list[Dims]:
    """Adds a pinned axis; couples all others."""
    axis = record.params["axis"]
    first, *others = record.inputs
    for dims in others:
        for one, other in zip(first, dims, strict=True):
            record.couple(one, other)
    return [(*first[:axis], record.pinned(len(record.inputs)), *first[axis:])]


def couple_unstack(record: Record) -> list[Dims]:
    """Pins the axis that is taken apart."""
    (operand,) = record.inputs
    axis = record.params["axis"]
    record.pin(operand[axis])
    return [(*operand[:axis], *operand[axis + 1 :])] * len(record.output_shapes)


def couple_pad(record: Record) -> list[Dims]:
    """Joins each axis with free ones around it; pins it if padded inside or cut."""
    operand, (shape,) = record.inputs[0], record.output_shapes
    axes = []
    for d, size, config in zip(operand, shape, record.params["padding_config"], strict=True):
        low, high, interior = config
        # Padding is new entries that may go with nothing lost, one piece on each side;
        # between entries, or cutting some off, there is no such piece.
        if interior or low < 0 or high < 0:
            record.pin(d)
            parts = [Dim(0), record.pinned(size), Dim(0)]
        else:
            parts = [Dim(low), d, Dim(high)]
        record.aside.append(parts)
        axes.append(concatenation(parts))
    return [tuple(axes)]


def emit_pad(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits as much padding as is kept."""
    config = []
    for (before, _, after), written in zip(
        record.aside, record.params["padding_config"], strict=True
    ):
        low, high, interior = written
        exact = interior or low < 0 or high < 0
        config.append(written if exact else (*emitter.sizes((before, after)), interior))
    return bind(record, values, padding_config=tuple(config))


RULES = {
    "broadcast_in_dim": Rule(couple_broadcast, emit_broadcast),
    "concatenate": Rule(couple_concatenate),
    "pad": Rule(couple_pad, emit_pad),
    "reshape": Rule(couple_reshape, emit_reshape),
    "rev": Rule(couple_reverse),
    "slice": Rule(couple_slice, emit_slice),
    "split": Rule(couple_split, emit_split),
    "squeeze": Rule(couple_squeeze),
    "stack": Rule(couple_stack),
    "tile": Rule(couple_tile, emit_tile),
    "transpose": Rule(couple_transpose),
    "unstack": Rule(couple_unstack),
}
