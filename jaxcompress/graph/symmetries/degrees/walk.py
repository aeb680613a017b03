"""The walk that follows degrees through a program, into calls, loops and branches."""

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn, Literal

from jaxcompress.core.axes import LeafAxes
from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.layouts import Lookup
from jaxcompress.graph.origins import Leaf
from jaxcompress.graph.program import Program
from jaxcompress.graph.sites import source_of
from jaxcompress.graph.steps import Block, Step
from jaxcompress.graph.symmetries.degrees.degree import FREE, Added, Degree, System, Term, mapped
from jaxcompress.graph.symmetries.degrees.table import rule_of
from jaxcompress.graph.traversal import forward

MOST_APART = 2**18
"""Entries of a leaf without a site that may each have a factor; above, one per axis."""


class Unknowns(NamedTuple):
    """The unknown factors of a leaf along some of its axes.

    Attributes:
      leaf: its name.
      contracting: whether they lie along what its first dot or convolution sums over.
      factors: their numbers, of the leaf's rank; size one along other axes.
    """

    leaf: str
    contracting: bool
    factors: np.ndarray


class Followed(NamedTuple):
    """What the walk found.

    Attributes:
      system: the equations.
      unknowns: the factors of every leaf.
      data: by site name, the degree of the data that meet the weight there.
    """

    system: System
    unknowns: tuple[Unknowns, ...]
    data: dict[str, Degree]

    @property
    def added(self) -> tuple[Added, ...]:
        """The leaves that are added to results of dots, in program order."""
        return tuple(self.system.added)


def follow_degrees(program: Program) -> Followed:
    """Gives every leaf unknown factors and follows them to the outputs, which stay."""
    system = System()
    roles = _roles(program)
    unknowns = [
        each for leaf in program.leaves for each in _unknowns(leaf, roles.get(leaf.name), system)
    ]
    degrees = [_degree_of(leaf, unknowns) for leaf in program.leaves]
    inputs = len(program.block.jaxpr.invars) - len(degrees)
    degrees += [Degree(place="an input of the model")] * inputs
    walk = _Walk(system)
    results = walk.block(program.block, degrees)
    system.place = "an output of the model"
    system.fixed(*results)
    return Followed(system, tuple(unknowns), walk.data)


def _roles(program: Program) -> dict[str, LeafAxes]:
    """By leaf name the roles of its axes at its first dot, else at its first lookup."""
    found: dict[str, LeafAxes] = {}
    for site in sorted(program.sites, key=lambda site: isinstance(site.layout, Lookup)):
        for leaf in site.leaves:
            found.setdefault(leaf.name, site.axes)
    return found


def _unknowns(leaf: Leaf, roles: LeafAxes | None, system: System) -> list[Unknowns]:
    """A factor for each input and each output of a weight, for each entry of others."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return []
    everything = tuple(range(len(leaf.shape)))
    if roles is not None:
        along = [(roles.contracting, True), (roles.output, False)]
        groups = [
            ((*roles.batch, *axes), mine and not roles.looked_up) for axes, mine in along if axes
        ]
    elif np.prod(leaf.shape) <= MOST_APART:
        groups = [(everything, False)]
    else:
        groups = [((axis,), False) for axis in everything]
    found = []
    for axes, contracting in groups:
        shape = [size if axis in axes else 1 for axis, size in enumerate(leaf.shape)]
        if np.prod(shape) > 1:
            found.append(Unknowns(leaf.name, contracting, system.unknowns(shape)))
    return found


def _degree_of(leaf: Leaf, unknowns: Sequence[Unknowns]) -> Degree:
    own = tuple(Term(Fraction(1), each.factors) for each in unknowns if each.leaf == leaf.name)
    place = () if own else f"leaf {leaf.name!r}, which has no factors"
    return Degree(own, place=place, leaf=leaf.name)


def zeros(value: Any) -> bool:
    """Whether positive factors leave the numbers as they are."""
    value = np.asarray(value)
    return value.dtype.kind in "biufcV" and not np.any(np.isfinite(value) & (value != 0))


class _Walk:
    """The forward pass: `data` grows; `around` holds the calls around an equation."""

    def __init__(self, system: System):
        self.system = system
        self.data: dict[str, Degree] = {}
        self.around: list[JaxprEqn] = []

    def block(self, block: Block, operands: Sequence[Degree]) -> list[Degree]:
        """The degrees of the results of one occurrence of a jaxpr."""
        consts = [self.constant(const) for const in block.consts]

        def through(index: int, degrees: list[Degree]) -> list[Degree]:
            return self.step(block.steps[index], degrees)

        return forward(
            block.jaxpr, consts, list(operands), through, lambda literal: self.literal(literal)
        )

    def constant(self, const) -> Degree:
        known = jnp.issubdtype(const.dtype, jnp.number) and zeros(const)
        return FREE if known else Degree(place="a constant of the model")

    def literal(self, literal: Literal) -> Degree:
        return FREE if zeros(literal.val) else Degree()

    def step(self, step: Step, degrees: list[Degree]) -> list[Degree]:
        eqn = step.eqn
        self.system.place = (eqn, *reversed(self.around))
        if not step.blocks:
            for site in step.sites.values():
                if not site.of_parameters:
                    self.data[site.name] = degrees[1 - site.position]
            results = list(rule_of(eqn.primitive.name)(eqn, degrees, self.system))
            if step.sites and not results[0].free:
                (name, *_) = step.sites
                results[0] = dataclasses.replace(results[0], leaf="", site=name)
            return results
        self.around.append(eqn)
        results = self.inside(step, degrees)
        self.around.pop()
        return results

    def inside(self, step: Step, degrees: list[Degree]) -> list[Degree]:
        match step.eqn.primitive.name:
            case "scan":
                return self.scan(step, degrees)
            case "while":
                return self.loop(step, degrees)
            case "cond":
                branches = [self.block(block, degrees[1:]) for block in step.blocks]
                return [self.system.equal(each) for each in zip(*branches, strict=True)]
            case "shard_map":
                return [self.system.fixed(*degrees)] * len(step.eqn.outvars)
        return self.block(step.blocks[0], degrees)

    def scan(self, step: Step, degrees: list[Degree]) -> list[Degree]:
        fixed, carried = scan_loop(step.eqn)
        depth, length = self.system.depth, step.eqn.params["length"]
        # The axis that is stepped along becomes one in front, for the turns: each may
        # have factors of its own.
        once = [mapped(d, lambda f: np.expand_dims(f, depth)) for d in degrees[: fixed + carried]]
        once[fixed:] = map(unnamed, once[fixed:])
        slices = degrees[fixed + carried :]
        self.system.depth += 1
        carry, results = self.settled(
            once[fixed:], lambda carry: self.block(step.blocks[0], [*once[:fixed], *carry, *slices])
        )
        self.system.depth -= 1
        turns = range(length)[::-1] if step.eqn.params["reverse"] else range(length)
        ends = [
            mapped(self.chain(*each, turns, depth), lambda f: f.squeeze(depth))
            for each in zip(once[fixed:], carry, results, strict=False)
        ]
        return [*ends, *results[carried:]]

    def chain(self, before: Degree, during: Degree, after: Degree, turns, axis: int) -> Degree:
        """Says that a turn finds what the one before left; gives what the last left."""

        def at(degree: Degree, chosen: Sequence[int]) -> Degree:
            return mapped(degree, lambda factors: _at(factors, list(chosen), axis))

        system = self.system
        if not any(term.factors.shape[axis] > 1 for term in during.terms):
            return system.equal([before, during, after])
        system.equal([before, at(during, turns[:1])])
        system.equal([at(during, turns[1:]), at(after, turns[:-1])])
        return at(after, turns[-1:])

    def loop(self, step: Step, degrees: list[Degree]) -> list[Degree]:
        params, (test, body) = step.eqn.params, step.blocks
        begin = params["cond_nconsts"]
        start = begin + params["body_nconsts"]
        carry, results = self.settled(
            [*map(unnamed, degrees[start:])],
            lambda carry: self.block(body, [*degrees[begin:start], *carry]),
        )
        ends = [
            self.system.equal(each) for each in zip(degrees[start:], carry, results, strict=True)
        ]
        self.system.fixed(*self.block(test, [*degrees[:begin], *ends]))
        return ends

    def settled(
        self, before: list[Degree], body: Callable[[list[Degree]], list[Degree]]
    ) -> tuple[list[Degree], list[Degree]]:
        """A loop's carry, with factors along all axes of a turn's; its results."""
        system, carry = self.system, before
        while True:
            kept = len(system.equations)
            results = body(carry)
            wider = [self.widened(*pair) for pair in zip(carry, results, strict=False)]
            if all(now is then for now, then in zip(wider, carry, strict=True)):
                return carry, results
            del system.equations[kept:]
            carry = wider

    def widened(self, during: Degree, after: Degree) -> Degree:
        """What is carried; new unknowns if a turn brings factors along other axes."""
        shape = _shape_of([during, after])
        if after.free or (not during.free and shape == _shape_of([during])):
            return during
        return Degree(place=after.place) if shape is None else self.unknown(shape)

    def unknown(self, shape: tuple[int, ...]) -> Degree:
        return Degree((Term(Fraction(1), self.system.unknowns(shape)),))


def unnamed(degree: Degree) -> Degree:
    """The degree of a value that is no leaf any more once a loop has turned."""
    return dataclasses.replace(degree, leaf="", site="") if degree.leaf or degree.site else degree


def _shape_of(degrees: Sequence[Degree]) -> tuple[int, ...] | None:
    """The shape of all factors together; None without any."""
    shapes = [term.factors.shape for degree in degrees for term in degree.terms]
    return np.broadcast_shapes(*shapes) if shapes else None


def _at(factors: np.ndarray, turns: list[int], axis: int) -> np.ndarray:
    return factors if factors.shape[axis] == 1 else np.take(factors, turns, axis=axis)


def place_text(place: Any) -> str:
    """A place in words: the primitive and its line, which helpers have from callers."""
    if isinstance(place, str):
        return place
    if not place:
        return "a number written in the program"
    source = next((each for each in map(source_of, place) if each), "")
    return f"{place[0].primitive.name} ({source})" if source else place[0].primitive.name
