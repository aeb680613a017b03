"""Observing: a model that also keeps statistics of the data that meet its weights.

A statistic is an `Observer`, its state a reading. Gradients are not kept: `capture`
gives values to differentiate.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_function, check_kind
from jaxcompress.core.models import check_model
from jaxcompress.core.observers import Observer
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.sharding import with_whole_results
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.choice import choose
from jaxcompress.graph.interpret import Handler
from jaxcompress.graph.program import Program, trace
from jaxcompress.graph.rewrite import run_program
from jaxcompress.graph.sites import Site

Readings = dict[str, Any]
"""State of an observer by site name."""

Vectors = Callable[[Site, Observer], Observer]
"""Which vectors of a site's data an observer sees: gives the observer of the data."""

_NOTHING_YET: Mapping[str, Any] = MappingProxyType({})


def rows(site: Site, observer: Observer) -> Observer:
    """Shows the rows of a dot, and at a convolution the features of each position."""
    _check_view("rows", site, observer)
    return _shown(site, site.rows, observer)


def windows(site: Site, observer: Observer) -> Observer:
    """Shows the rows of a dot, and the windows of a convolution that is not grouped."""
    _check_view("windows", site, observer)
    return _shown(site, site.windows, observer)


def _shown(site: Site, vectors: Callable[[Array], Array], observer: Observer) -> Observer:
    return observer._replace(
        init=lambda data: observer.init(jax.eval_shape(vectors, data)),
        update=lambda data, state: observer.update(_of_all_devices(site, vectors(data)), state),
    )


def _of_all_devices(site: Site, vectors: Array) -> Array:
    """(batch…, rows, inputs) with the rows of every device that has others."""
    # Every device sees all rows, so that readings are equal whatever an observer does.
    if not site.differs_along:
        return vectors
    return jax.lax.all_gather(vectors, site.differs_along, axis=vectors.ndim - 2, tiled=True)


def observe(fn: Model, rules: Rules[Observer] | Observer, of: Vectors = rows) -> Callable[..., Any]:
    """Returns the model that also updates observers with the data its weights meet.

    Not for: a plain pass over batches; `calibrate` runs it and gives the readings.

    Also known as: calibration hooks, activation statistics.

    The observer of a site gets `site.rows(data)`: (batch…, rows, contracting) at a dot,
    (rows, in features) at a convolution. With `of=windows` it is `site.windows(data)`,
    at a convolution (rows, inputs of a window). Gathers, whose data are indices,
    are not observed.

        a site in a scan that slices its leaf    one state per slice: leading axes
          (a product: that slices any leaf)      `site.stack`
        in any other loop                        one state, carried from turn to turn
        in a branch not taken                    the state stays as it was
        in the condition of a while loop         not observed
        in a shard_map                           one state, of the rows of all devices;
                                                 none where a device has parts of rows

    Outputs and gradients are those of `fn`, bit for bit; readings have no gradient.
    Under jit the data are whole, however they are sharded, and so are the readings. The
    model is traced again in each call: jit the result.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      rules: observers by leaf name, or one for every leaf; or by the name of a product,
        whose first operand is then the data. A pattern for products begins with "@".
      of: which vectors of the data observers see, `rows` or `windows`.

    Returns:
      `observed(params, *inputs, readings={}) -> (outputs, readings)`, where readings is
      a dict from site name to observer state. Pass the last readings to go on from
      them; a site without one begins with `observer.init`.

    Raises:
      ValueError: when called, a rule matches no leaf with an observed site, or a
        reading is of no site, or of another shape than the observer's; or windows are
        asked of a grouped convolution.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> observed = jc.graph.observe(fn, jc.quantize.ranges.min_max())
      >>> _, readings = observed({"kernel": jnp.eye(2)}, jnp.array([[-1.0, 3.0]]))
      >>> float(readings["kernel"].low), float(readings["kernel"].high)
      (-1.0, 3.0)
    """
    check_model("observe", fn)
    check_rules("observe", "rules", rules, Observer, "Pass one, as observers.second_moment().")
    check_function("observe", "of", of, "Pass graph.rows or graph.windows.")
    rules = as_rules(rules)

    @functools.wraps(fn)
    def observed(params: Params, *inputs, readings: Mapping[str, Any] = _NOTHING_YET):
        program = trace(fn, params, *inputs)
        observers = observed_sites(program, rules, of)
        states = _resumed(initial_readings(program, observers), readings)
        handlers = {name: _reader(observer) for name, observer in observers.items()}
        return run_program(program, params, inputs, states, handlers)

    return observed


def observed_sites(
    program: Program, rules: Rules[Observer], of: Vectors = rows
) -> dict[str, Observer]:
    """The observer of the data of each site that the rules observe, by site name."""
    places = program.places
    chosen = choose(program, rules, lambda site: site.leaf, lambda site: site.observable)
    return {name: of(places[name], observer) for name, observer in chosen.items()}


def initial_readings(program: Program, observers: dict[str, Observer]) -> Readings:
    """The readings before any data, stacked for sites of scanned leaves."""
    places = program.places
    return {name: _initial(places[name], each) for name, each in observers.items()}


def _initial(site: Site, observer: Observer):
    data = jax.ShapeDtypeStruct(site.data_shape, site.data_dtype)
    state = observer.init(data)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (*site.stack, *jnp.shape(x))), state)


def _reader(observer: Observer) -> Handler:
    def handler(site, apply, data, weight, state):
        # Without it the model's derivative would run through the observer as well.
        seen = jax.lax.stop_gradient(data)
        # Rows merge axes that an explicit mesh keeps apart.
        return apply(data, weight), with_whole_results(observer.update, seen, state)

    return handler


def _resumed(initial: Readings, readings: Mapping[str, Any]) -> Readings:
    for name, state in readings.items():
        if name not in initial:
            raise ValueError(
                f"observe(readings=...): {name!r} is no observed site. "
                f"Sites are: {', '.join(initial)}."
            )
        if _shapes(state) != _shapes(initial[name]):
            raise ValueError(
                f"observe(readings=...): the reading of site {name!r} has shapes "
                f"{_shapes(state)}, data of these shapes make {_shapes(initial[name])}. "
                "Begin anew, or keep the sizes that the observer's state depends on."
            )
    return {**initial, **readings}


def _shapes(state) -> list[tuple[int, ...]]:
    return [jnp.shape(x) for x in jax.tree.leaves(state)]


def _check_view(caller: str, site: object, observer: object) -> None:
    check_kind(caller, "site", site, Site, "Take one of graph.trace(...).sites.")
    check_kind(caller, "observer", observer, Observer, "For example observers.second_moment().")
