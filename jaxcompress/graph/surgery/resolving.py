"""A removal in terms of a program's own axes, and a program's params before it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.types import Params
from jaxcompress.graph.avals import struct_of
from jaxcompress.graph.surgery.axis_rules.rule import Dims, Record
from jaxcompress.graph.surgery.dims import atoms
from jaxcompress.graph.surgery.kept import RemovedIndices, keep, positions
from jaxcompress.graph.surgery.removal import LeafCut, Removal
from jaxcompress.graph.surgery.writer import Arrays, Edit

_MOST_SHOWN = 8
"""Axes of leaves that a message names."""


class Smaller(NamedTuple):
    """How a program without some of its parts is written.

    Attributes:
      cuts: indices that its leaves lose, which say whether a removal fits.
      arrays: what its arrays hold.
      edits: what equations do instead.
    """

    cuts: tuple[LeafCut, ...]
    arrays: Arrays
    edits: Mapping[Record, Edit]


def cuts_of(leaves: Mapping[str, Dims], removed: RemovedIndices) -> Removal:
    """What the leaves lose with these indices of atoms."""
    cuts = []
    for leaf, dims in leaves.items():
        for axis, d in enumerate(dims):
            gone = ~keep(d, removed)
            if gone.any():
                cuts.append(LeafCut(leaf, axis, d.size, _indices(gone)))
    return Removal(tuple(cuts))


def _indices(gone: np.ndarray) -> tuple[Any, ...]:
    if gone.ndim == 1:
        return tuple(np.flatnonzero(gone).tolist())
    return tuple(_indices(layer) for layer in gone)


def resolve(caller: str, removal: Removal, leaves: Mapping[str, Dims]) -> RemovedIndices:
    """The removal in terms of a program's own atoms.

    Raises:
      ValueError: the removal is not of units, a leaf is missing or of another size, or
        at these shapes the program couples the axes otherwise.
    """
    if removal.blocks or removal.layers:
        raise ValueError(
            f"{caller}: the removal is of {', '.join(removal.blocks) or dict(removal.layers)}, not "
            "of units. "
            "with_block_gates and with_layer_gates pass blocks and layers by."
        )
    removed: dict[Any, Any] = {}
    for cut in removal.cuts:
        whole = tuple(d.size for d in leaves.get(cut.leaf, ()))
        if cut.axis >= len(whole) or whole[cut.axis] != cut.size:
            raise ValueError(misfit(caller, removal, f"leaf {cut.leaf!r} has shape {whole}"))
        d = leaves[cut.leaf][cut.axis]
        for atom in atoms(d):
            # A unit went where all of its indices along the axis did.
            gone = cut.gone[..., positions(d, atom)].all(axis=-1)  # ((layers,) units)
            if gone.any():
                removed[atom] = gone
    for atom in removed:
        if atom.pins:
            why = "an axis must stay whole at these input shapes"
            raise ValueError(misfit(caller, removal, why))
    # Read back from the atoms, the same cuts must come out; else the removal was made
    # where other axes went together.
    if set(cuts_of(leaves, removed).cuts) != set(removal.cuts):
        why = "the axes are coupled otherwise at these input shapes"
        raise ValueError(misfit(caller, removal, why))
    return removed


def misfit(caller: str, removal: Removal, why: str) -> str:
    """What is wrong with a removal that does not fit a program."""
    places = [f"{cut.leaf} axis {cut.axis}" for cut in removal.cuts]
    shown = ", ".join(places[:_MOST_SHOWN]) + " …" * (len(places) > _MOST_SHOWN)
    return (
        f"{caller}: the removal from {shown} does not fit the program: {why}. Pass the function "
        "that it was made for, and inputs of the same shapes."
    )


def restored(caller: str, params: Params, removal: Removal) -> Params:
    """Shapes and dtypes of the params as they were before the removal.

    Raises:
      ValueError: a leaf is missing or does not have the size that the removal leaves.
    """
    shapes = {name: np.shape(leaf) for name, leaf in named_leaves(params).items()}
    if fault := removal.fault(shapes):
        raise ValueError(
            f"{caller}: {fault}. Pass the params without what was removed, as they came with this "
            "model or as graph.surgery.slice_params gives them."
        )

    def before(name: str, leaf):
        shape = list(np.shape(leaf))
        for cut in removal.of(name):
            shape[cut.axis] = cut.size
        if is_compressed(leaf):
            return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)
        return struct_of(jax.typeof(leaf), shape)

    return map_named(before, params)
