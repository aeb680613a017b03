"""Divisors of means over removed units: the width before, or the new width.

A norm divides sums by its width, which the traced program holds as a number. What a
removal makes of that number is a choice of what the smaller model is to be.
"""

import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Literal

from jaxcompress.graph.surgery.axis_rules.rule import Body, Record
from jaxcompress.graph.surgery.bodies import everywhere
from jaxcompress.graph.surgery.dims import Dim
from jaxcompress.graph.surgery.kept import RemovedIndices, keep
from jaxcompress.graph.surgery.writer import NO_EDITS, Edit, Writer


class Divisors(enum.StrEnum):
    """What means over removed units divide by.

    Attributes:
      KEPT: the width before, as where removed units stay in their place and are 0. The
        smaller program then equals the model that skips them.
      NEW: the width after, as a framework's own layer of that width does. Norms then
        see the statistics of what is left, and a smaller module computes the same.
    """

    KEPT = "kept"
    NEW = "new"


class Divisor(NamedTuple):
    """Where an equation reads the width that a mean divides by.

    Attributes:
      operand: its position among the equation's operands.
      value: the new width, in the literal's dtype.
    """

    operand: int
    value: np.ndarray


def divisor_edits(divisors: Divisors, body: Body, removed: RemovedIndices) -> Mapping[Record, Edit]:
    """What equations do differently where means over removed units divide anew.

    A mean is the quotient of a sum, moved and cast at most, by the number of its terms:
    a literal, or a literal less a correction, as in `jnp.var`.

    Raises:
      ValueError: a mean lies in a function with a gradient of its own, which holds the
        width a second time.
    """
    if divisors is Divisors.KEPT:
        return NO_EDITS
    found = list(_means(body, removed))
    for within, _, _ in found:
        if within:
            raise ValueError(
                f"Divisors.NEW: a mean over removed units lies in a {within}, whose own gradient "
                "holds its divisor too. Take Divisors.KEPT, or remove other units."
            )
    return {reader: partial(_with_width, divisor) for _, reader, divisor in found}


def _with_width(
    divisor: Divisor, writer: Writer, record: Record, values: list[Any]
) -> Sequence[Any]:
    """An edit: the equation reads the new width."""
    values = list(values)
    values[divisor.operand] = divisor.value
    return writer.unedited(record, values)


def means_over(body: Body, removed: RemovedIndices) -> bool:
    """Whether a mean runs over removed units whose divisor could be new."""
    found = [within for within, _, _ in _means(body, removed)]
    return bool(found) and not any(found)


def _means(body: Body, removed: RemovedIndices) -> Iterator[tuple[str, Record, Divisor]]:
    """Function with its own gradient that the mean lies in, reader, and divisor."""
    for nested in everywhere(body):
        names = [record.eqn.primitive.name for record in nested.around]
        own_gradient = next((name for name in names[::-1] if name.startswith("custom_")), "")
        records = nested.body.records
        made = {id(result): record for record in records for result in record.eqn.outvars}
        for record in records:
            found = _divisor(record, made, removed)
            if found is not None:
                yield own_gradient, *found


_MOVED = frozenset(
    ("broadcast_in_dim", "convert_element_type", "reshape", "squeeze", "expand_dims")
)
"""Primitives behind which a sum is still that sum, and a number that number."""


def _divisor(
    record: Record, made: Mapping[int, Record], removed: RemovedIndices
) -> tuple[Record, Divisor] | None:
    """Where the divisor of a mean over removed units is read, and the new one."""
    if record.eqn.primitive.name != "div":
        return None
    summed = _origin(record.eqn.invars[0], made)
    if summed is None or summed.eqn.primitive.name != "reduce_sum":
        return None
    axes = [summed.inputs[0][axis] for axis in summed.params["axes"]]
    before = math.prod(d.size for d in axes)
    after = math.prod(_left(d, removed) for d in axes)
    written = _literal(record, 1, made)
    if written is None or before == after:
        return None
    reader, operand, width = written
    if width != np.asarray(before, width.dtype):
        return None
    return reader, Divisor(operand, np.asarray(after, width.dtype))


def _origin(atom, made: Mapping[int, Record]) -> Record | None:
    """The equation that a moved or cast value comes from."""
    record = made.get(id(atom))
    while record is not None and record.eqn.primitive.name in _MOVED:
        record = made.get(id(record.eqn.invars[0]))
    return record


def _literal(
    record: Record, operand: int, made: Mapping[int, Record]
) -> tuple[Record, int, np.ndarray] | None:
    """The equation and operand at which a number is written, and the number."""
    atom = record.eqn.invars[operand]
    if isinstance(atom, Literal):
        return record, operand, np.asarray(atom.val)
    inner = made.get(id(atom))
    if inner is None or inner.eqn.primitive.name not in (*_MOVED, "sub"):
        return None
    return _literal(inner, 0, made)


def _left(d: Dim, removed: RemovedIndices) -> int:
    """The size of an axis after the removal, the same in each layer."""
    kept = keep(d, removed)
    return int(np.count_nonzero(kept if kept.ndim == 1 else kept[0]))
