"""Reads the families of units off the records of a program whose axes are known."""

import collections
from collections.abc import Iterator, Mapping, Sequence

from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.surgery.axis_rules import creation, rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Dims, Record
from jaxcompress.graph.surgery.bodies import equation_of, everywhere, plain_records
from jaxcompress.graph.surgery.dims import Dim, atoms
from jaxcompress.graph.surgery.families import Family, Place
from jaxcompress.graph.surgery.walk import Coupled


def families_of(coupled: Coupled) -> tuple[Family, ...]:
    """Every family that has a place in a leaf, in the order of first use."""
    records = list(plain_records(coupled.body))
    tied, reductions = set(_tied(coupled.body)), _reductions(records)
    names: collections.Counter = collections.Counter()
    families = []
    for atom, places in _places(coupled.leaves, records).items():
        # What has but one index, or none, has no unit to spare.
        if atom.size <= 1:
            continue
        first = f"{places[0].leaf}:{places[0].axis}"
        names[first] += 1
        families.append(
            Family(
                name=first if names[first] == 1 else f"{first}#{names[first]}",
                size=atom.size,
                places=tuple(places),
                reductions=tuple(dict.fromkeys(map(equation_of, reductions.get(atom, ())))),
                pins=tuple(
                    f"needed whole by {equation_of(pin)}" if isinstance(pin, Record) else pin
                    for pin in atom.pins
                ),
                layers=0 if atom in tied else coupled.leaves[places[0].leaf][0].size,
                atom=atom,
            )
        )
    return tuple(families)


def _places(leaves: Mapping[str, Dims], records: Sequence[Record]) -> dict[Dim, list[Place]]:
    """Per atom its places, in the order in which the leaves are first used."""
    # By identity: a leaf's own Dim objects are what the equations that read it hold.
    axes = {id(d): leaf for leaf, dims in leaves.items() for d in dims}
    used = [
        axes[id(d)] for record in records for dims in record.inputs for d in dims if id(d) in axes
    ]
    found: dict[Dim, list[Place]] = {}
    for leaf in dict.fromkeys((*used, *leaves)):
        for axis, d in enumerate(leaves[leaf]):
            for atom in atoms(d):
                found.setdefault(atom, []).append(Place(leaf, axis, d.size, d, atom))
    return found


def _reductions(records: Sequence[Record]) -> dict[Dim, list[Record]]:
    """Per atom the equations that sum over it."""
    found: dict[Dim, list[Record]] = {}
    for record in records:
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
