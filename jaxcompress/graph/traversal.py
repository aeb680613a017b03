"""Ways through a program: one pass with facts, and every inner program.

What is followed is the caller's matter: values, axes, origins of weights.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxcompress.graph.jaxprs import inner_jaxprs

Fact = TypeVar("Fact")


def forward(
    jaxpr: Jaxpr,
    consts: Sequence[Fact],
    operands: Sequence[Fact],
    through: Callable[[int, list[Fact]], Sequence[Fact]],
    of_literal: Callable[[Literal], Fact],
) -> list[Fact]:
    """Facts of a program's results from facts of its operands, in one pass.

    Args:
      jaxpr: the program.
      consts, operands: one fact per constant and operand.
      through: (number of the equation, facts of its operands) to facts of its results.
      of_literal: the fact of a number that is written in the program.

    Returns:
      One fact per result.

    Example:
      >>> jaxpr = jax.make_jaxpr(lambda x, y: (x + 1, x * y))(1.0, 2.0).jaxpr
      >>> names = lambda index, facts: ["".join(facts)]
      >>> forward(jaxpr, [], ["x", "y"], names, lambda literal: "")
      ['x', 'xy']
    """
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *operands), strict=True))

    def read(atom) -> Fact:
        return of_literal(atom) if isinstance(atom, Literal) else known[atom]

    for index, eqn in enumerate(jaxpr.eqns):
        results = through(index, [read(atom) for atom in eqn.invars])
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def programs(jaxpr: ClosedJaxpr) -> Iterator[ClosedJaxpr]:
    """The program, and those of its calls, loops and branches at any depth."""
    yield jaxpr
    for eqn in jaxpr.jaxpr.eqns:
        for inner in inner_jaxprs(eqn):
            yield from programs(inner)
