"""Rotations that leave a model as it is, found in its program.

How one dim is followed is in `following`, by the laws of `passing` and `moving`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.families import Family, Place
from jaxcompress.graph.surgery.finding import families_of
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.symmetries.explanation import explain
from jaxcompress.graph.symmetries.rotating.following import follow
from jaxcompress.graph.symmetries.rotating.lying import Lying, lies_twice
from jaxcompress.graph.symmetries.rotating.states import BlockedError, View
from jaxcompress.graph.symmetries.rotating.trial import Axis, Trial


@dataclasses.dataclass(frozen=True)
class Fold:
    """A scale that other leaves take over, so that it becomes 1.

    Attributes:
      scale: the leaf that multiplies values, one entry for each index of the dim.
      layers: by name of its leaves the axes that scans slice along with the scale.
      into: where entries are multiplied by it.
      out_of: where entries are divided by it, as a shift that is added after it.
    """

    scale: Place
    layers: Mapping[str, tuple[int, ...]]
    into: tuple[Place, ...]
    out_of: tuple[Place, ...]


@dataclasses.dataclass(frozen=True)
class Rotation:
    """A dim that any orthogonal matrix may turn, since leaves absorb it.

    Attributes:
      name: that of its family: "leaf:axis" of the place that the program uses first.
      size: of the dim; matrices are (size, size).
      places: every (leaf, axis) that is multiplied by the matrix.
      folds: scales that leaves must take over first.
      equal: places that stay as they are, since their entries along the dim are equal;
        of other params this need not be so.
      fixes_ones: whether the matrix must keep the vector of ones, since a mean along
        the dim is taken or subtracted.
      layers: length of the scan whose layers may each have a matrix of their own; 0
        where all must have the same.
    """

    name: str
    size: int
    places: tuple[Place, ...]
    folds: tuple[Fold, ...]
    equal: tuple[Place, ...]
    fixes_ones: bool
    layers: int


@dataclasses.dataclass(frozen=True)
class Blocked:
    """A dim along which nothing may be rotated, and why.

    Attributes:
      name: that of its family.
      size: of the dim.
      places: every (leaf, axis) that it lies along.
      reason: the equation that allows none, with its source; or what else.
    """

    name: str
    size: int
    places: tuple[Place, ...]
    reason: str


@dataclasses.dataclass(frozen=True)
class Rotations:
    """What may be rotated in a model, and what may not; printed, it says why.

    Attributes:
      found: the rotations, in the order in which the program uses them.
      blocked: dims along which nothing may be rotated, each with the reason.
    """

    found: tuple[Rotation, ...]
    blocked: tuple[Blocked, ...]

    def __str__(self) -> str:
        return explain(self.found, self.blocked)


def rotations(fn: Model, params: Params, *inputs: PyTree) -> Rotations:
    """Finds along which dims a model's values may be multiplied by orthogonal matrices.

    Not for: dims that meet an activation entry by entry, which are left out; `scalings`
    passes relu.

    Follows each dim through the program: leaves that make values along it, such as the
    kernels and tables that add to a residual stream, can be multiplied by a matrix R,
    and leaves that read them by R too, which undoes it. In between may lie sums, means
    of squares and what else treats all directions alike; a scale per entry is folded
    into what reads it or, as a LayerScale, into what makes it. So the residual stream
    of a model whose blocks begin with norms rotates, the width of heads between values
    and output, or between queries and keys, and the inside of two linear layers in a
    row.

        (x R) (Rᵀ W) = x W,   |x R| = |x|

    Also known as: computational invariance.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, `jax.ShapeDtypeStruct`s or compressed leaves. Values only
        matter where a scale that cannot be folded has equal entries.
      inputs: trees of arrays or shapes.

    Returns:
      Rotations. `rotate` applies one of them to params, `random_matrix` draws a matrix.

    Raises:
      TypeError: `fn` is no function, or a leaf no array.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"] @ params["out"])
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
      >>> found = jc.graph.symmetries.rotations(fn, params, jnp.ones((5, 3))).found
      >>> [(each.name, each.size) for each in found]
      [('in:1', 4)]

    Source: SliceGPT, Ashkboos et al. 2024, arXiv:2401.15024, section 3.1; QuaRot,
    arXiv:2404.00456, section 4. Differs: derived from the program of any model, and a
    layer norm's mean stays in it, so that only rotations that keep the vector of ones
    pass, where the sources fold it and make an RMS norm of it.
    """
    check_call("rotations", fn, params, inputs)
    coupled = couple(fn, params, *inputs)
    values = named_leaves(params)
    lying = Lying()
    found, blocked = [], []
    for family in families_of(coupled):
        if family.unused:
            continue
        try:
            found.append(_tried(coupled, family, values, lying))
        except BlockedError as fault:
            blocked.append(Blocked(family.name, int(family.size), family.places, str(fault)))
    return Rotations(tuple(found), tuple(blocked))


def check_rotation(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless it is a rotation."""
    mend = "Take one of graph.symmetries.rotations(fn, params, *inputs).found."
    check_kind(caller, argument, value, Rotation, mend)


def _tried(coupled: Coupled, family: Family, values: dict[Any, Any], lying: Lying) -> Rotation:
    """The rotation along a family's dim.

    Raises:
      BlockedError: there is none.
    """
    if family.pins:
        raise BlockedError("; ".join(family.pins))
    if any(lies_twice(place.dim, family.atom) for place in family.places):
        raise BlockedError("a leaf's axis is made of the dim twice")
    leaves = {leaf.name: leaf for leaf in coupled.program.leaves}
    places = {(place.leaf, place.axis): place for place in family.places}
    single = frozenset(axis for axis, place in places.items() if place.positions.shape[1] == 1)
    equal: frozenset[str] = frozenset()
    behind: dict[str, BlockedError] = {}
    while True:
        trial = Trial(family.atom, leaves, single, equal, frozenset(behind))
        try:
            follow(coupled, trial, lying)
            folds = _folds(trial, places, values)
        except BlockedError as fault:
            # A leaf whose entries are equal may stay as it is, and then stands in
            # nobody's way.
            may = {name for name in fault.leaves - equal if _are_equal(name, family, values)}
            if may:
                equal |= may
            elif tried := sorted(fault.leaves & behind.keys()):
                raise behind[tried[0]] from None
            elif not fault.leaves:
                raise
            else:
                # What stands in the way may be a scale that can be taken over by the
                # leaves before it.
                behind |= dict.fromkeys(fault.leaves, fault)
        else:
            break
    scales = {(fold.scale.leaf, fold.scale.axis) for fold in folds}
    return Rotation(
        name=family.name,
        size=int(family.size),
        places=tuple(p for axis, p in places.items() if axis not in scales and p.leaf not in equal),
        folds=folds,
        equal=tuple(place for place in family.places if place.leaf in equal),
        fixes_ones=trial.fixes_ones,
        layers=family.layers,
    )


def _are_equal(name: str, family: Family, values: dict[Any, Any]) -> bool:
    """Whether a leaf is known to have equal entries along the dim."""
    leaf = _known(values[name])
    if leaf is None:
        return False
    return all(entries_are_equal(leaf, place) for place in family.places if place.leaf == name)


def _known(leaf) -> np.ndarray | None:
    """The values of a leaf, None where it is traced or but a shape."""
    if isinstance(leaf, Tracer | jax.ShapeDtypeStruct):
        return None
    return np.asarray(leaf.materialize() if is_compressed(leaf) else leaf)


def entries_are_equal(leaf: Any, place: Place) -> bool:
    """Whether the entries of a leaf along a place's dim are all equal."""
    along = np.moveaxis(np.asarray(leaf), place.axis, 0)[place.positions]
    return bool((along == along[:1]).all())


def _folds(trial: Trial, places: dict[Axis, Place], values: dict[Any, Any]) -> tuple[Fold, ...]:
    """The scales of a trial, each with what takes it over."""
    gains: dict[Axis, View] = {}
    for duties in (trial.folded, trial.undone):
        gains |= {gain[:2]: gain for each in duties.values() for gain in each}
    for axis, each in trial.undone.items():
        for gain in each:
            _check_divisible(_known(values[axis[0]]), _known(values[gain.leaf]), axis[0], gain)

    def of(duties: dict[Axis, set[View]], gain: Axis) -> tuple[Place, ...]:
        return tuple(
            places[axis] for axis, each in duties.items() if gain in {view[:2] for view in each}
        )

    return tuple(
        Fold(places[gain], trial.stacks[gain[0]], of(trial.folded, gain), of(trial.undone, gain))
        for gain in gains
    )


def _check_divisible(shift, scale, name: str, gain: View) -> None:
    """Raises a BlockedError where a shift cannot be divided by the scale before it."""
    if shift is None or scale is None:
        return
    shift, scale = (np.asarray(each, np.float32) for each in (shift, scale))
    if shift.size != scale.size:
        raise BlockedError(
            f"{name!r} is added after the scale {gain.leaf!r} in other shapes",
            frozenset((gain.leaf,)),
        )
    with np.errstate(all="ignore"):
        quotient = shift.ravel() / scale.ravel()
    if not np.isfinite(quotient[shift.ravel() != 0]).all():
        raise BlockedError(
            f"{name!r} cannot be divided by the scale {gain.leaf!r}, which has zeros",
            frozenset((gain.leaf,)),
        )
