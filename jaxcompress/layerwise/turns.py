"""Turns: which matrix of a program comes when, and the inputs it meets at its turn."""

import dataclasses
import functools
import glob
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.observers import Observer, covariance, row_count, together
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.observe import (
    Readings,
    initial_readings,
    observe,
    observed_sites,
    rows,
    windows,
)
from jaxcompress.graph.program import Program
from jaxcompress.graph.sites import Site
from jaxcompress.graph.steps import Block

Sites = dict[str, list[Site]]
"""The sites of each leaf, by its name."""
Turn = tuple[str, tuple[int, ...]]
"""A leaf's name and the index of one of its layers along the stack of its sites."""


def sites_of(caller: str, program: Program, names: Iterable[str]) -> Sites:
    """The sites of leaves that multiply vectors, and all of them in one way.

    Raises:
      ValueError: a leaf has no site, one that is no dot or convolution, or is one in
        groups, or sites that differ, read a part of it, another weight made of it or
        its entries in another order; named by `caller`.
    """
    found = {}
    for name in names:
        found[name] = [s for s in program.sites if name in [leaf.name for leaf in s.leaves]]
        _check_matrix(caller, name, found[name])
        _check_entries(caller, name, found[name])
    return found


def _check_matrix(caller: str, name: str, sites: Sequence[Site]) -> None:
    if any(site.grouped for site in sites):
        raise ValueError(
            f"{caller}: leaf {name!r} meets data in a grouped convolution, whose outputs meet "
            "different inputs. Leave it out with select=, or prune it with one_shot and wanda."
        )
    wanted = {_wanted_shape(name, site) for site in sites}
    alike = {(reading_axes(site), site.stack) for site in sites}
    if len(alike) != 1 or {_met_shape(site) for site in sites} != wanted:
        met = ", ".join(dict.fromkeys(site.primitive for site in sites)) or "no data"
        raise ValueError(
            f"{caller}: leaf {name!r} meets {met}; it has to meet data in dots or convolutions "
            "that read all of it alike. Leave it out with select=, or prune it with one_shot and "
            "wanda."
        )


def _check_entries(caller: str, name: str, sites: Sequence[Site]) -> None:
    if not all(site.as_stored for site in sites):
        raise ValueError(
            f"{caller}: leaf {name!r} meets data as what arithmetic makes of it, not as it is "
            "stored. Store the product, leave it out with select=, or prune it with one_shot."
        )
    if not all(site.in_order for site in sites):
        raise ValueError(
            f"{caller}: leaf {name!r} meets data with entries of an axis in another order, as "
            "after a flip or a roll. Store it in that order, leave it out with select=, or prune "
            "it with one_shot."
        )


def turns(block: Block, sites: Sites, scans: tuple[int, ...] = ()) -> Iterator[Turn]:
    """The leaves in the order of the program, those of a stack layer by layer.

    A leaf with several sites comes again at each.

    Args:
      block: of the program.
      sites: of the leaves.
      scans: which turn each scan around the block is at.
    """
    for step in block.steps:
        around = step.eqn.primitive.name == "scan"
        for turn in _order(step.eqn.params) if around and step.stacked else (0,):
            for inner in step.blocks:
                yield from turns(inner, sites, (*scans, turn) if around else scans)
        for site in step.sites.values() if not step.blocks else ():
            index = tuple(scans[depth] for depth in site.sliced_by)
            yield from ((leaf.name, index) for leaf in site.leaves if leaf.name in sites)


def _order(scan: Mapping[str, Any]) -> range:
    """Which layer of a scan comes when."""
    layers = range(scan["length"])
    return layers[::-1] if scan["reverse"] else layers


class Moments(NamedTuple):
    """What leaves meet, by one program for all of them.

    Fields:
      counts: params -> by leaf name, (stack…, batch…) int32: the rows with an entry
        other than 0 that its matrices meet.
      read: (params, turn) -> E[x xᵀ] of a leaf's matrices at its turn.
    """

    counts: Callable[[Params], dict[str, Array]]
    read: Callable[[Params, Turn], Array]


def second_moments(fn: Model, program: Program, batches: Sequence[tuple], sites: Sites) -> Moments:
    """What leaves meet when it is their turn.

    One program serves all turns: states say which observers look. Only they take
    windows of the data; rows are counted by all.
    """
    met = [site.leaf for each in sites.values() for site in each]
    rules = Rules({glob.escape(leaf): covariance() for leaf in met})
    start = initial_readings(program, observed_sites(program, rules, _switched_windows))
    observed = observe(fn, rules, of=_switched_windows)

    @functools.partial(jax.jit, donate_argnums=2)
    def step(params: Params, inputs: tuple, readings: Readings) -> Readings:
        return observed(params, *inputs, readings=readings)[1]

    def over_batches(params: Params, readings: Readings) -> Readings:
        for inputs in batches:
            readings = step(params, inputs, readings)
        return readings

    def counts(params: Params) -> dict[str, Array]:
        readings = over_batches(params, jax.tree.map(jnp.copy, start))
        return {
            name: functools.reduce(row_count().merge, (readings[site.name][1] for site in each))
            for name, each in sites.items()
        }

    def read(params: Params, turn: Turn) -> Array:
        name, index = turn
        readings = jax.tree.map(jnp.copy, start)
        for site in sites[name]:
            (on, state), count = readings[site.name]
            readings[site.name] = (on.at[index].set(True), state), count
        readings = over_batches(params, readings)
        states = [
            jax.tree.map(lambda each: each[index], readings[site.name][0][1])
            for site in sites[name]
        ]
        return covariance().read(functools.reduce(covariance().merge, states))

    return Moments(counts, read)


def _switched_windows(site: Site, observer: Observer) -> Observer:
    """Counts the rows of every execution; takes windows while it is switched on."""
    return together(_switched(windows(site, observer)), rows(site, row_count()))


def _switched(observer: Observer) -> Observer:
    """The observer that looks while its state says so; the state is (on, its own)."""

    def update(x, state):
        on, own = state
        return on, jax.lax.cond(on, observer.update, lambda x, own: own, x, own)

    return Observer(
        init=lambda x: (jnp.zeros((), bool), observer.init(x)),
        update=update,
        read=lambda state: observer.read(state[1]),
        merge=lambda first, second: (first[0] | second[0], observer.merge(first[1], second[1])),
    )


def reading_axes(site: Site) -> LeafAxes:
    """The roles of the leaf's axes, its batch axes in the order that readings have.

    Those that scans slice come first, wherever they lie in the leaf.
    """
    left = {part.axis for parts in site.operand_parts for part in parts}
    batch = sorted(site.axes.batch, key=lambda axis: (axis in left, axis))
    return dataclasses.replace(site.axes, batch=tuple(batch))


def _wanted_shape(name: str, site: Site) -> tuple[int, ...]:
    """(batch…, inputs) of the leaf."""
    (shape,) = [leaf.shape for leaf in site.leaves if leaf.name == name]
    axes = reading_axes(site)
    inputs = math.prod(shape[axis] for axis in axes.contracting)
    return (*(shape[axis] for axis in axes.batch), inputs)


def _met_shape(site: Site) -> tuple[int, ...]:
    """(batch…, inputs) of the data, with layers of scans; empty if data are indices."""
    if not site.observable:
        return ()
    data = jax.ShapeDtypeStruct(site.data_shape, site.data_dtype)
    *batch, _, inputs = jax.eval_shape(site.windows, data).shape
    return (*site.stack, *batch, inputs)
