"""Which moved scales serve which weights: one for each channel that weights read."""

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.batches import as_batches, as_inputs
from jaxcompress.core.checks import check_finite
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.observers import Observer
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.calibrate import check_no_nan
from jaxcompress.graph.observe import initial_readings, observe, observed_sites, windows
from jaxcompress.graph.program import Program
from jaxcompress.graph.sites import Site
from jaxcompress.graph.symmetries import Scaling, Scalings
from jaxcompress.layerwise.frontier import all_finite
from jaxcompress.layerwise.turns import no_matrix, reading_axes

UNMOVED = -1
"""The channel of an input that a scaling leaves as it is."""


class Reader(NamedTuple):
    """A weight that divides by the factors which its data are multiplied by.

    Attributes:
      site: where it meets the data.
      leaf: its name.
      roles: its axes as matrices, in the order of readings.
      channels: int (matrices, inputs), which factor each input takes, or `UNMOVED`.
      entries: the same in the leaf's own layout, size one along its outputs.
    """

    site: Site
    leaf: str
    roles: LeafAxes
    channels: np.ndarray
    entries: np.ndarray


class Way(NamedTuple):
    """A scaling and the weights that read its channels.

    Attributes:
      scaling: the scaling.
      readers: the weights.
      groups: int (channels,): channels with one number are read by the same matrices,
        as those of one layer of a stack are.
    """

    scaling: Scaling
    readers: tuple[Reader, ...]
    groups: np.ndarray


def check_weights(caller: str, params: Params, program: Program) -> None:
    """Raises a ValueError for a weight with an entry that is not finite."""
    weights = {leaf.name for site in program.sites for leaf in site.leaves}
    for name, leaf in named_leaves(params).items():
        if name in weights and not is_compressed(leaf):
            check_finite(caller, name, jnp.asarray(leaf))


def checked_batches(caller: str, batches: Iterable[Any]) -> list[tuple[Any, ...]]:
    """The batches as tuples of inputs: at least one, none empty or with a NaN."""
    inputs = [as_inputs(batch) for batch in as_batches(caller, batches)]
    for number, each in enumerate(inputs):
        check_no_nan(caller, f"batches[{number}]", each)
    return inputs


def ways_of(program: Program, found: Scalings) -> list[Way]:
    """One way for each channel that matrices read: that which changes fewest others."""
    weights = {leaf.name for site in program.sites for leaf in site.leaves}

    def changes(scaling: Scaling) -> tuple[int, int]:
        made = [m for m in scaling.moves if m.leaf in weights and not m.contracting]
        return len(made), len(scaling.moves)

    ways, taken = [], set()
    for scaling in sorted(found.all, key=changes):
        readers = readers_of(program, scaling)
        places = {
            (reader.site.name, *place)
            for reader in readers
            for place in np.argwhere(reader.channels != UNMOVED).tolist()
        }
        places = {(name, *map(int, rest)) for name, *rest in places}
        if readers and not places & taken:
            taken |= places
            ways.append(Way(scaling, readers, _groups(scaling.size, readers)))
    order = {site.name: number for number, site in enumerate(program.sites)}
    return sorted(ways, key=lambda way: order[way.readers[0].site.name])


def readers_of(program: Program, scaling: Scaling) -> tuple[Reader, ...]:
    """The matrices that divide by the factors; none if one of them is no matrix."""
    found = []
    for move in scaling.moves:
        if not move.contracting:
            continue
        sites = [
            site
            for site in program.sites
            if site.name in scaling.reads and move.leaf in [leaf.name for leaf in site.leaves]
        ]
        # Another degree than -1, or two, would take another rule of what is best.
        if not sites or move.degree != -1 or no_matrix(program, move.leaf) is not None:
            return ()
        for site in sites:
            roles = reading_axes(site)
            shape = next(leaf.shape for leaf in site.leaves if leaf.name == move.leaf)
            sizes = [1 if axis in roles.output else size for axis, size in enumerate(shape)]
            entries = np.broadcast_to(move.channels, sizes)
            inputs = int(np.prod([shape[axis] for axis in roles.contracting]))
            channels = entries.transpose(roles.order).reshape(-1, inputs)
            found.append(Reader(site, move.leaf, roles, channels, move.channels))
    return tuple(found)


def _groups(size: int, readers: Iterable[Reader]) -> np.ndarray:
    """The smallest channel that is read together with each."""
    group = np.arange(size)
    rows = [row[row != UNMOVED] for reader in readers for row in reader.channels]
    while True:
        before = group.copy()
        for row in rows:
            if row.size:
                group[row] = group[row].min()
        if np.array_equal(group, before):
            return np.unique(group, return_inverse=True)[1]


def of_matrices(
    caller: str,
    fn: Model,
    program: Program,
    batches: Sequence[tuple[Any, ...]],
    observers: Mapping[str, Observer],
) -> Callable[[Params], dict[str, Any]]:
    """Makes the function from params to what observers of leaves read over the batches.

    By site name, of each matrix on a leading axis. It compiles once. What is read must
    be finite, else it is a ValueError of the caller.
    """
    if not observers:
        return lambda params: {}
    rules = Rules({glob.escape(leaf): observer for leaf, observer in observers.items()})
    observed = observe(fn, rules, of=windows)
    step = jax.jit(lambda params, inputs, readings: observed(params, *inputs, readings=readings)[1])
    at = observed_sites(program, rules, windows)

    def read(params: Params) -> dict[str, Any]:
        readings = initial_readings(program, at)
        for inputs in batches:
            readings = step(params, inputs, readings)
        found = {name: observer.read(readings[name]) for name, observer in at.items()}
        for name, each in found.items():
            if not all(bool(all_finite(x)) for x in jax.tree.leaves(each)):
                raise ValueError(
                    f"{caller}(batches=...): what the weight of site {name!r} meets is not "
                    "finite. Clean the data and the params, or scale them."
                )
        return {
            name: jax.tree.map(partial(_flat, len(program.places[name].axes.batch)), each)
            for name, each in found.items()
        }

    return read


def _flat(batch: int, x: Array) -> Array:
    """(stack…, batch…, …) to (matrices, …)."""
    return x.reshape(-1, *x.shape[batch:])
