"""What is removed: indices of the leaves' axes, a value that outlives its program."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.messages import shown
from jaxcompress.graph.surgery.divisors import Divisors

_FIELDS = ("cuts", "indices", "divisors", "blocks", "layers")


@dataclasses.dataclass(frozen=True)
class LeafCut:
    """Indices that one axis of one leaf loses.

    Attributes:
      leaf: the leaf's name.
      axis: the axis.
      size: its size before.
      indices: the indices, rising; or one such tuple per layer, equally many, for a
        leaf stacked along axis 0 whose layers lose different ones.
    """

    leaf: str
    axis: int
    size: int
    indices: tuple[Any, ...]

    @property
    def gone(self) -> np.ndarray:
        """Which indices go: bool (size,), or (layers, size)."""
        indices = np.asarray(self.indices)
        gone = np.zeros((*indices.shape[:-1], self.size), bool)
        np.put_along_axis(gone, indices, True, axis=-1)
        return gone

    @property
    def count(self) -> int:
        """How many indices go, in each layer."""
        return len(self.indices[0]) if self.per_layer else len(self.indices)

    @property
    def per_layer(self) -> bool:
        """Whether layers lose indices of their own."""
        return bool(self.indices) and isinstance(self.indices[0], tuple)

    def fits(self, shape: Sequence[int], size: int) -> bool:
        """Whether a leaf of this shape has that size along the axis, and the layers."""
        if self.axis >= len(shape) or shape[self.axis] != size:
            return False
        return not self.per_layer or (self.axis > 0 and shape[0] == len(self.indices))


@dataclasses.dataclass(frozen=True)
class Removal:
    """What a model loses: units, or residual blocks, or layers of its stacks.

    A value that outlives the program and the process: with the function it gives the
    smaller program again, by `graph.surgery.shrink`, and files hold it.

    Attributes:
      cuts: indices that leaves lose.
      divisors: what means over removed units divide by in the smaller program.
      blocks: names of the residual blocks that the identity replaces.
      layers: (name of a stack, layers that go), of each stack that loses some.
    """

    cuts: tuple[LeafCut, ...]
    divisors: Divisors = Divisors.KEPT
    blocks: tuple[str, ...] = ()
    layers: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def of(self, leaf: str) -> tuple[LeafCut, ...]:
        """The cuts of one leaf."""
        return self._by_leaf.get(leaf, ())

    @functools.cached_property
    def _by_leaf(self) -> dict[str, tuple[LeafCut, ...]]:
        found: dict[str, tuple[LeafCut, ...]] = {}
        for cut in self.cuts:
            found[cut.leaf] = (*found.get(cut.leaf, ()), cut)
        return found

    def __str__(self) -> str:
        if self.blocks:
            return f"blocks {', '.join(self.blocks)}"
        if self.layers:
            stacks = (f"{', '.join(map(str, gone))} of {name}" for name, gone in self.layers)
            return f"layers {'; '.join(stacks)}"
        divide = "" if self.divisors is Divisors.KEPT else ", means divide by the new width"
        return f"units of {len(self.cuts)} axes of {len(self._by_leaf)} leaves{divide}"

    def fault(self, shapes: Mapping[str, Sequence[int]]) -> str:
        """Why these are not the shapes after the removal; empty if they are."""
        for cut in self.cuts:
            if cut.leaf not in shapes:
                return f"the removal cuts leaf {cut.leaf!r}, which the params do not have"
            shape, left = shapes[cut.leaf], cut.size - cut.count
            if not cut.fits(shape, left):
                size = shape[cut.axis] if cut.axis < len(shape) else "none"
                layers = f" in each of {len(cut.indices)} layers" if cut.per_layer else ""
                return (
                    f"leaf {cut.leaf!r} has size {size} along axis {cut.axis}; the removal leaves "
                    f"{left} of {cut.size}{layers}"
                )
        return ""

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values; `Removal.from_json` gives the removal back.

        Indices that several axes lose are listed once.

        Example:
          >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
          >>> params = {"in": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
          >>> couplings = jc.graph.couplings(fn, params, jnp.ones((5, 3)))
          >>> fields = couplings.removal({"in:1": [2]}).to_json()
          >>> fields["cuts"], fields["indices"]
          ([['in', 1, 4, 0], ['out', 0, 4, 0]], [[2]])
        """
        distinct = dict.fromkeys(cut.indices for cut in self.cuts)
        places = {indices: place for place, indices in enumerate(distinct)}
        return {
            "cuts": [[cut.leaf, cut.axis, cut.size, places[cut.indices]] for cut in self.cuts],
            "indices": [_listed(indices) for indices in places],
            "divisors": self.divisors.value,
            "blocks": list(self.blocks),
            "layers": {name: list(gone) for name, gone in self.layers},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Removal":
        """The removal that `to_json` described.

        Raises:
          ValueError: a field is missing, unknown, of another kind or out of range.
        """
        if not isinstance(fields, dict) or set(fields) != set(_FIELDS):
            raise _wrong("fields", fields, f"a dict of exactly {', '.join(_FIELDS)}")
        for name, kind in zip(_FIELDS, (list, list, str, list, dict), strict=True):
            if not isinstance(fields[name], kind):
                raise _wrong(name, fields[name], f"a {kind.__name__}")
        if fields["divisors"] not in list(Divisors):
            raise _wrong("divisors", fields["divisors"], " or ".join(map(repr, map(str, Divisors))))
        indices = [_Indices.of(each) for each in fields["indices"]]
        cuts = tuple(_cut(each, indices) for each in fields["cuts"])
        if len({(cut.leaf, cut.axis) for cut in cuts}) < len(cuts):
            raise _wrong("cuts", fields["cuts"], "of different axes")
        blocks = tuple(fields["blocks"])
        if not all(isinstance(name, str) for name in blocks) or len(set(blocks)) < len(blocks):
            raise _wrong("blocks", fields["blocks"], "different names")
        layers = tuple((name, _rising(gone)) for name, gone in fields["layers"].items())
        if blocks and layers:
            raise _wrong("layers", fields["layers"], "empty in a removal of blocks")
        return cls(cuts, Divisors(fields["divisors"]), blocks, layers)


def as_removals(caller: str, removal: "Removal | Iterable[Removal]") -> tuple[Removal, ...]:
    """Removals one after the other, of which a single one may stand for itself.

    Raises:
      TypeError: given something else.
    """
    removals: tuple[Any, ...] = tuple(removal) if isinstance(removal, list | tuple) else (removal,)
    for each in removals:
        if not isinstance(each, Removal):
            raise TypeError(
                f"{caller}(removal=...) must be what verbs of structure give as `removal`, or a "
                f"list of these in the order in which they were made, not {type(each).__name__}."
            )
    return removals


def fault_of(removals: Sequence[Removal], shapes: Mapping[str, Sequence[int]]) -> str:
    """Why these removals do not leave leaves of these shapes; empty if they do."""
    sizes = {name: list(shape) for name, shape in shapes.items()}
    for removal in reversed(removals):
        if fault := removal.fault(sizes):
            return fault
        for cut in removal.cuts:
            sizes[cut.leaf][cut.axis] = cut.size
    return ""


def _listed(indices: tuple[Any, ...]) -> list[Any]:
    return [_listed(each) if isinstance(each, tuple) else each for each in indices]


def _wrong(name: str, value, wanted: str) -> ValueError:
    return ValueError(f"Removal.from_json({name}={shown(value)}) must be {wanted}.")


class _Indices(NamedTuple):
    """Rising indices, or as many for every layer, and the highest of all."""

    indices: tuple[Any, ...]
    highest: int

    @classmethod
    def of(cls, listed) -> "_Indices":
        nested = isinstance(listed, list) and any(isinstance(row, list) for row in listed)
        rows = tuple(map(_rising, listed)) if nested else (_rising(listed),)
        if len(set(map(len, rows))) > 1:
            raise _wrong("indices", listed, "equally many in every layer")
        return cls(rows if nested else rows[0], max(row[-1] for row in rows))


def _rising(indices) -> tuple[int, ...]:
    rising = isinstance(indices, list) and all(type(index) is int for index in indices)
    if not rising or not indices or indices[0] < 0:
        raise _wrong("indices", indices, "a list of indices")
    if any(low >= high for low, high in itertools.pairwise(indices)):
        raise _wrong("indices", indices, "rising")
    return tuple(indices)


def _cut(fields, known: list[_Indices]) -> LeafCut:
    match fields:
        case [str(leaf), axis, size, place] if all(type(n) is int for n in fields[1:]):
            if axis >= 0 and 0 <= place < len(known) and known[place].highest < size:
                return LeafCut(leaf, axis, size, known[place].indices)
    raise _wrong("cuts", fields, "[leaf, axis, size, position of indices below the size]")


def require_removal(caller: str, argument: str, value: object) -> None:
    """Raises a TypeError unless it is a `Removal`."""
    mend = "couplings(fn, params, *inputs).removal(units) makes one, and so does structure.plan."
    check_kind(caller, argument, value, Removal, mend)
