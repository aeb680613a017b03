"""Arrays made from nothing: positions, random bits; and what stays as it is."""

from typing import Any

from jaxcompress.graph.surgery.axis_rules.rule import Dims, Emitter, Record, Rule, bind, fresh


def couple_created(record: Record) -> list[Dims]:
    """Gives free axes; pins those of what the array is made from."""
    for dims in record.inputs:
        record.pin(*dims)
    return [fresh(shape) for shape in record.output_shapes]


def emit_created(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits the array at full size and takes the kept entries of it."""
    # Made at the size that is left, position 5 might become 3, and a mask be another.
    return [
        emitter.take(result, dims)
        for result, dims in zip(bind(record, values), record.outputs, strict=True)
    ]


def couple_nothing(record: Record) -> list[Dims]:
    """Pins every axis: for what has no rule, or none on purpose."""
    for dims in record.inputs:
        record.pin(*dims)
    return [tuple(record.pinned(size) for size in shape) for shape in record.output_shapes]


PINNED = Rule(couple_nothing)

RULES = {
    "empty": Rule(couple_created, emit_created),
    "empty2": Rule(couple_created, emit_created),
    "iota": Rule(couple_created, emit_created),
    "random_bits": Rule(couple_created, emit_created),
    "rng_uniform": Rule(couple_created, emit_created),
}
