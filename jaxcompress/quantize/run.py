"""Execution on codes: `plan` times the forms of every site, `run` uses the fastest.

The forms themselves are in `forms`; what they multiply is in `kernels`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.report import KEPT, LeafReport, Report
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph import Site, rewrite
from jaxcompress.quantize.activations import Activations, dynamic
from jaxcompress.quantize.forms import Form, by_name, materialized, possible
from jaxcompress.quantize.timing import Probe, interleaved

DENSE = "dense"
"""The name of the time that the plain array takes, which forms are judged against."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a plan found at one site.

    Fields:
      site: name of the site.
      leaf: name of its leaf.
      form: the fastest form that reads the codes: "integer", "scaled" or
        "materialized".
      reason: why there was nothing to choose; empty where forms were timed.
      seconds: what one call of the site takes, by form,
        with "dense" for the plain array.
      repeats: executions of the site per call of the model.
    """

    site: str
    leaf: str
    form: str
    reason: str
    seconds: Mapping[str, float]
    repeats: int

    @property
    def speedup(self) -> float:
        """How many times as fast as the plain array; above 1 is faster."""
        return self.seconds[DENSE] / self.seconds[self.form]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a model runs on the codes of its weights on one device, by measurement.

    Invariants:
      - One choice per site whose leaf is a `QTensor`.
      - Times are medians of interleaved calls on `device`, at the shapes of the planned
        call. Other shapes run the same forms.
    """

    choices: tuple[Choice, ...]
    activations: Activations
    device: str
    report: Report

    @property
    def dense_leaves(self) -> tuple[str, ...]:
        """The leaves that are faster as plain arrays, all their sites together."""
        saved: dict[str, float] = {}
        for choice in self.choices:
            gain = (choice.seconds[DENSE] - choice.seconds[choice.form]) * choice.repeats
            saved[choice.leaf] = saved.get(choice.leaf, 0.0) + gain
        return tuple(leaf for leaf, seconds in saved.items() if seconds < 0)

    def hold(self, params: Params) -> Params:
        """The params to run with: plain arrays where codes lose, codes where they win.

        Costs the memory of those arrays. With the params as they are, `run` gives the
        same outputs up to rounding, forming the arrays in every call.
        """
        dense = set(self.dense_leaves)
        return map_named(lambda name, leaf: leaf.materialize() if name in dense else leaf, params)

    def __str__(self) -> str:
        return str(self.report)


def plan(
    fn: Model,
    params: Params,
    *inputs,
    activations: Activations = dynamic(),
    probe: Probe = interleaved,
) -> Plan:
    """Measures how every site with a quantized weight runs fastest on this device.

    Integer products are not always faster: it depends on the device, the shapes and the
    number of rows. So each site is timed by itself, once per kind of site,
    in these forms:

      integer       codes times codes, int8 × int8 -> int32, both scales after
      scaled        codes widened to the data's dtype, the scale after
      materialized  the model's own equation on the array formed from the codes
      dense         the same on an array held in memory, to compare with

    Call it outside of jit.

    Args:
      fn: fn(params, *inputs) -> outputs.
      params: with `QTensor` leaves.
      inputs: of the shapes that will be run; arrays or shapes.
      activations: how data become codes in the integer form: `dynamic()` by default,
        `dynamic(digits=2)` for 16 bits, `static(readings)` for calibrated ranges.
      probe: times functions; replace it to decide otherwise.

    Returns:
      Plan for `run`; print it for a table.

    Raises:
      ValueError: no leaf is quantized, or `activations` are not symmetric codes of at
        most 8 bits.

    Example:
      >>> params, _ = jc.quantize.quantize({"kernel": jnp.eye(4)}, jc.quantize.int8())
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> fastest = jc.quantize.plan(fn, params, jnp.ones((2, 4)))
      >>> sorted(fastest.choices[0].seconds)
      ['dense', 'integer', 'materialized', 'scaled']
    """
    _check_activations("plan", activations)
    quantized = [name for name, leaf in named_leaves(params).items() if isinstance(leaf, QTensor)]
    if not quantized:
        raise ValueError("plan(params=...) has no quantized leaf. Make them with quantize(...).")
    forms = by_name(activations)
    timed: dict[Any, dict[str, float]] = {}
    choices = []
    for stop in _stops(fn, params, inputs):
        if stop.site.leaf not in quantized:
            continue
        names, reason = possible(stop.site, stop.weight)
        key = _kind(stop, names)
        if key not in timed:
            timed[key] = probe(_candidates(stop, {name: forms[name] for name in names}))
        choices.append(_choice(stop.site, reason, timed[key]))
    report = Report("plan", tuple(_row(leaf, choice) for leaf, choice in _met(params, choices)))
    return Plan(tuple(choices), activations, _device(), report)


def run(fn: Model, plan: Plan) -> Model:
    """The model on the codes of its weights, each site in the form that was fastest.

    Nothing is timed here: `plan` has measured. Jit the result.

    Args:
      fn: the model that was planned.
      plan: what `plan(fn, params, *inputs)` gave; `plan.activations` become codes as it
        was planned.

    Returns:
      Function of the same arguments and outputs, for the quantized params or
      `plan.hold(params)`.

    Raises:
      ValueError: (when called) on another kind of device than was planned for.

    Example:
      >>> params, _ = jc.quantize.quantize({"kernel": jnp.eye(4)}, jc.quantize.int8())
      >>> fn = lambda params, x: x @ params["kernel"]
      >>> plan = jc.quantize.plan(fn, params, jnp.ones((2, 4)))
      >>> jax.jit(jc.quantize.run(fn, plan))(params, jnp.ones((2, 4))).shape
      (2, 4)
    """
    forms = by_name(plan.activations)
    chosen = {choice.site: forms[choice.form] for choice in plan.choices}

    def replacement(site: Site, apply: Callable, data: Array, weight):
        if not isinstance(weight, QTensor):
            return apply(data, weight)
        return chosen.get(site.name, materialized)(site, apply, data, weight)

    rewritten = rewrite(fn, replacement)

    def running(params: Params, *inputs):
        if _device() != plan.device:
            raise ValueError(
                f"run(plan=...): the plan was made on {plan.device}, this is {_device()}. "
                "Plan again here."
            )
        return rewritten(params, *inputs)

    return running


class _Stop(NamedTuple):
    """A site as the program comes to it, with the shapes of its operands."""

    site: Site
    apply: Callable
    data: jax.ShapeDtypeStruct
    weight: Any


def _stops(fn: Model, params: Params, inputs: tuple) -> list[_Stop]:
    """Every site in program order; nothing is computed."""
    stops: dict[str, _Stop] = {}

    def record(site: Site, apply: Callable, data: Array, weight):
        shapes = jax.tree.map(_shape, (data, weight))
        stops[site.name] = _Stop(site, apply, *shapes)
        return apply(data, weight)

    jax.eval_shape(rewrite(fn, record), params, *inputs)
    return list(stops.values())


def _shape(x: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _kind(stop: _Stop, names: tuple[str, ...]):
    """What two sites must share to take the same time."""
    site = stop.site
    shapes = (site.data_shape, site.data_dtype, site.output_shape, site.layout, site.macs_once)
    weight = (
        jax.tree.structure(stop.weight),
        tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(stop.weight)),
    )
    return names, site.primitive, site.operand_axes, shapes, weight


def _candidates(stop: _Stop, forms: Mapping[str, Form]) -> dict[str, Callable[[], Array]]:
    """The calls to time, on operands of ones."""
    data, weight = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), (stop.data, stop.weight))
    calls = {
        name: partial(jax.jit(partial(form, stop.site, stop.apply)), data, weight)
        for name, form in forms.items()
    }
    return {**calls, DENSE: partial(jax.jit(stop.apply), data, materialize(weight))}


def _choice(site: Site, reason: str, seconds: dict[str, float]) -> Choice:
    form = min((name for name in seconds if name != DENSE), key=seconds.__getitem__)
    return Choice(site.name, site.leaf, form, reason, seconds, site.repeats)


def _met(params: Params, choices: list[Choice]):
    """Each choice with its leaf, and each leaf that no site meets with None."""
    by_leaf: dict[str, list[Choice]] = {}
    for choice in choices:
        by_leaf.setdefault(choice.leaf, []).append(choice)
    for name, leaf in named_leaves(params).items():
        for choice in by_leaf.get(name, [None]):
            yield (name, leaf), choice


def _row(named, choice: Choice | None) -> LeafReport:
    name, leaf = named
    before = leaf.size * leaf.dtype.itemsize
    after = leaf.size_bytes if is_compressed(leaf) else before
    if choice is None:
        reason = "meets no data as codes" if is_compressed(leaf) else "not quantized"
        return LeafReport(name, tuple(leaf.shape), KEPT, reason, before, after)
    told = f"{choice.speedup:.2f} x dense, {choice.seconds[choice.form] * 1e3:.3g} ms"
    reason = "; ".join(part for part in (choice.reason, told) if part)
    return LeafReport(choice.site, tuple(leaf.shape), choice.form, reason, before, after)


def _check_activations(caller: str, activations: Activations) -> None:
    if not activations.spec.symmetric:
        raise ValueError(
            f"{caller}(activations=...): {activations.spec.name} codes are asymmetric, and integer "
            "products need symmetric ones, for example dynamic(int8())."
        )


def _device() -> str:
    return jax.devices()[0].device_kind
