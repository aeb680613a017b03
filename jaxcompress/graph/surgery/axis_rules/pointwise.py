"""Primitives that work entry by entry, and those that hand their operands on."""

from jaxcompress.graph.surgery.axis_rules.rule import Dims, Record, Rule
from jaxcompress.graph.surgery.dims import Dim


def couple_pointwise(record: Record) -> list[Dims]:
    """Couples axis i of all operands, but where size one is broadcast."""
    shapes = record.output_shapes
    full = [dims for dims in record.inputs if len(dims) == len(shapes[0])]
    axes = tuple(_meeting(record, full, axis, size) for axis, size in enumerate(shapes[0]))
    return [axes] * len(shapes)


def _meeting(record: Record, operands: list[Dims], axis: int, size: int) -> Dim:
    # An equation may broadcast an axis of size one against n: it is no axis of size n.
    first, *others = [dims[axis] for dims in operands if dims[axis].size == size] or [Dim(size)]
    for other in others:
        record.couple(first, other)
    return first


def couple_through(record: Record) -> list[Dims]:
    """Passes every operand on as a result."""
    return list(record.inputs)


def couple_bitcast(record: Record) -> list[Dims]:
    """Passes axes between dtypes of equal width; pins them where entries are split."""
    (operand,), (shape,) = record.inputs, record.output_shapes
    if len(operand) == len(shape):
        return [operand]
    record.pin(*operand)
    return [tuple(record.pinned(size) for size in shape)]


POINTWISE_RULE = Rule(couple_pointwise)

RULES = {
    "bitcast_convert_type": Rule(couple_bitcast),
    "device_put": Rule(couple_through),
    "optimization_barrier": Rule(couple_through),
}
