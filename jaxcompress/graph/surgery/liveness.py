"""Which equations and leaves a program's results need.

One pass backwards. Calls are entered; a loop or branch that is needed is needed whole.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record
from jaxcompress.graph.surgery.walk import Coupled


class Needs(NamedTuple):
    """What the results of a program need.

    Attributes:
      leaves: names of the leaves that something reads.
      idle: the equations, also those in calls, that nothing needs.
    """

    leaves: frozenset[str]
    idle: tuple[Record, ...]


def needs(coupled: Coupled, bypassed: Mapping[Record, int]) -> Needs:
    """What is needed where some equations hand on one operand and read no other.

    Args:
      coupled: the program.
      bypassed: by equation, the operand that it hands on.
    """
    idle: list[Record] = []

    def operands(body: Body, results: Sequence[bool]) -> list[bool]:
        """Which operands of a body are needed for the results that are."""
        inner = body.jaxpr.jaxpr
        needed = {id(atom) for atom, live in zip(inner.outvars, results, strict=True) if live}
        for record in reversed(body.records):
            live = [id(result) in needed for result in record.eqn.outvars]
            if not any(live) and not record.eqn.effects:
                idle.append(record)
                continue
            reads = _reads(record, live, bypassed, operands)
            pairs = zip(record.eqn.invars, reads, strict=True)
            needed |= {id(atom) for atom, read in pairs if read}
        return [id(operand) in needed for operand in inner.invars]

    live = operands(coupled.body, [True] * len(coupled.body.results))
    # The leaves of the params are the first operands.
    names = zip(coupled.leaves, live, strict=False)
    return Needs(frozenset(name for name, needed in names if needed), tuple(idle))


def _reads(
    record: Record,
    live: Sequence[bool],
    bypassed: Mapping[Record, int],
    operands: Callable[[Body, Sequence[bool]], list[bool]],
) -> list[bool]:
    """Which operands an equation reads for those of its results that are needed."""
    if record in bypassed:
        return [operand == bypassed[record] for operand in range(len(record.eqn.invars))]
    if record.eqn.primitive.name in PLAIN_CALLS:
        return operands(record.bodies[0], live)
    return [True] * len(record.eqn.invars)
