"""Families of units: the indices of one axis, wherever the program carries it."""

import dataclasses
import functools

import numpy as np

from jaxcompress.core.kinds import check_each, check_kind
from jaxcompress.graph.surgery.dims import Dim
from jaxcompress.graph.surgery.kept import positions


@dataclasses.dataclass(frozen=True)
class Place:
    """One axis of one leaf that a family runs along.

    Attributes:
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

    Attributes:
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


def check_families(caller: str, families: object) -> None:
    """Raises a TypeError unless it is a list or tuple of families."""
    mend = "Take those of graph.couplings(fn, params, *inputs)."
    check_each(
        caller,
        "families",
        families,
        lambda caller, argument, each: check_kind(caller, argument, each, Family, mend),
    )
