"""What is removed: indices of the leaves' axes, a value that outlives its program."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named
from jaxcompress.core.types import Params
from jaxcompress.graph.avals import struct_of
from jaxcompress.graph.surgery.axis_rules.rule import Dims
from jaxcompress.graph.surgery.dims import atoms
from jaxcompress.graph.surgery.divisors import Divisors
from jaxcompress.graph.surgery.kept import RemovedIndices, keep, positions


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
    indices: tuple

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
        return np.asarray(self.indices).shape[-1]


@dataclasses.dataclass(frozen=True)
class Removal:
    """What a model loses, at every leaf axis; made by `Couplings.removal`.

    Attributes:
      cuts: indices that leaves lose.
      divisors: what means over removed units divide by in the smaller program.
    """

    cuts: tuple[LeafCut, ...]
    divisors: Divisors = Divisors.KEPT

    def of(self, leaf: str) -> tuple[LeafCut, ...]:
        """The cuts of one leaf."""
        return tuple(cut for cut in self.cuts if cut.leaf == leaf)


def cuts_of(leaves: Mapping[str, Dims], removed: RemovedIndices) -> Removal:
    """What the leaves lose with these indices of atoms."""
    cuts = []
    for leaf, dims in leaves.items():
        for axis, d in enumerate(dims):
            gone = ~keep(d, removed)
            if gone.any():
                cuts.append(LeafCut(leaf, axis, d.size, _indices(gone)))
    return Removal(tuple(cuts))


def _indices(gone: np.ndarray) -> tuple:
    if gone.ndim == 1:
        return tuple(np.flatnonzero(gone).tolist())
    return tuple(_indices(layer) for layer in gone)


def resolve(removal: Removal, leaves: Mapping[str, Dims]) -> RemovedIndices:
    """The removal in terms of a program's own atoms.

    Raises:
      ValueError: a leaf is missing, or at these shapes the program couples
        the axes otherwise.
    """
    removed: dict = {}
    for cut in removal.cuts:
        if cut.leaf not in leaves:
            raise ValueError(
                f"shrink: the removal cuts leaf {cut.leaf!r}, which the params do not have."
            )
        d = leaves[cut.leaf][cut.axis]
        for atom in atoms(d):
            # A unit went where all of its indices along the axis did.
            gone = cut.gone[..., positions(d, atom)].all(axis=-1)  # ((layers,) units)
            if gone.any():
                removed[atom] = gone
    for atom in removed:
        if atom.pins:
            raise ValueError(_misfit(removal, "an axis must stay whole at these input shapes"))
    # Read back from the atoms, the same cuts must come out; else the removal was made
    # where other axes went together.
    if cuts_of(leaves, removed).cuts != removal.cuts:
        raise ValueError(_misfit(removal, "the axes are coupled otherwise at these input shapes"))
    return removed


def _misfit(removal: Removal, why: str) -> str:
    places = ", ".join(f"{cut.leaf} axis {cut.axis}" for cut in removal.cuts)
    return (
        f"shrink: the removal from {places} does not fit the program: {why}. "
        "Take the couplings of the same function on inputs of these shapes."
    )


def restored(params: Params, removal: Removal) -> Params:
    """Shapes and dtypes of the params as they were before the removal.

    Raises:
      ValueError: a leaf does not have the size that the removal leaves.
    """

    def before(name: str, leaf):
        shape = list(leaf.shape)
        for cut in removal.of(name):
            if shape[cut.axis] != cut.size - cut.count:
                raise ValueError(
                    f"shrink: leaf {name!r} has size {shape[cut.axis]} along axis {cut.axis}; "
                    f"the removal leaves {cut.size - cut.count} of {cut.size}. "
                    "Pass graph.surgery.slice_params(params, removed)."
                )
            shape[cut.axis] = cut.size
        if is_compressed(leaf):
            return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)
        return struct_of(jax.typeof(leaf), shape)

    return map_named(before, params)
