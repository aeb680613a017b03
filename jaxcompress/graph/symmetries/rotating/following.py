"""Follows one dim through a program, equation by equation, into calls and loops."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import Literal

from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.primitives import CALLS
from jaxcompress.graph.surgery.axis_rules.rule import Body, Dims, Record
from jaxcompress.graph.surgery.dims import Dim
from jaxcompress.graph.surgery.walk import Coupled
from jaxcompress.graph.symmetries.rotating.lying import Lying
from jaxcompress.graph.symmetries.rotating.moving import SHAPE_LAWS
from jaxcompress.graph.symmetries.rotating.passing import (
    POINTWISE_LAWS,
    Equation,
    Fact,
    Law,
    unknown,
)
from jaxcompress.graph.symmetries.rotating.states import (
    FIXED,
    NO_VIEW,
    ROTATED,
    UNIFORM,
    ZERO,
    BlockedError,
    Kind,
    State,
    View,
)
from jaxcompress.graph.symmetries.rotating.trial import Trial

LAWS: dict[str, Law] = POINTWISE_LAWS | SHAPE_LAWS


def follow(coupled: Coupled, trial: Trial, lying: Lying) -> None:
    """Follows the dim of a trial from the leaves to the outputs.

    Raises:
      BlockedError: no rotation of the dim leaves the outputs as they are.
    """
    walk = _Follower(trial, lying)
    facts = [walk.of_leaf(name, dims) for name, dims in coupled.leaves.items()]
    given = coupled.body.operands[len(facts) :]
    facts += [Fact(tuple(FIXED if walk.lies(d) else None for d in dims)) for dims in given]
    for fact in walk.body(coupled.body, facts):
        if any(state is not None and state.moves for state in fact.states):
            raise BlockedError("the output has the dim")
    trial.settle()


class _Follower:
    """The forward pass."""

    def __init__(self, trial: Trial, lying: Lying):
        self.trial, self.lying = trial, lying
        # One function for all equations, which compare it with nothing.
        self.lies = functools.partial(_lies, lying, trial.atom)

    def of_leaf(self, name: str, dims: Dims) -> Fact:
        real = jnp.issubdtype(self.trial.leaves[name].dtype, jnp.floating)

        def along(axis: int) -> State:
            if name in self.trial.equal:
                return UNIFORM
            if not real:
                return FIXED
            return ROTATED._replace(view=View(name, axis), leaves=frozenset((name,)))

        states = tuple(along(axis) if self.lies(d) else None for axis, d in enumerate(dims))
        return Fact(states, leaf=name, axes=tuple(range(len(dims))))

    def body(self, body: Body, operands: Sequence[Fact]) -> list[Fact]:
        """Facts of the results of one occurrence of a program."""
        jaxpr = body.jaxpr.jaxpr
        consts = [
            self.of_constant(*each) for each in zip(body.jaxpr.consts, body.consts, strict=True)
        ]
        known: dict[Any, Any] = dict(
            zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *operands), strict=True)
        )

        def read(atom) -> Fact:
            if isinstance(atom, Literal):
                return Fact((None,) * np.ndim(atom.val), not np.any(atom.val))
            return known[atom]

        for eqn, record in zip(jaxpr.eqns, body.records, strict=True):
            results = self.through(record, [read(atom) for atom in eqn.invars])
            known.update(zip(eqn.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def of_constant(self, value, dims: Dims) -> Fact:
        kind = FIXED
        if jnp.issubdtype(value.dtype, jnp.number) and not isinstance(value, Tracer):
            first = np.ravel(value)[:1]
            if np.size(first) and (np.asarray(value) == first).all():
                kind = UNIFORM if first[0] else ZERO
        return Fact(tuple(kind if self.lies(d) else None for d in dims), kind is ZERO)

    def through(self, record: Record, facts: list[Fact]) -> list[Fact]:
        """Facts of the results of one occurrence of an equation."""
        if record.bodies:
            return self.inside(record, facts)
        at = Equation(record, facts, self.trial, self.lies)
        lies = any(at.states) or any(self.lies(d) for dims in record.outputs for d in dims)
        if not lies and not any(fact.zero for fact in facts):
            return [Fact((None,) * len(dims)) for dims in record.outputs]
        return LAWS.get(record.eqn.primitive.name, unknown)(at)

    def inside(self, record: Record, facts: list[Fact]) -> list[Fact]:
        match record.eqn.primitive.name:
            case "scan":
                return self.scan(record, facts)
            case "while":
                return self.loop(record, facts)
            case "cond":
                return self.branches(record, facts)
            case name if name not in CALLS:
                return unknown(Equation(record, facts, self.trial, self.lies))
        # The second body of a function with a gradient of its own is that gradient.
        return self.body(record.bodies[0], facts)

    def scan(self, record: Record, facts: list[Fact]) -> list[Fact]:
        fixed, carried = scan_loop(record.eqn)
        slices = [self.slice(record, fact) for fact in facts[fixed + carried :]]

        def turn(carry: list[Fact]) -> list[Fact]:
            results = self.body(record.bodies[0], [*facts[:fixed], *carry, *slices])
            return [self.leaving(record, fact) for fact in results]

        results = self.settled(record, turn, facts[fixed : fixed + carried])
        stacks = [Fact((None, *fact.states), fact.zero) for fact in results[carried:]]
        return [*results[:carried], *stacks]

    def leaving(self, record: Record, fact: Fact) -> Fact:
        """A result of a turn of a scan: another turn has other slices of the leaves."""

        def left(state: State | None) -> State | None:
            if state is None:
                return state
            if not any(id(record) in view.scans for view in (state.view, *state.makers)):
                return state
            if state.kind is Kind.GAINED:
                self.trial.block(record, (state,), " carries a value to other layers")
            return self.trial.take(record, state)

        return fact._replace(states=tuple(map(left, fact.states)))

    def slice(self, record: Record, fact: Fact) -> Fact:
        """What a turn of a scan takes from a stack; a slice of a leaf stays known."""
        if not fact.leaf:
            states = [self.trial.take(record, state) for state in fact.states]
            return Fact(tuple(states[1:]), fact.zero)
        stacked, *axes = fact.axes
        states = tuple(_sliced(record, stacked, state) for state in fact.states[1:])
        return fact._replace(states=states, axes=tuple(axes))

    def loop(self, record: Record, facts: list[Fact]) -> list[Fact]:
        test, step = record.bodies
        begin = record.params["cond_nconsts"]
        carry = begin + record.params["body_nconsts"]
        results = self.settled(
            record, lambda state: self.body(step, [*facts[begin:carry], *state]), facts[carry:]
        )
        self.body(test, [*facts[:begin], *results])
        return results

    def branches(self, record: Record, facts: list[Fact]) -> list[Fact]:
        results = [self.body(branch, facts[1:]) for branch in record.bodies]
        return [self.joined(record, each) for each in zip(*results, strict=True)]

    def settled(self, record: Record, turn, carry: list[Fact]) -> list[Fact]:
        """A loop's results, with its carry as it is in all turns."""
        saved = self.trial.saved()
        while True:
            results = turn(carry)
            joined = [self.joined(record, pair) for pair in zip(carry, results, strict=False)]
            if joined == carry:
                return joined + results[len(carry) :]
            # What an earlier turn needed counts only if the last one needs it, too.
            self.trial.restore(saved)
            saved = self.trial.saved()
            carry = joined

    def joined(self, record: Record, facts: Sequence[Fact]) -> Fact:
        """Of a value that may be any of several."""
        states = [
            self.trial.sum(record, [ZERO if f.zero else f.states[axis] or FIXED for f in facts])
            if any(fact.states[axis] for fact in facts)
            else None
            for axis in range(len(facts[0].states))
        ]
        zero = all(fact.zero for fact in facts)
        same = len({(fact.leaf, fact.axes) for fact in facts}) == 1
        leaf, axes = (facts[0].leaf, facts[0].axes) if same else ("", ())
        return Fact(tuple(states), zero, leaf, axes)


def _lies(lying: Lying, atom: Dim, d: Dim) -> bool:
    return atom in lying.atoms(d)


def _sliced(record: Record, axis: int, state: State | None) -> State | None:
    if state is None or state.kind is not Kind.ROTATED or state.view == NO_VIEW:
        return state
    view = state.view
    scans, stacked = (*view.scans, id(record)), (*view.stacked, axis)
    return state._replace(view=view._replace(scans=scans, stacked=stacked))
