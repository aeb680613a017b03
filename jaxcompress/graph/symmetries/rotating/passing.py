"""What equations do to values of which a dim is rotated, primitive by primitive.

What has no law here passes values that stay the same, and ends the trial of a dim of
which one moves.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.primitives import ENTRY_KEEPING, POINTWISE
from jaxcompress.graph.surgery.axis_rules.rule import Dims, Record
from jaxcompress.graph.surgery.dims import Dim
from jaxcompress.graph.symmetries.rotating.states import (
    FIXED,
    NO_VIEW,
    UNIFORM,
    ZERO,
    Kind,
    State,
)
from jaxcompress.graph.symmetries.rotating.trial import Trial


class Fact(NamedTuple):
    """What becomes of one value.

    Attributes:
      states: per axis, None where the dim does not lie along it.
      zero: whether the value is 0 throughout.
      leaf: name of the leaf that the value is, or a slice of by scans, in any order.
      axes: then the leaf's axes that the value's are.
    """

    states: tuple[State | None, ...]
    zero: bool = False
    leaf: str = ""
    axes: tuple[int, ...] = ()


class Equation(NamedTuple):
    """One occurrence of an equation on its way.

    Attributes:
      record: the occurrence.
      facts: of its operands.
      trial: what is tried.
      lies: whether the dim lies along an axis.
    """

    record: Record
    facts: Sequence[Fact]
    trial: Trial
    lies: Callable[[Dim], bool]

    @property
    def params(self) -> dict[str, Any]:
        return self.record.params

    @property
    def states(self) -> list[State | None]:
        """The states of all axes of all operands."""
        return [state for fact in self.facts for state in fact.states]

    def sizes(self, operand: int) -> tuple[int, ...]:
        return aval_of(self.record.eqn.invars[operand]).shape

    def taken(self, states: Sequence[State | None]) -> list[State | None]:
        """The states of values that are no longer the leaves' own."""
        return [self.trial.take(self.record, state) for state in states]

    def made(self, states: Sequence[State | None]) -> list[State | None]:
        """The states of values that are linear in the leaves."""
        return [
            self.trial.make(state)
            if state and state.view != NO_VIEW
            else self.trial.take(self.record, state)
            for state in states
        ]

    def along(self, dims: Dims, states: Sequence[State | None]) -> tuple[State | None, ...]:
        """The states of the axes along which the dim lies; new entries stay."""
        pairs = zip(dims, states, strict=True)
        return tuple((state or FIXED) if self.lies(d) else None for d, state in pairs)


Law = Callable[[Equation], list[Fact]]


def unknown(at: Equation) -> list[Fact]:
    """Blocks what moves; the results of what stays the same stay the same."""
    at.trial.block(at.record, at.states)
    return [Fact(tuple(FIXED if at.lies(d) else None for d in dims)) for dims in at.record.outputs]


def meetings(at: Equation) -> Iterator[list[State] | None]:
    """Per axis of the result the states of all operands; None where the dim is not."""
    shape = at.record.output_shapes[0]
    for axis, (size, d) in enumerate(zip(shape, at.record.outputs[0], strict=True)):
        yield [_meeting(at, i, axis, size) for i in range(len(at.facts))] if at.lies(d) else None


def _meeting(at: Equation, operand: int, axis: int, size: int) -> State:
    fact = at.facts[operand]
    if fact.zero:
        return ZERO
    shape = at.sizes(operand)
    # A scalar, or an axis of size one, has the same entry for each index.
    if axis >= len(shape) or (shape[axis] == 1 and size != 1):
        return UNIFORM
    return fact.states[axis] or FIXED


def pointwise(at: Equation) -> list[Fact]:
    """Blocks what moves; entries that are equal stay equal."""
    at.trial.block(at.record, at.states)
    equal = (Kind.UNIFORM, Kind.ZERO)
    states = tuple(
        None if each is None else UNIFORM if all(s.kind in equal for s in each) else FIXED
        for each in meetings(at)
    )
    return [Fact(states)] * len(at.record.outputs)


def kept(at: Equation) -> list[Fact]:
    """A value of another dtype, or of the other sign, changes as before."""
    (fact,) = at.facts
    dtype = aval_of(at.record.eqn.outvars[0]).dtype
    if not np.issubdtype(dtype, np.inexact) and not str(dtype).startswith(("bfloat", "float")):
        return pointwise(at)
    return [fact]


def added(at: Equation) -> list[Fact]:
    """Sums of values."""
    states = tuple(None if each is None else at.trial.sum(at.record, each) for each in meetings(at))
    return [Fact(states, all(fact.zero for fact in at.facts))]


def multiplied(at: Equation) -> list[Fact]:
    """Products of two values."""
    states = tuple(
        None if each is None else at.trial.product(at.record, *each) for each in meetings(at)
    )
    return [Fact(states, any(fact.zero for fact in at.facts))]


def divided(at: Equation) -> list[Fact]:
    """Quotients: by what does not move and is the same along the axis."""
    at.trial.block(at.record, at.facts[1].states, " as a divisor")
    return multiplied(at)


def squared(at: Equation) -> list[Fact]:
    """Squares; of other powers nothing is known."""
    if at.params.get("y", 2) != 2:
        return pointwise(at)
    (fact,) = at.facts
    states = tuple(state and at.trial.product(at.record, state, state) for state in fact.states)
    return [Fact(states, fact.zero)]


def selected(at: Equation) -> list[Fact]:
    """One of several values, by a predicate that is the same along the axis."""
    found = []
    for each in meetings(at):
        if each is None:
            found.append(None)
            continue
        predicate, *cases = each
        if predicate.kind not in (Kind.UNIFORM, Kind.ZERO):
            at.trial.block(at.record, (predicate, *cases), " by a predicate along the axis")
            found.append(FIXED)
        else:
            found.append(at.trial.sum(at.record, cases))
    return [Fact(tuple(found), all(fact.zero for fact in at.facts[1:]))]


POINTWISE_LAWS: dict[str, Law] = (
    dict.fromkeys(POINTWISE, pointwise)
    | dict.fromkeys(ENTRY_KEEPING, kept)
    | dict.fromkeys(("add", "add_any", "sub"), added)
    | {
        "mul": multiplied,
        "div": divided,
        "square": squared,
        "integer_pow": squared,
        "select_n": selected,
    }
)
