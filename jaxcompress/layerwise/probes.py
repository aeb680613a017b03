"""How the inputs of a matrix are observed: at a cut, or by running on from it."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.leaf import materialize
from jaxcompress.core.observers import Observer
from jaxcompress.core.sharding import with_whole_results
from jaxcompress.core.types import Array
from jaxcompress.graph.interpret import Handler, interpret
from jaxcompress.graph.sites import Site
from jaxcompress.graph.steps import Step
from jaxcompress.layerwise.operations import Equation, Value, fused
from jaxcompress.layerwise.segments import Direct, Rerun, sites_in
from jaxcompress.layerwise.stream import Programs

Observing = Callable[[Site, int], Observer]
"""(site, executions of it in a batch) -> the observer of its data."""

States = list[Any]
"""One state for each observed site."""


class Probe(NamedTuple):
    """How the inputs of one matrix are observed.

    Attributes:
      inputs: the values that it takes.
      start: the states before any batch.
      step: (values, states) -> states, one batch later; compiled.
      own: states -> those of the matrix, one for each of its sites.
      sight: equal for probes at one cut that see the same.
    """

    inputs: tuple[Value, ...]
    start: States
    step: Callable[[Sequence[Any], States], States]
    own: Callable[[States], States]
    sight: Hashable


def probe(reading: Direct | Rerun, observing: Observing, programs: Programs) -> Probe:
    """How the observers of a matrix see what it meets."""
    if isinstance(reading, Direct):
        return _at_cut(reading, observing, programs)
    return _beyond_cut(reading, observing, programs)


def _at_cut(reading: Direct, observing: Observing, programs: Programs) -> Probe:
    observer, likeness = observing(reading.site, 1), _likeness(reading.site)

    def step(values: Sequence[Any], states: States) -> States:
        (data,), (state,) = materialize(values), states
        return [with_whole_results(observer.update, data, state)]

    data = jax.ShapeDtypeStruct(reading.site.data_shape, reading.site.data_dtype)
    return Probe(
        (reading.data,),
        [observer.init(data)],
        programs.of(("at a cut", observing, likeness), step),
        lambda states: states,
        (reading.data, likeness),
    )


def _beyond_cut(rerun: Rerun, observing: Observing, programs: Programs) -> Probe:
    """Runs on from the cut.

    Matrices that have the same homes share a program; states select the observers.
    """
    seen = [(home, site) for home in rerun.homes for site in sites_in(home)]
    observers = [_switched(observing(site, _executions(home.step, site))) for home, site in seen]
    pairs = list(zip(seen, observers, strict=True))
    handlers = {site.name: _reader(observer) for (_, site), observer in pairs}
    between = fused(rerun.operations, ())

    def step(values: Sequence[Any], states: States) -> States:
        known = dict(zip(between.inputs, materialize(values), strict=True))
        found = dict(zip(handlers, states, strict=True))
        for operation in rerun.operations:
            operands = [known[value] for value in operation.inputs]
            if isinstance(operation, Equation) and operation in rerun.homes:
                results, found = interpret(operation.block, operands, found, handlers)
            else:
                results = operation.run(*operands)
            known.update(zip(operation.outputs, results, strict=True))
        return list(found.values())

    mine = [_index(rerun, home.step, site) for home, site in seen]
    start = [
        _start(observer, home.step, site, index)
        for ((home, site), observer), index in zip(pairs, mine, strict=True)
    ]
    places = tuple(rerun.operations.index(home) for home in rerun.homes)
    likeness = (between.likeness, places, tuple(_likeness(site) for _, site in seen))

    def own(states: States) -> States:
        looked = zip(states, mine, strict=True)
        return [
            jax.tree.map(lambda x, at=index: x[at], state)
            for (_, state), index in looked
            if index is not None
        ]

    compiled = programs.of(("beyond a cut", observing, likeness), step)
    return Probe(between.inputs, start, compiled, own, rerun.turn)


def _likeness(site: Site) -> Hashable:
    """Equal for sites that show their data in the same form."""
    data = jax.ShapeDtypeStruct(site.data_shape, site.data_dtype)
    return str(jax.make_jaxpr(site.windows)(data)), site.differs_along


def _executions(step: Step, site: Site) -> int:
    """How often the equation meets data at a site, for each layer of a stack in it."""
    depths = range(step.depth, len(site.scans))
    return math.prod(site.scans[depth] for depth in depths if depth not in site.sliced_by)


def _index(rerun: Rerun, step: Step, site: Site) -> tuple[int, ...] | None:
    """Where the matrix is among the layers that the equation itself goes through.

    None where the site is of another leaf.
    """
    name, layers = rerun.turn
    if name not in [leaf.name for leaf in site.leaves]:
        return None
    placed = zip(site.sliced_by, layers, strict=True)
    return tuple(layer for depth, layer in placed if depth >= step.depth)


def _start(observer: Observer, step: Step, site: Site, index: tuple[int, ...] | None):
    """The state of a switched observer: it looks at one layer, or at none."""
    stack = tuple(site.scans[depth] for depth in site.sliced_by if depth >= step.depth)
    on, own = observer.init(jax.ShapeDtypeStruct(site.data_shape, site.data_dtype))
    on, own = jax.tree.map(lambda x: jnp.broadcast_to(x, (*stack, *jnp.shape(x))), (on, own))
    return (on if index is None else on.at[index].set(True)), own


def _switched(observer: Observer) -> Observer:
    """The observer that looks while its state says so; the state is (on, its own).

    So the matrices in one loop share one compiled program, and each run takes windows
    of one matrix's data alone.
    """

    def update(x: Array, state):
        on, own = state
        return on, jax.lax.cond(on, observer.update, lambda x, own: own, x, own)

    return observer._replace(init=lambda x: (jnp.zeros((), bool), observer.init(x)), update=update)


def _reader(observer: Observer) -> Handler:
    def handler(site, apply, data, weight, state):
        return apply(data, weight), with_whole_results(observer.update, data, state)

    return handler
