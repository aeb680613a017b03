"""Ways through the records of a program: at any depth, and where each runs once."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.sites import source_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record


class Nested(NamedTuple):
    """A body somewhere in a program.

    Attributes:
      body: its records.
      around: the calls, loops and branches that it lies in, outermost first.
    """

    body: Body
    around: tuple[Record, ...]


def everywhere(body: Body, around: tuple[Record, ...] = ()) -> Iterator[Nested]:
    """The body and, at any depth, those of its calls, loops, branches, derivatives."""
    yield Nested(body, around)
    for record in body.records:
        for inner in record.bodies:
            yield from everywhere(inner, (*around, record))


def straight(body: Body) -> Iterator[tuple[Body, Record]]:
    """The records that run exactly once, in program order, each with its body.

    Records of plain calls take the place of the call; loops and branches stay closed.
    """
    for record in body.records:
        if record.eqn.primitive.name in PLAIN_CALLS:
            yield from straight(record.bodies[0])
        else:
            yield body, record


def plain_calls(body: Body) -> Iterator[Record]:
    """The plain calls outside of loops and branches, those in other calls included."""
    for record in body.records:
        if record.eqn.primitive.name in PLAIN_CALLS:
            yield record
            yield from plain_calls(record.bodies[0])


def plain_records(body: Body) -> Iterator[Record]:
    """Equations that run no program of their own, in program order; no derivatives."""
    for record in body.records:
        if record.bodies:
            # The second body of these is the gradient that the function defines itself.
            own_gradient = record.eqn.primitive.name in ("custom_jvp_call", "custom_vjp_call")
            for inner in record.bodies[:1] if own_gradient else record.bodies:
                yield from plain_records(inner)
        else:
            yield record


def opened(body: Body, chosen: Callable[[Record], bool]) -> set[Record]:
    """The chosen records at any depth, and the calls and loops that they lie in."""
    return {
        record
        for nested in everywhere(body)
        for inner in nested.body.records
        if chosen(inner)
        for record in (*nested.around, inner)
    }


def equation_of(record: Record) -> str:
    """The primitive and its source, which JAX's own helpers have from their caller."""
    source, place = source_of(record.eqn), record.caller
    while not source and place is not None:
        source, place = source_of(place.eqn), place.caller
    return f"{record.eqn.primitive.name} ({source})"
