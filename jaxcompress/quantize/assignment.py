"""Decides from names and shapes which leaf gets which spec, and why others get none."""

from typing import NamedTuple

from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.checks import check_real
from jaxcompress.core.formats.sharing import Block, Channel, Tensor
from jaxcompress.core.kinds import check_select
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.selectors import axes_of, weights, why_left_out
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays, chosen_by, named_axes
from jaxcompress.core.types import Params, Selector
from jaxcompress.quantize import formats
from jaxcompress.quantize.ranges.estimator import RangeEstimator, check_ranges


class Assignment(NamedTuple):
    """The spec of one selected leaf, and what its axes do."""

    spec: QuantSpec
    axes: LeafAxes


def assign(
    caller: str,
    params: Params,
    spec: QuantSpec | Rules,
    axes: Axes | None,
    select: Selector | None,
) -> dict[str, Assignment | str]:
    """Gives each leaf name its assignment, or the reason why it has none.

    Args:
      caller: the function to name in errors.
      params: arrays, shapes or compressed leaves.
      spec: one spec, or rules over the names of the selected leaves.
      axes: what `graph.axes` gave; without it the layout default is used.
      select: which leaves; without it `weights(axes)`.

    Returns:
      Dict in the tree's order.

    Raises:
      TypeError: a selected leaf with a spec is not of a real floating dtype, or what it
        gets is no spec.
      ValueError: nothing is selected, a rule matches nothing, or a leaf and its spec do
        not fit.
    """
    check_spec(caller, spec)
    check_arrays(caller, "params", params)
    leaves = named_leaves(params)
    known = named_axes(caller, axes)
    chosen = chosen_by(caller, select or weights(axes), params)
    selected = [name for name in leaves if chosen[name]]
    if leaves and not selected:
        raise ValueError(f"{caller}(select=...) selects no leaf. Leaves are: {', '.join(leaves)}.")
    specs = as_rules(spec).assign(selected)
    assigned: dict[str, Assignment | str] = {}
    for name, leaf in leaves.items():
        leaf_axes = axes_of(name, leaf, known)
        if name in specs:
            assigned[name] = _fitted(caller, name, leaf, specs[name], leaf_axes)
        else:
            why = "" if select else why_left_out(leaf, leaf_axes)
            unselected = f"not selected: {why}" if why else "not selected"
            assigned[name] = "no rule" if chosen[name] else unselected
    return assigned


def check_spec(caller: str, spec: QuantSpec | Rules) -> None:
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
    spec: QuantSpec | Rules,
    axes: Axes | None,
    select: Selector | None,
    ranges: RangeEstimator,
) -> None:
    """Raises a TypeError for what no params are needed to refuse."""
    check_spec(caller, spec)
    named_axes(caller, axes)
    check_select(caller, select)
    check_ranges(caller, ranges)


def _fitted(caller: str, name: str, leaf, spec: QuantSpec, axes: LeafAxes) -> Assignment:
    """Checks one leaf by its shape and assigns it the spec."""
    if is_compressed(leaf):
        raise ValueError(
            f"{caller}: leaf {name!r} is already {leaf!r}. Leave it out with select=, or "
            "materialize it first."
        )
    check_real(caller, name, leaf)
    if leaf.ndim == 0:
        raise ValueError(f"{caller}: leaf {name!r} is a single number. Leave it out with select=.")
    if not axes.meets_data:
        axes = LeafAxes(tuple(range(leaf.ndim)), (), assumed=True)
    if not isinstance(spec.sharing, Tensor | Channel):
        _check_blocks(caller, name, leaf, spec, axes)
    return Assignment(spec, axes)


def _check_blocks(caller: str, name: str, leaf, spec: QuantSpec, axes: LeafAxes) -> None:
    if axes.assumed and leaf.ndim >= 3:
        raise ValueError(
            f"{caller}: leaf {name!r} of shape {tuple(leaf.shape)} has assumed axes, and {spec} "
            "needs to know them. Pass axes=graph.axes(fn, params, *inputs)."
        )
    if not axes.contracting:
        raise ValueError(
            f"{caller}: leaf {name!r} of shape {tuple(leaf.shape)} has no contracting axis for "
            f"{spec}. Give it a spec per channel."
        )
    if isinstance(spec.sharing, Block) and not axes.output:
        raise ValueError(
            f"{caller}: leaf {name!r} of shape {tuple(leaf.shape)} has no output axis for "
            f"{spec}. Give it a spec in groups."
        )
    sizes = spec.sharing.sizes(leaf.shape, axes)
    for axis, (length, size) in enumerate(zip(leaf.shape, sizes, strict=True)):
        if length % size:
            role = "contracting" if axis in axes.contracting else "output"
            divisors = [str(size) for size in range(2, length + 1) if length % size == 0]
            raise ValueError(
                f"{caller}: leaf {name!r} has {length} weights along its last {role} axis, which "
                f"{spec} does not divide. Sizes that do: {', '.join(divisors) or '1'}."
            )
