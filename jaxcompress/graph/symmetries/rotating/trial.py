"""The laws by which rotated values are added, multiplied and summed.

A `Trial` follows one dim through a program with one idea of which leaves are left
alone. It remembers how each leaf's axis was used, so that a leaf that is read in two
ways, rotated here and scaled there, is found out at the end.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jaxcompress.graph.origins import Leaf
from jaxcompress.graph.surgery.axis_rules.rule import Record
from jaxcompress.graph.surgery.bodies import equation_of
from jaxcompress.graph.surgery.dims import Dim
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

Axis = tuple[str, int]
"""An axis of a leaf: (name, axis)."""


@dataclasses.dataclass
class Trial:
    """One dim on its way through a program.

    Attributes:
      atom: the dim.
      leaves: the leaves by name.
      single: axes of leaves along which the dim lies once.
      equal: leaves that are left as they are, since their entries along it are equal.
      behind: leaves that scale values and are taken over by the leaves that make these.
      fixes_ones: whether a rotation must keep the vector of ones.
      read: by axis of a leaf, an equation that takes it as it stands.
      folded: by axis of a leaf, the gains that it must take over.
      undone: by axis of a leaf, the gains that it must be divided by.
      stacks: by gain's leaf, of it and of leaves with duties the axes that scans slice.
    """

    atom: Dim
    leaves: dict[str, Leaf]
    single: frozenset[Axis]
    equal: frozenset[str]
    behind: frozenset[str] = frozenset()
    fixes_ones: bool = False
    read: dict[Axis, str] = dataclasses.field(default_factory=dict)
    folded: dict[Axis, set[View]] = dataclasses.field(default_factory=dict)
    undone: dict[Axis, set[View]] = dataclasses.field(default_factory=dict)
    stacks: dict[str, dict[str, tuple[int, ...]]] = dataclasses.field(default_factory=dict)

    def saved(self) -> tuple[Any, ...]:
        """What is known so far; `restore` goes back to it."""
        duties = [
            {axis: set(gains) for axis, gains in each.items()}
            for each in (self.folded, self.undone)
        ]
        return self.fixes_ones, dict(self.read), *duties

    def restore(self, saved: tuple[Any, ...]) -> None:
        self.fixes_ones, self.read, self.folded, self.undone = saved

    def block(self, record: Record, states: Sequence[State | None], why: str = "") -> None:
        """Ends the trial if one of the states moves."""
        moving = [state for state in states if state is not None and state.moves]
        if moving:
            made = [state for state in moving if state.since]
            named = ", ".join(map(repr, sorted(_leaves(made))))
            of = f" of a product by {made[0].since}" if made else ""
            of += f" with the entries of {named}" if named else ""
            raise BlockedError(f"{equation_of(record)}{why}{of}", _leaves(moving))

    def take(self, record: Record, state: State | None) -> State | None:
        """The state of a value that is no longer the leaf's own; the leaf is used."""
        if state is None or state.kind is not Kind.ROTATED:
            return state
        for view in _makers(state):
            self.read.setdefault(view[:2], equation_of(record))
        return ROTATED

    def make(self, state: State | None) -> State | None:
        """The state of a value that is linear in what may be a leaf."""
        if state is None or state.view == NO_VIEW or state.kind is not Kind.ROTATED:
            return state
        return ROTATED._replace(makers=_makers(state))

    def sum(self, record: Record, states: Sequence[State]) -> State:
        """Of values that are added, joined in a row, or of which one is chosen."""
        first = states[0]
        if all(state == first for state in states):
            return first
        states = [state for state in states if state.kind is not Kind.ZERO]
        kinds = {state.kind for state in states}
        if len(states) == 1 or len(set(states)) == 1:
            return states[0]
        if not any(state.moves for state in states):
            return UNIFORM if kinds == {Kind.UNIFORM} else FIXED
        if Kind.GAINED in kinds:
            return self._sum_gained(record, states)
        if Kind.SUMMABLE in kinds:
            # Only its sum must stay; that of a rotated one does if the ones do.
            self.fixes_ones |= Kind.ROTATED in kinds
            for state in states:
                self.take(record, state)
            since = next(state.since for state in states if state.since)
            return State(Kind.SUMMABLE, NO_VIEW, _leaves(states), since)
        if Kind.FIXED in kinds:
            self.block(record, states, " with values that keep their entries")
        self.fixes_ones |= Kind.UNIFORM in kinds
        rotated = [state for state in states if state.kind is Kind.ROTATED]
        # 1 + leaf is no leaf, but would be equal along the axis if the leaf were.
        alone = len(set(rotated)) == 1
        leaves = rotated[0].leaves if alone else frozenset()
        if Kind.UNIFORM not in kinds and all(map(_makers, rotated)):
            makers = frozenset().union(*map(_makers, rotated))
            return State(Kind.ROTATED, NO_VIEW, leaves, makers=makers)
        for state in rotated:
            self.take(record, state)
        return State(Kind.ROTATED, NO_VIEW, leaves)

    def _sum_gained(self, record: Record, states: Sequence[State]) -> State:
        """(v R) g + b = (v R + b / g) g, if b is a leaf."""
        gains = {state.view for state in states if state.kind is Kind.GAINED}
        rest = [state for state in states if state.kind is not Kind.GAINED]
        (gain, *others) = gains
        if others or any(state.kind is not Kind.ROTATED or state.view == NO_VIEW for state in rest):
            self.block(record, states, " with other values")
        for state in rest:
            self._oblige(record, self.undone, state.view, gain)
        return next(state for state in states if state.kind is Kind.GAINED)

    def product(self, record: Record, one: State, other: State) -> State:
        """Of two values that are multiplied entry by entry."""
        kinds = {one.kind, other.kind}
        if not (one.moves or other.moves):
            if Kind.ZERO in kinds:
                return ZERO
            return UNIFORM if kinds == {Kind.UNIFORM} else FIXED
        if kinds & {Kind.UNIFORM, Kind.ZERO}:
            return one if one.moves else other
        if kinds != {Kind.ROTATED}:
            self.block(record, (one, other), " by values that do not rotate alike")
        gains = [state for state in (one, other) if self._is_vector(state.view)]
        if len(gains) == 1:
            (gain,) = gains
            scaled = other if gain is one else one
            if gain.view.leaf in self.behind and scaled.makers:
                for maker in scaled.makers:
                    self._oblige(record, self.folded, maker, gain.view)
                return ROTATED
            self.take(record, scaled)
            return State(Kind.GAINED, gain.view, gain.leaves, equation_of(record))
        self.take(record, one)
        self.take(record, other)
        return State(Kind.SUMMABLE, NO_VIEW, _leaves((one, other)), equation_of(record))

    def _is_vector(self, view: View) -> bool:
        """Whether a leaf has one entry per index of the dim, perhaps in each layer."""
        if view[:2] not in self.single:
            return False
        known = (*view.stacked, view.axis)
        shape = self.leaves[view.leaf].shape
        others = [size for axis, size in enumerate(shape) if axis not in known]
        return math.prod(others) == 1 and view.axis not in view.stacked

    def total(self, record: Record, state: State | None) -> None:
        """Of a value that is summed along the axis."""
        if state is not None and state.kind is Kind.GAINED:
            # A sum of products with a leaf is the leaf's own product with the value.
            self.read.setdefault(state.view[:2], equation_of(record))
        self.fixes_ones |= state is not None and state.kind is Kind.ROTATED
        self.take(record, state)

    def contraction(self, record: Record, one: State | None, other: State | None) -> None:
        """Of two values that are multiplied and summed along the axis."""
        one, other = one or FIXED, other or FIXED
        if not (one.moves or other.moves):
            return
        for state, factor in ((one, other), (other, one)):
            if factor.kind is Kind.ZERO:
                self.take(record, state)
                return
            if factor.kind is Kind.UNIFORM:
                self.total(record, state)
                return
        kinds = {one.kind, other.kind}
        if kinds == {Kind.ROTATED}:
            self.take(record, one)
            self.take(record, other)
        elif kinds == {Kind.ROTATED, Kind.GAINED}:
            gained, reader = (one, other) if one.kind is Kind.GAINED else (other, one)
            if reader.view == NO_VIEW:
                self.block(record, (gained,), " with a value that cannot take over a scale")
            self._oblige(record, self.folded, reader.view, gained.view)
        else:
            self.block(record, (one, other), " with values that do not rotate alike")

    def _oblige(self, record: Record, duties: dict[Any, Any], view: View, gain: View) -> None:
        """Makes a leaf take over a gain, or be divided by it."""
        if view.scans[: len(gain.scans)] != gain.scans:
            why = f" of {view.leaf!r}, one for all layers, with a scale for each"
            raise BlockedError(f"{equation_of(record)}{why}", frozenset((gain.leaf,)))
        stacks = self.stacks.setdefault(gain.leaf, {})
        for each in (view, gain):
            stacked = each.stacked[: len(gain.scans)]
            if stacks.setdefault(each.leaf, stacked) != stacked:
                why = f" of {each.leaf!r}, whose layers are taken along several axes"
                raise BlockedError(f"{equation_of(record)}{why}", frozenset((gain.leaf,)))
        duties.setdefault(view[:2], set()).add(gain)

    def settle(self) -> None:
        """Raises a BlockedError where a leaf is used in ways that exclude another."""
        duties = [*self.folded.items(), *self.undone.items()]
        gains = {gain[:2] for _, each in duties for gain in each}
        for axis, each in duties:
            names = ", ".join(sorted(repr(gain.leaf) for gain in each))
            otherwise = ""
            if len(each) > 1 or (axis in self.folded and axis in self.undone):
                otherwise = "in two ways"
            elif axis in self.read:
                otherwise = f"and is also read as it is by {self.read[axis]}"
            elif axis in gains:
                otherwise = "and scales values itself"
            if otherwise:
                leaves = frozenset(gain.leaf for gain in each)
                raise BlockedError(
                    f"{axis[0]!r} would have to take over the scale {names} {otherwise}", leaves
                )
        for leaf, axis in gains:
            if (leaf, axis) in self.read:
                why = f"{leaf!r} scales values and is also read by {self.read[leaf, axis]}"
                raise BlockedError(why, frozenset((leaf,)))


def _makers(state: State) -> frozenset[View]:
    """The leaves' axes of which a value is a sum, of a leaf its own."""
    return state.makers if state.view == NO_VIEW else frozenset((state.view,))


def _leaves(states: Sequence[State]) -> frozenset[str]:
    return frozenset().union(*(state.leaves for state in states))
