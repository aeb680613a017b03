"""Which axes of which leaves must shrink together, and which must stay whole and why.

The findings of `walk`, seen from the leaves. How they read is the matter of
`explanation`.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jaxcompress.core.types import Model, Params
from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.surgery.axis_rules import creation, rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Dims, Record
from jaxcompress.graph.surgery.bodies import equation_of, everywhere, plain_records
from jaxcompress.graph.surgery.dims import Dim, atoms
from jaxcompress.graph.surgery.explanation import explain
from jaxcompress.graph.surgery.kept import positions
from jaxcompress.graph.surgery.removal import Removal, cuts_of
from jaxcompress.graph.surgery.walk import Coupled, couple


@dataclasses.dataclass(frozen=True)
class Place:
    """One axis of one leaf that a family runs along.

    Fields:
      leaf: the leaf's name.
      axis: the axis.
      size: its size.
    """

    leaf: str
    axis: int
    size: int
    dim: Dim = dataclasses.field(repr=False, compare=False)
    atom: Dim = dataclasses.field(repr=False, compare=False)

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """Where each unit lies along the axis: int (units, indices of one unit)."""
        return positions(self.dim, self.atom)


@dataclasses.dataclass(frozen=True)
class Family:
    """Units that are alike: the indices of one axis, wherever the program carries it.

    Fields:
      name: "leaf:axis" of the place that the program uses first; "#2", "#3" … where an
        axis holds several families.
      size: number of units. Removing unit i removes its indices at every place.
      places: every (leaf, axis) that holds units.
      reductions: where the units are summed over or the like, as "primitive (source)".
      pins: why no unit may go, at most three reasons; empty for units that may.
      layers: length of the scan whose layers may each lose units of their own; 0 where
        all must lose the same.
    """

    name: str
    size: int
    places: tuple[Place, ...]
    reductions: tuple[str, ...]
    pins: tuple[str, ...]
    layers: int
    atom: Dim = dataclasses.field(repr=False, compare=False)

    @property
    def unused(self) -> bool:
        """True where no data meet the units, so that removing them changes nothing."""
        return not self.pins and not self.reductions

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """Of one number per unit: (units,), or (layers, units) where layers differ."""
        return (self.layers, self.size) if self.layers else (self.size,)

    @property
    def removable(self) -> bool:
        return not self.pins and not self.unused


@dataclasses.dataclass(frozen=True)
class Couplings:
    """All families of a program; printed, it tells what goes together and why.

    Fields:
      all: every family that has a place in a leaf, in the order of first use; what has
        but one index has no unit to spare and is left out.
    """

    all: tuple[Family, ...]
    leaves: Mapping[str, Dims] = dataclasses.field(repr=False, compare=False)

    @property
    def families(self) -> tuple[Family, ...]:
        """Those whose units may go."""
        return tuple(family for family in self.all if family.removable)

    @property
    def pinned(self) -> tuple[Family, ...]:
        """Those that stay whole, with reasons."""
        return tuple(family for family in self.all if family.pins)

    @property
    def unused(self) -> tuple[Family, ...]:
        """Those that no data meet."""
        return tuple(family for family in self.all if family.unused)

    @property
    def units(self) -> dict[str, int]:
        """Number of units by the name of each family whose units may go."""
        return {family.name: family.size for family in self.families}

    def removal(self, units: Mapping[str, Sequence]) -> Removal:
        """What goes with these units.

        Args:
          units: unit indices by the name of their family; for a family with `layers`,
            also one sequence per layer, equally long.

        Returns:
          Removal, a frozen value.

        Raises:
          ValueError: no family has that name, it is pinned (with the reasons) or
            unused, an index is out of range or there twice, or no unit would stay.

        Example:
          >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
          >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
          >>> removed = couplings(fn, params, jnp.ones((5, 3))).removal({"in:1": [2]})
          >>> [(cut.leaf, cut.axis, cut.indices) for cut in removed.cuts]
          [('in', 1, (2,)), ('out', 0, (2,))]
        """
        known = {family.name: family for family in self.all}
        removed = {}
        for name, indices in units.items():
            if name not in known:
                raise ValueError(
                    f"removal({{{name!r}: ...}}): no family has this name. "
                    f"Families are: {', '.join(self.units)}."
                )
            gone = _gone(known[name], indices)
            if gone.any():
                removed[known[name].atom] = gone
        return cuts_of(self.leaves, removed)

    def __str__(self) -> str:
        return explain(self)


def couplings(fn: Model, params: Params, *inputs) -> Couplings:
    """The families of units that must go together if they go.

    Follows every axis through the program. Leaves whose axes meet (a layer's outputs,
    its bias, the next layer's inputs, whatever a residual adds to it) share units; an
    axis that the caller sees, or that a primitive needs whole, is pinned. A model of
    the form `(outputs, new_params)` may shrink its new params, any other result
    may not shrink.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays, `jax.ShapeDtypeStruct`s or compressed leaves;
        only shapes matter.
      inputs: trees of arrays or shapes.

    Returns:
      Couplings.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
      >>> couplings(fn, params, jnp.ones((5, 3))).units
      {'in:1': 4}
    """
    return _Finding(couple(fn, params, *inputs)).couplings()


def _gone(family: Family, indices: Sequence) -> np.ndarray:
    """Which units go, checked: bool (units,), or (layers, units)."""
    call = f"removal({{{family.name!r}: {list(indices)}}})"
    if family.pins:
        raise ValueError(f"{call}: these units must stay: {'; '.join(family.pins)}.")
    if not family.removable:
        raise ValueError(f"{call}: no data meet these units, so nothing would change.")
    rows = _integers(indices)
    if rows is None:
        raise ValueError(f"{call}: indices must be whole numbers, equally many for every layer.")
    if rows.ndim not in (1, 2) or (rows.ndim == 2 and len(rows) != family.layers):
        raise ValueError(
            f"{call}: indices must be one sequence, or one for each of {family.layers} layers."
        )
    if ((rows < 0) | (rows >= family.size)).any():
        raise ValueError(f"{call}: indices must be in [0, {family.size}).")
    gone = np.zeros((*rows.shape[:-1], family.size), bool)
    np.put_along_axis(gone, rows, True, axis=-1)
    if (gone.sum(axis=-1) != rows.shape[-1]).any():
        raise ValueError(f"{call}: an index is there twice.")
    if gone.all(axis=-1).any():
        raise ValueError(
            f"{call}: at least one of {family.size} units must stay. "
            "To pass a whole residual block by, use structure.remove_blocks."
        )
    return gone


def _integers(indices: Sequence) -> np.ndarray | None:
    """The indices as an array; None where they are no whole numbers in equal rows."""
    if not len(indices):
        return np.zeros(0, int)
    try:
        rows = np.asarray(indices)
    except ValueError:
        return None
    return rows if np.issubdtype(rows.dtype, np.integer) else None


class _Finding:
    """Reads the families off the records of a program."""

    def __init__(self, coupled: Coupled):
        self.leaves = coupled.leaves
        self.records = list(plain_records(coupled.body))
        self.tied = set(_tied(coupled.body))

    def couplings(self) -> Couplings:
        places = self.places()
        reductions = self.reductions()
        names: dict[str, int] = {}
        families = []
        for atom, found in places.items():
            if atom.size == 1:
                continue
            first = f"{found[0].leaf}:{found[0].axis}"
            names[first] = names.get(first, 0) + 1
            families.append(
                Family(
                    name=first if names[first] == 1 else f"{first}#{names[first]}",
                    size=atom.size,
                    places=tuple(found),
                    reductions=tuple(dict.fromkeys(map(equation_of, reductions.get(atom, ())))),
                    pins=tuple(map(_pin_in_words, atom.pins)),
                    layers=0 if atom in self.tied else self.leaves[found[0].leaf][0].size,
                    atom=atom,
                )
            )
        return Couplings(tuple(families), self.leaves)

    def places(self) -> dict[Dim, list[Place]]:
        """Per atom its places, in the order in which the leaves are first used."""
        axes = {id(d): leaf for leaf, dims in self.leaves.items() for d in dims}
        used = [
            axes[id(d)]
            for record in self.records
            for dims in record.inputs
            for d in dims
            if id(d) in axes
        ]
        found: dict[Dim, list[Place]] = {}
        for leaf in dict.fromkeys((*used, *self.leaves)):
            for axis, d in enumerate(self.leaves[leaf]):
                for atom in atoms(d):
                    found.setdefault(atom, []).append(Place(leaf, axis, d.size, d, atom))
        return found

    def reductions(self) -> dict[Dim, list[Record]]:
        """Per atom the equations that sum over it."""
        found: dict[Dim, list[Record]] = {}
        for record in self.records:
            for reduction in rule_of(record.eqn.primitive.name).reduces(record):
                for atom in atoms(record.inputs[reduction.operand][reduction.axis]):
                    found.setdefault(atom, []).append(record)
        return found


def _tied(body: Body) -> Iterator[Dim]:
    """The atoms of which all layers of a scan must lose the same indices.

    Those outside of any scan, in a carry or a fixed operand, and those of constants and
    counted positions.
    """
    for nested in everywhere(body):
        inside = any(record.eqn.primitive.name == "scan" for record in nested.around)
        yield from _atoms(nested.body.consts)
        for record in nested.body.records:
            name = record.eqn.primitive.name
            if name == "scan" and not inside:
                # What a scan steps through may differ from layer to layer; the rest is
                # one array for all layers.
                fixed, carried = scan_loop(record.eqn)
                yield from _atoms(record.inputs[: fixed + carried])
            elif not record.bodies and (not inside or name in creation.RULES):
                yield from _atoms((*record.inputs, *record.outputs))


def _atoms(shapes: Sequence[Dims]) -> Iterator[Dim]:
    return (atom for dims in shapes for d in dims for atom in atoms(d))


def _pin_in_words(reason: Record | str) -> str:
    return f"needed whole by {equation_of(reason)}" if isinstance(reason, Record) else reason
