"""Calibration: runs a model over batches, and reads what its observers have learned."""

from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.batches import as_inputs, check_batch
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.evidence import missing
from jaxcompress.core.host import holds_nan
from jaxcompress.core.kinds import check_iterable
from jaxcompress.core.models import check_model
from jaxcompress.core.names import leaf_name
from jaxcompress.core.observers import Observer, Reading, counted, row_count
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph.observe import initial_readings, observe, observed_sites
from jaxcompress.graph.program import trace
from jaxcompress.graph.sites import Site


def calibrate(
    fn: Model, params: Params, batches: Iterable[Any], rules: Rules[Observer] | Observer
) -> dict[str, Reading]:
    """Runs the model over batches; returns what observers learned at each site.

    Not for: readings inside of a jitted step of your own; take `observe`.

    Also known as: calibration pass, collecting activation ranges.

    A reading says from how many rows it was learned: a weight in a branch that no batch
    took, or of an expert that got no tokens, has the count 0.

    Runs on the host: one jitted step per batch, compiled once per shape of batch. The
    model runs no further than its last observed site.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or compressed leaves.
      batches: each an input, or a tuple of the model's inputs; without NaN.
      rules: observers by leaf name, or one for every leaf.

    Returns:
      Dict from site name to `Reading(observer.read(state), count)`, in program order.
      Readings of scanned leaves are stacked: leading axes `site.stack`.

    Raises:
      ValueError: there is no batch, one is empty or holds a NaN, its shapes give
        readings of other shapes than the batches before, no data reach any observed
        site, what is read is NaN, or a rule matches no leaf with an observed site.
      TypeError: a leaf of the params or of a batch is no array; it is named.

    Example:
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> batches = [jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 0.0]])]
      >>> observer = jc.observers.second_moment()
      >>> readings = jc.graph.calibrate(fn, {"kernel": jnp.eye(2)}, batches, observer)
      >>> readings["kernel"].value, int(readings["kernel"].count)
      (Array([5., 2.], dtype=float32), 2)
    """
    check_model("calibrate", fn)
    check_arrays("calibrate", "params", params)
    check_iterable("calibrate", "batches", batches, "Pass [batch], also where there is one.")
    check_rules("calibrate", "rules", rules, Observer, "Pass one, as observers.second_moment().")
    check_concrete("calibrate", "Inside, graph.observe gives readings.", params=params)
    rules = Rules((pattern, counted(observer)) for pattern, observer in as_rules(rules).pairs)
    found = _read(fn, params, _checked(batches), rules)
    judged = jax.device_get(_judged({name: _numbers(reading) for name, reading in found.items()}))
    if found and not any(reached for reached, _ in judged.values()):
        raise ValueError(
            f"calibrate(batches): no row other than 0 reached any of {', '.join(found)}. "
            "Give data that reach them."
        )
    for name in found:
        if judged[name][1]:
            raise ValueError(
                f"calibrate(batches): what is read at site {name!r} is NaN. Infinities in the "
                "data, or a NaN in the params, lead there. Clean them."
            )
    return found


def _numbers(reading: Any) -> tuple[Array, list[Array]]:
    """The rows that a reading is from, and what it holds that may be NaN."""
    parts = jax.tree.leaves(reading.value)
    return reading.count, [x for x in parts if jnp.issubdtype(x.dtype, jnp.inexact)]


@jax.jit
def _judged(found: dict[str, tuple[Array, list[Array]]]) -> dict[str, tuple[Array, Array]]:
    """By site, whether data reached it, and if a slice that they reached is NaN."""

    def held(x: Array, count: Array) -> Array:
        # Rows of a product are counted by batch axes that its value may not have.
        shared = min(x.ndim, count.ndim)
        bad = jnp.any(jnp.isnan(x), axis=tuple(range(shared, x.ndim)))
        seen = jnp.any(count > 0, axis=tuple(range(shared, count.ndim)))
        return jnp.any(bad & seen)

    return {
        name: (jnp.any(count != 0), jnp.any(jnp.array([held(x, count) for x in parts], bool)))
        for name, (count, parts) in found.items()
    }


def unreached(fn: Model, params: Params, batches: Iterable[tuple[Any, ...]]) -> dict[str, str]:
    """Finds the leaves that no data reached, and says why, by name.

    One pass over the data, which counts rows. A leaf is judged where the program reads
    it in dots and convolutions alone: what meets a gather's table is not counted.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or compressed leaves.
      batches: each a tuple of the model's inputs; at least one.

    Returns:
      Reasons as `evidence.missing` gives; leaves that data reached, and those that are
      not judged, are not there.

    Example:
      >>> fn = lambda params, x: x @ params["in"] + (0 * x) @ params["rare"]
      >>> params = {"in": jnp.eye(2), "rare": jnp.eye(2)}
      >>> unreached(fn, params, [(jnp.ones((1, 2)),)])
      {'rare': 'no data reached it'}
    """
    batches = iter(batches)
    first = next(batches)
    program = trace(fn, params, *first)
    sites: dict[str, list[Site]] = {}
    for site in program.sites:
        for leaf in site.leaves:
            sites.setdefault(leaf.name, []).append(site)
    judged = {
        name: each
        for name, each in sites.items()
        if name not in program.lost and all(site.observable for site in each)
    }
    if not judged:
        return {}
    counts = _read(fn, params, chain([first], batches), as_rules(row_count()))
    found = {name: _missing([counts[site.name] for site in each]) for name, each in judged.items()}
    return {name: reason for name, reason in found.items() if reason}


def _missing(counts: list[Array]) -> str:
    """The reason, given the counts of rows at a leaf's sites; empty if reached."""
    # Of several sites one that data reached is enough: slice by slice where they have
    # the same slices, else as a whole.
    if len({count.shape for count in counts}) == 1:
        return missing(reduce(jnp.maximum, counts))
    reasons = [missing(count) for count in counts]
    return reasons[0] if all(reasons) else ""


def _read(
    fn: Model, params: Params, batches: Iterable[tuple[Any, ...]], rules: Rules[Observer]
) -> dict[str, Any]:
    """What the observers read, by site name, in program order."""
    observed = observe(fn, rules)
    # Only readings are returned, so XLA drops what comes after the last observed site.
    step = jax.jit(lambda params, inputs, readings: observed(params, *inputs, readings=readings)[1])
    program, observers, readings = None, {}, {}
    for inputs in batches:
        if program is None:  # readings begin with the shapes of the first batch
            program = trace(fn, params, *inputs)
            observers = observed_sites(program, rules)
            readings = initial_readings(program, observers)
        readings = step(params, inputs, readings)
    return {name: observer.read(readings[name]) for name, observer in observers.items()}


def _checked(batches: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """The batches as tuples of inputs; there is one, and none holds a NaN."""
    index = -1
    for index, batch in enumerate(batches):
        inputs = as_inputs(batch)
        check_concrete("calibrate", batches=[*[None] * index, inputs])
        check_no_nan("calibrate", f"batches[{index}]", inputs)
        check_batch("calibrate", index, batch)
        yield inputs
    if index < 0:
        raise ValueError("calibrate(batches) holds no batch. Pass at least one.")


def check_no_nan(caller: str, argument: str, inputs: tuple[Any, ...]) -> None:
    """Raises a ValueError for a NaN in an input, a TypeError for what is no array."""
    check_arrays(caller, argument, inputs)
    for path, leaf in jax.tree_util.tree_leaves_with_path(inputs):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) and holds_nan(leaf):
            raise ValueError(
                f"{caller}({argument}=...) holds a NaN in input {leaf_name(path)!r}. Clean the "
                "data, or leave the batch out."
            )
