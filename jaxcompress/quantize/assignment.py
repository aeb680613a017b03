"""Decides from names and shapes which leaf gets which spec, and why others get none."""

import dataclasses
import math
import operator
from typing import Any, NamedTuple

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.formats.sharing import Block, Channel, Group, Row, Tensor
from jaxcompress.core.kinds import check_select
from jaxcompress.core.left_out import BY_RULES, LEAVE_IT_OUT, Obstacle, by_kind, left_out
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.selectors import axes_of, weights, why_left_out
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays, chosen_by, named_axes
from jaxcompress.core.types import Params, Selector
from jaxcompress.quantize import formats


class Assignment(NamedTuple):
    """The spec of one selected leaf, and what its axes do."""

    spec: QuantSpec
    axes: LeafAxes


class Mends(NamedTuple):
    """What errors say of leaves, by what a verb takes.

    Attributes:
      nothing: behind its name, that there is no leaf to quantize.
      leave: how one is left out.
    """

    nothing: str
    leave: str


SELECTED = Mends("(select=...) selects no leaf", LEAVE_IT_OUT)
RULED = Mends(": no weight meets data in a dot, convolution or gather", BY_RULES)
"""Of verbs that take Rules and have no `select`."""


def assign(
    caller: str,
    params: Params,
    spec: QuantSpec | Rules[Any],
    axes: Axes | None,
    select: Selector | None,
    mends: Mends = SELECTED,
) -> dict[str, Assignment | str]:
    """Gives each leaf name its assignment, or the reason why it has none.

    Args:
      caller: the function to name in errors.
      params: arrays, shapes or compressed leaves.
      spec: one spec, or rules over the names of the selected leaves.
      axes: what `graph.axes` gave; without it the layout default is used.
      select: which leaves; without it `weights(axes)`.
      mends: what errors say.

    Returns:
      Dict in the tree's order.

    Raises:
      TypeError: what a leaf gets is no spec; one that `select` or a rule other than "*"
        names is compressed or not real floating.
      ValueError: nothing is selected, a rule matches nothing, axes have to be known and
        are only assumed; a leaf that is asked for by name is empty, a single number, or
        its spec does not fit it; or all are such.
    """
    check_spec(caller, spec)
    check_arrays(caller, "params", params)
    leaves = named_leaves(params)
    known = named_axes(caller, axes)
    chosen = chosen_by(caller, select or weights(axes), params)
    selected = [name for name in leaves if chosen[name]]
    if leaves and not selected:
        raise ValueError(f"{caller}{mends.nothing}. Leaves are: {', '.join(leaves)}.")
    specs = as_rules(spec).assign(selected)
    assigned: dict[str, Assignment | str] = {}
    obstacles: dict[str, Obstacle] = {}
    for name, leaf in leaves.items():
        leaf_axes = axes_of(name, leaf, known)
        if name in specs:
            fitted = _fitted(caller, name, leaf, Assignment(specs[name], leaf_axes), mends.leave)
            if isinstance(fitted, Obstacle):
                obstacles[name] = fitted
            else:
                assigned[name] = fitted
        else:
            why = "" if select else why_left_out(leaf, leaf_axes)
            unselected = f"not selected: {why}" if why else "not selected"
            assigned[name] = "no rule" if chosen[name] else unselected
    assigned |= left_out(caller, obstacles, specs, select, spec)
    return {name: assigned[name] for name in leaves}


def check_spec(caller: str, spec: QuantSpec | Rules[Any]) -> None:
    """Raises a TypeError unless it is a format, or rules of formats.

    Example:
      >>> check_spec("quantize", "int8")
      Traceback (most recent call last):
      TypeError: quantize(spec='int8') must be of type QuantSpec, not str. Call a
      format, as int8(), or give Rules of them. Did you mean formats.int8()?
    """
    named = isinstance(spec, str) and hasattr(formats, spec)
    meant = f" Did you mean formats.{spec}()?" if named else ""
    mend = f"Call a format, as int8(), or give Rules of them.{meant}"
    check_rules(caller, "spec", spec, QuantSpec, mend)


def check_choice(
    caller: str,
    spec: QuantSpec | Rules[Any],
    axes: Axes | None,
    select: Selector | None,
) -> None:
    """Raises a TypeError for what no params are needed to refuse."""
    check_spec(caller, spec)
    named_axes(caller, axes)
    check_select(caller, select)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which leaves are rounded to which format, and who asks.

    Attributes:
      caller: the name that errors give.
      spec: one spec, or rules over the names of the selected leaves.
      axes: what `graph.axes` gave, or None.
      select: which leaves, or None for every weight that meets data.
    """

    caller: str
    spec: QuantSpec | Rules[Any]
    axes: Axes | None
    select: Selector | None

    def __post_init__(self) -> None:
        check_choice(self.caller, self.spec, self.axes, self.select)

    def assigned(self, params: Params) -> dict[str, Assignment]:
        """The assignment of each leaf that is rounded, by name."""
        found = assign(self.caller, params, self.spec, self.axes, self.select)
        return {name: each for name, each in found.items() if isinstance(each, Assignment)}


def _fitted(caller: str, name: str, leaf, choice: Assignment, leave: str) -> Assignment | Obstacle:
    """One leaf with its spec, or what its kind or shape has against that."""
    spec, axes = choice
    obstacle = by_kind(leaf, f"Materialize it first. {leave}", leave)
    if obstacle is not None:
        return obstacle
    if leaf.ndim == 0:
        return Obstacle("it is a single number", leave)
    if not axes.meets_data:
        axes = LeafAxes(tuple(range(leaf.ndim)), (), assumed=True)
    if not isinstance(spec.sharing, Tensor | Channel):
        _check_axes(caller, name, leaf, spec, axes)
        obstacle = _not_divided(leaf, spec, axes, leave)
    return obstacle or Assignment(spec, axes)


def _check_axes(caller: str, name: str, leaf, spec: QuantSpec, axes: LeafAxes) -> None:
    if axes.assumed and leaf.ndim >= 3:
        raise ValueError(
            f"{caller}: leaf {name!r} of shape {tuple(leaf.shape)} has assumed axes, and {spec} "
            "needs to know them. Pass axes=graph.axes(fn, params, *inputs)."
        )


def _not_divided(leaf, spec: QuantSpec, axes: LeafAxes, leave: str) -> Obstacle | None:
    """What keeps a leaf from being cut into the blocks of a spec."""
    shape = tuple(leaf.shape)
    if not axes.contracting:
        return Obstacle(
            f"its shape {shape} has no contracting axis for {spec}",
            f"Give it a spec per channel. {leave}",
        )
    sharing, roles = spec.sharing, {"contracting": axes.contracting, "output": axes.output}
    if isinstance(sharing, Block) and not axes.output:
        return Obstacle(
            f"its shape {shape} has no output axis for {spec}",
            f"Give it a spec in groups. {leave}",
        )
    if isinstance(sharing, Row):
        return None
    sizes = sharing.sizes(shape, axes)
    for role, own in roles.items():
        if any(shape[axis] % sizes[axis] for axis in own):
            lengths = tuple(shape[axis] for axis in own)
            return Obstacle(
                f"{spec} does not divide its {math.prod(lengths)} weights along {role} axes of "
                f"{lengths}",
                f"Sizes that do: {', '.join(map(str, _sizes(lengths))) or 1}. {leave}",
            )
    return None


def _sizes(lengths: tuple[int, ...]) -> list[int]:
    """The sizes above 1 of groups that divide axes of these lengths, taken as one."""
    axes = LeafAxes(tuple(range(len(lengths))), ())
    total = math.prod(lengths)
    divisors = [size for size in range(2, total + 1) if total % size == 0]
    return [
        size
        for size in divisors
        if not any(map(operator.mod, lengths, Group(size).sizes(lengths, axes)))
    ]
