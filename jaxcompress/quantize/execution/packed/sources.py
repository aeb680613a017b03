"""Which site the data of another are made of, entry by entry.

Followed through the equations of a flat program. What is not known to keep entries
apart ends the way: those data stay floats, and the report says what they met.
"""

import dataclasses
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn, Literal, Var

from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.primitives import POINTWISE
from jaxcompress.graph.program import Program

MOVES = frozenset(("copy", "expand_dims", "reshape", "rev", "slice", "squeeze", "transpose"))
"""What moves entries about, whatever they are."""

POOLS = frozenset(("reduce_window_max",))
"""What takes the largest of some entries, which no rising function changes."""


class Fixed(NamedTuple):
    """A value of parameters and constants alone, which may vary along some axes."""

    varies: frozenset[int]


@dataclasses.dataclass(frozen=True)
class Made:
    """A value each of whose entries is made of one entry of a site's output.

    Attributes:
      site: name of the site.
      before: moves and pools of its output, up to `begin`.
      begin: the value that arithmetic begins with; the output itself where none has.
      end: the value that arithmetic ends with.
      varies: the axes of it along which the arithmetic varies.
      after: moves and pools from `end` on.
    """

    site: str
    begin: Var
    end: Var
    before: tuple[JaxprEqn, ...] = ()
    varies: frozenset[int] = frozenset()
    after: tuple[JaxprEqn, ...] = ()

    @property
    def computed(self) -> bool:
        """Whether there is any arithmetic."""
        return self.begin is not self.end


class Other(NamedTuple):
    """A value that is made of anything else, and what that is."""

    reason: str


Origin = Fixed | Made | Other


def origins(program: Program, sites: Container[str], inputs: int) -> dict[str, Origin]:
    """What the data of each site at the top of a flat program are made of, by its name.

    Args:
      program: without calls.
      sites: names of the sites whose outputs are followed.
      inputs: how many operands of the program are data, its last ones.
    """
    jaxpr = program.block.jaxpr
    parameters = len(jaxpr.invars) - inputs
    known: dict[Var, Origin] = dict.fromkeys(jaxpr.invars[parameters:], Other("the inputs"))
    known |= {var: _fixed(var) for var in (*jaxpr.constvars, *jaxpr.invars[:parameters])}
    found: dict[str, Origin] = {}
    for step in program.block.steps:
        eqn = step.eqn
        facts = [
            Fixed(frozenset()) if isinstance(atom, Literal) else known[atom] for atom in eqn.invars
        ]
        results = [_through(eqn, facts, out) for out in eqn.outvars]
        for site in () if step.blocks else step.sites.values():
            found[site.name] = facts[1 - site.position]
            if site.name in sites:
                results = [Made(site.name, out, out) for out in eqn.outvars]
        known.update(zip(eqn.outvars, results, strict=True))
    return found


def _fixed(atom) -> Fixed:
    return Fixed(frozenset(i for i, size in enumerate(aval_of(atom).shape) if size > 1))


def _through(eqn: JaxprEqn, facts: Sequence[Origin], out: Var) -> Origin:
    """What a result of an equation is made of."""
    name = eqn.primitive.name
    if all(isinstance(fact, Fixed) for fact in facts):
        return _of_parameters(eqn, facts, out)
    if others := [fact for fact in facts if isinstance(fact, Other)]:
        return others[0]
    made = [
        (atom, fact) for atom, fact in zip(eqn.invars, facts, strict=True) if isinstance(fact, Made)
    ]
    if len({fact.site for _, fact in made}) > 1:
        return Other("the outputs of " + " and ".join(sorted({fact.site for _, fact in made})))
    if name in MOVES | POOLS and len(eqn.invars) == 1:
        (fact,) = (fact for _, fact in made)
        if fact.computed:
            return dataclasses.replace(fact, after=(*fact.after, eqn))
        return dataclasses.replace(fact, before=(*fact.before, eqn), begin=out, end=out)
    if name in POINTWISE:
        return _computed(eqn, made, facts, out)
    return Other(f"a {name} of the output of {made[0][1].site}")


def _computed(eqn: JaxprEqn, made, facts: Sequence[Origin], out: Var) -> Origin:
    """The result of arithmetic, entry by entry, on outputs of one site."""
    first = made[0][1]
    begins = {fact.begin for _, fact in made}
    if len(begins) > 1 or any(fact.after for _, fact in made):
        return Other(f"entries of the output of {first.site} that were moved")
    shape = aval_of(out).shape
    varies = frozenset[int]().union(*(fact.varies for fact in facts if not isinstance(fact, Other)))
    if any(aval_of(atom).shape != shape for atom, _ in made):
        return Other(f"a {eqn.primitive.name} of the output of {first.site}")
    return dataclasses.replace(first, end=out, varies=varies)


def _of_parameters(eqn: JaxprEqn, facts: Sequence[Origin], out: Var) -> Fixed:
    varied = [fact.varies for fact in facts if isinstance(fact, Fixed)]
    if eqn.primitive.name == "broadcast_in_dim":
        places = eqn.params["broadcast_dimensions"]
        return Fixed(frozenset(places[axis] for axis in varied[0]))
    if eqn.primitive.name in POINTWISE and varied:
        return Fixed(frozenset[int]().union(*varied))
    return _fixed(out)


def arithmetic(program: Program, made: Made) -> tuple[list[JaxprEqn], list[Var]]:
    """The equations from where arithmetic begins to where it ends, and what they read.

    Returns:
      (equations in order, operands of the program or constants that they read).
    """
    needed, chosen = {made.end}, []
    for step in reversed(program.block.steps):
        eqn = step.eqn
        if needed.isdisjoint(eqn.outvars) or made.begin in eqn.outvars:
            continue
        chosen.append(eqn)
        needed |= {atom for atom in eqn.invars if not isinstance(atom, Literal)}
    jaxpr = program.block.jaxpr
    read = [var for var in (*jaxpr.constvars, *jaxpr.invars) if var in needed]
    return chosen[::-1], read


def moved(array: Any, equations: Sequence[JaxprEqn]):
    """An array moved and pooled as equations of one operand say."""
    for eqn in equations:
        array = eqn.primitive.bind(array, **eqn.params)
    return array
