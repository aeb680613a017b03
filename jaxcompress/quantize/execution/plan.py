"""Measures how a model runs fastest on codes: each site alone, then the whole model."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_untraced
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.models import check_model
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.timing import Probe, median_seconds
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph import Site, rewrite
from jaxcompress.quantize.execution.activations import Activations, check_activations, dynamic
from jaxcompress.quantize.execution.choices import (
    DENSE,
    PLANNED,
    ChosenForm,
    ExecutionPlan,
    gains,
    plan_report,
)
from jaxcompress.quantize.execution.forms import Form, by_name, possible
from jaxcompress.quantize.execution.parts import WITH_CODES
from jaxcompress.quantize.execution.run import device, in_forms
from jaxcompress.quantize.execution.signs import are_signs

LEAST = 0.95
"""A plan must be this many times as fast as the dense model; below 1 for the noise of a
measurement, and since codes take a quarter of the memory."""


def plan_execution(
    fn: Model,
    params: Params,
    *inputs: PyTree,
    activations: Activations | None = dynamic(),
    probe: Probe = median_seconds,
) -> ExecutionPlan:
    """Measures how a model runs fastest on the codes of its weights on this device.

    Integer products are not always faster: it depends on the device, the shapes and the
    number of rows. So each site is timed by itself, once per kind of site,
    in these forms:

        bits          signs times signs, 32 in a word, where both are -1, 0 or 1
        integer       codes times codes, int8 × int8 -> int32, both scales after
        scaled        codes widened to the data's dtype, the scale after
        materialized  the model's own equation on the array formed from the codes
        dense         the same on an array held in memory, to compare with

    A site alone is not that site in its model, so the whole model is timed next, on
    codes and on plain arrays. Where it is slower, leaves are held dense, those that win
    least first, until it is not. Each trial compiles the model; there are at most a few
    more than log2 of the number of leaves.

    The first two forms round the data as well as the weights, so outputs depend on what
    was fastest: by 8 bits of data a row, unless `activations` say otherwise. Pass
    `activations=None` where outputs must be those of the stored weights, up to the
    rounding of the data's dtype: then only the other forms are timed.

    Call it outside of jit.

    Args:
      fn: fn(params, *inputs) -> outputs.
      params: with `QTensor`, `Corrected` or `Rotated` leaves.
      inputs: of the shapes that will be run; arrays or shapes, for which ones are run.
      activations: how data become codes in the integer form: `dynamic()` by default,
        `dynamic(digits=2)` for 16 bits, `static(readings)` for calibrated ranges, None
        to leave the data as they are (weight-only quantization).
      probe: times functions; replace it to decide otherwise. It is called with the
        forms of each kind of site, then with "dense" and "planned" for the model.

    Returns:
      ExecutionPlan for `run`, at least 0.95 times as fast as the dense model when run
      on `plan.hold(params)`; print it for a table of what was timed and chosen, which
      also names sites without calibrated ranges since no data reached them.

    Raises:
      TypeError: `activations` are neither made by these nor None.
      ValueError: no leaf is quantized, or `activations` are not symmetric codes of at
        most 8 bits.

    Example:
      >>> params, _ = jc.quantize.quantize({"kernel": jnp.eye(4)}, jc.quantize.int8())
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> fastest = jc.quantize.plan_execution(fn, params, jnp.ones((2, 4)))
      >>> sorted(fastest.choices[0].seconds)
      ['dense', 'integer', 'materialized', 'scaled']
    """
    check_model("plan_execution", fn)
    check_arrays("plan_execution", "params", params)
    check_arrays("plan_execution", "inputs", inputs)
    check_untraced("plan_execution", params=params, inputs=inputs)
    check_takes("plan_execution", "probe", probe, 1, "See core.timing.Probe.")
    if activations is not None:
        _check_codes("plan_execution", activations)
    leaves = named_leaves(params)
    quantized = [name for name, leaf in leaves.items() if isinstance(leaf, WITH_CODES)]
    if not quantized:
        raise ValueError(
            "plan_execution(params=...) has no quantized leaf. Make them with quantize(...)."
        )
    forms = by_name(activations)
    # What else an equation takes, as sizes of groups, is not there to time it with.
    stops = [
        stop
        for stop in _stops(fn, params, inputs)
        if stop.site.leaf in quantized and stop.site.is_pair
    ]
    choices = _choices(stops, activations, probe)
    running = in_forms(fn, {choice.site: forms[choice.form] for choice in choices})
    dense_leaves, seconds = _settle(_trial(running, params, inputs, probe), gains(choices))
    unreached = activations.unreached if activations else ()
    report = plan_report(params, choices, dense_leaves, seconds, unreached)
    return ExecutionPlan(choices, dense_leaves, seconds, activations, device(), report)


def _settle(
    time: "Trial", saved: Mapping[str, float]
) -> tuple[tuple[str, ...], Mapping[str, float]]:
    """Holds more leaves dense until the model is fast; gives them and its seconds.

    Args:
      time: times the model with some leaves held dense.
      saved: seconds that each leaf on codes saves, going by its sites alone, least
        first.
    """
    leaves = tuple(saved)
    if not leaves:
        return (), {}
    losing = leaves[: sum(seconds < 0 for seconds in saved.values())]
    # A site alone speaks for neither: all leaves on codes, or those that win alone.
    first = {held: time(held) for held in {(): None, losing: None} if len(held) < len(leaves)}
    held, seconds = max(first.items(), key=lambda trial: _speedup(trial[1]))
    step = 1
    while _speedup(seconds) < LEAST:
        # The step doubles, since each trial compiles the whole model.
        count = len(losing) + step
        if count >= len(leaves):
            return leaves, {}
        held = leaves[:count]
        seconds = time(held)
        step *= 2
    return held, seconds


def _speedup(seconds: Mapping[str, float]) -> float:
    return seconds[DENSE] / seconds[PLANNED]


Trial = Callable[[tuple[str, ...]], Mapping[str, float]]
"""Names of leaves to hold dense to the seconds of the model, "dense" and "planned"."""


def _trial(running: Model, params: Params, inputs: tuple[Any, ...], probe: Probe) -> Trial:
    """Makes the function that times the whole model with some leaves held dense."""
    jitted = jax.jit(running)

    @cache
    def arguments():
        codes, data = jax.tree.map(
            lambda x: jnp.ones(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x,
            (params, inputs),
        )
        arrays = jax.tree.map(
            lambda leaf: leaf.materialize() if isinstance(leaf, WITH_CODES) else leaf,
            codes,
            is_leaf=is_compressed,
        )
        return codes, arrays, data

    @cache
    def held_dense(names: tuple[str, ...]) -> Params:
        codes, arrays, _ = arguments()
        return map_named(lambda name, leaf, array: array if name in names else leaf, codes, arrays)

    def dense():
        _, arrays, data = arguments()
        return jitted(arrays, *data)

    def planned(names: tuple[str, ...]):
        return jitted(held_dense(names), *arguments()[2])

    return lambda names: probe({DENSE: dense, PLANNED: partial(planned, names)})


class _Stop(NamedTuple):
    """A site in program order, with the shapes of its operands."""

    site: Site
    apply: Callable[..., Any]
    data: jax.ShapeDtypeStruct
    weight: Any


def _stops(fn: Model, params: Params, inputs: tuple[Any, ...]) -> list[_Stop]:
    """Lists the sites in program order by an abstract trace; nothing is computed."""
    # By name, since JAX may trace a body (of a scan, say) more than once.
    stops: dict[str, _Stop] = {}

    def record(site: Site, apply: Callable[..., Any], data: Array, weight):
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (data, weight))
        stops[site.name] = _Stop(site, apply, *shapes)
        return apply(data, weight)

    jax.eval_shape(rewrite(fn, record), params, *inputs)
    return list(stops.values())


def _choices(
    stops: Sequence[_Stop], activations: Activations | None, probe: Probe
) -> tuple[ChosenForm, ...]:
    """Times each kind of site once and chooses its fastest form."""
    forms = by_name(activations)
    timed: dict[Any, Mapping[str, float]] = {}
    choices = []
    for stop in stops:
        names, reason = possible(stop.site, stop.weight, activations or dynamic())
        names = tuple(name for name in names if name in forms)
        key = _kind(stop, names)
        if key not in timed:
            timed[key] = probe(_candidates(stop, {name: forms[name] for name in names}))
        seconds = timed[key]
        form = min((name for name in seconds if name != DENSE), key=seconds.__getitem__)
        site = stop.site
        choices.append(ChosenForm(site.name, site.leaf, form, reason, seconds, site.repeats))
    return tuple(choices)


def _kind(stop: _Stop, names: tuple[str, ...]):
    """The key that two sites share if they take the same time."""
    site = stop.site
    shapes = (site.data_shape, site.data_dtype, site.output_shape, site.layout, site.macs_once)
    weight = (
        jax.tree.structure(stop.weight),
        tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(stop.weight)),
    )
    return names, site.primitive, site.operand_axes, shapes, weight


def _candidates(stop: _Stop, forms: Mapping[str, Form]) -> dict[str, Callable[[], Array]]:
    """The calls to time, on operands of ones."""
    ones = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), (stop.data, stop.weight))
    data, weight = jax.device_put(ones)
    calls = {
        name: partial(jax.jit(partial(form, stop.site, stop.apply)), data, weight)
        for name, form in forms.items()
    }
    return {**calls, DENSE: partial(jax.jit(stop.apply), data, materialize(weight))}


def _check_codes(caller: str, activations: Activations) -> None:
    check_activations(caller, activations)
    spec = activations.spec
    if not are_signs(spec) and not (isinstance(spec.levels, Integers) and spec.symmetric):
        raise ValueError(
            f"{caller}(activations=...): integer products need symmetric codes of whole numbers, "
            f"which {spec.name} has not. Take for example dynamic(int8())."
        )
