"""Whole layers of a scanned stack replaced by the identity on what the scan carries.

A layer that goes is passed by, so the scan is shorter and every stacked leaf loses a
row. Units within layers are the matter of `remove`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.types import Array, Loss, Model, Params
from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.primitives import PLAIN_CALLS
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record, bind
from jaxcompress.graph.surgery.couplings import plain_records
from jaxcompress.graph.surgery.dims import Dim, root
from jaxcompress.graph.surgery.removal import Removal, cuts_of, restored
from jaxcompress.graph.surgery.shrink import slice_params
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Shrunk, around, emitted
from jaxcompress.structure.importance.batches import Batches, average, per_example
from jaxcompress.structure.importance.scores import check_scores
from jaxcompress.structure.remove import checked_difference
from jaxcompress.structure.widths import least_worth

LayerScores = dict[str, Array]
"""By stack name one float32 number per layer, the higher the more it is worth."""

LayerImportance = Callable[..., LayerScores]
"""(fn, params, *inputs) to scores."""


@dataclasses.dataclass(frozen=True)
class Stack:
    """Layers that one scan runs through, each with rows of its own in the same leaves.

    Fields:
      name: that of its first leaf.
      length: how many layers.
      leaves: the leaves that hold a row per layer.
    """

    name: str
    length: int
    leaves: tuple[str, ...]
    record: Record = dataclasses.field(repr=False, compare=False)

    @property
    def axes(self) -> list[Dim]:
        """The stacked axes, those of counted positions and constants included."""
        loop = scan_loop(self.record.eqn)
        return [root(dims[0]) for dims in self.record.inputs[loop.fixed + loop.carried :]]


class Shallower(NamedTuple):
    """A model without some of its layers.

    Fields:
      fn: the smaller model; it traces the original at every call, so jit it.
      params: the smaller params, of the same structure.
      removal: the rows that went, for `graph.surgery.slice_params`.
      layers: by stack name, the layers that went.
      to_skipped: largest relative difference of the outputs on the batch to those of
        the model that passes the layers by; rounding alone.
    """

    fn: Model
    params: Params
    removal: Removal
    layers: dict[str, tuple[int, ...]]
    to_skipped: float


def stacks(fn: Model, params: Params, *inputs) -> tuple[Stack, ...]:
    """The stacks of layers that may lose some.

    A stack is a scan in which every array that is stepped through comes from leaves (or
    counts positions, or is constant), of which nothing else needs that axis, and whose
    stacked results nobody reads. A scan over time steps through data, and is none.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or shapes.
      inputs: trees of arrays or shapes.

    Returns:
      Stacks, in program order.

    Example:
      >>> def fn(params, x):
      ...     return jax.lax.scan(lambda x, w: (x @ w, None), x, params["layers"])[0]
      >>> params = {"layers": jnp.ones((4, 3, 3))}
      >>> [(stack.name, stack.length) for stack in stacks(fn, params, jnp.ones((2, 3)))]
      [('layers', 4)]
    """
    return tuple(_stacks(couple(fn, params, *inputs)))


def skippable(fn: Model) -> Callable:
    """The model with a gate on every layer: 1 runs it, 0 passes it by.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.

    Returns:
      `program(params, *inputs, gates) -> outputs`; gates by stack name: (length,) of
      numbers or bool, above 0 for a layer that runs.

    Raises:
      ValueError: when called, gates are of no stack, or not one per layer.

    Example:
      >>> def fn(params, x):
      ...     return jax.lax.scan(lambda x, w: (x + w, None), x, params["layers"])[0]
      >>> params = {"layers": jnp.array([[1.0], [2.0], [4.0]])}
      >>> gates = {"layers": jnp.array([True, False, True])}
      >>> skippable(fn)(params, jnp.zeros(1), gates=gates)
      Array([5.], dtype=float32)
    """

    def program(params, *inputs, gates: Mapping[str, Array]):
        coupled = couple(fn, params, *inputs)
        known = {stack.name: stack for stack in _stacks(coupled)}
        for name, gate in gates.items():
            _check_gate(name, gate, known)
        by_record = {known[name].record: gate for name, gate in gates.items()}
        return emitted(_Skipping(coupled.body, by_record), coupled, params, inputs)

    return program


def exact_layers(loss: Loss, batches: Batches) -> LayerImportance:
    """How much the mean loss rises without a layer, by passing each by in turn.

        score_n = L(model without layer n) - L(model)

    Args:
      loss: (outputs, targets) to one number per example.
      batches: (inputs, targets) pairs, as for `exact`.

    Returns:
      LayerImportance; a score is negative where the model does better without the
      layer.

    Raises:
      ValueError: when applied: there is no batch, or the loss is not one number per
        example.

    Source: Mozer and Smolensky 1989, "Skeletonization", for blocks instead of units.
    """

    def importance(fn: Model, params: Params, *inputs) -> LayerScores:
        program = skippable(fn)
        lengths = {stack.name: stack.length for stack in stacks(fn, params, *inputs)}

        def rise(params, inputs, targets):
            before = per_example("exact_layers", loss, fn(params, *inputs), targets)

            def without(name, layer):
                gates = {name: jnp.arange(lengths[name]) != layer}
                outputs = program(params, *inputs, gates=gates)
                losses = per_example("exact_layers", loss, outputs, targets)
                return jnp.mean(losses - before)

            return {
                name: jax.lax.map(lambda layer, name=name: without(name, layer), jnp.arange(length))
                for name, length in lengths.items()
            }

        return average("exact_layers", rise, params, batches)

    return importance


def remove_layers(
    fn: Model,
    params: Params,
    importance: LayerImportance,
    *inputs,
    count: Rules[int] | int,
) -> Shallower:
    """The model without the layers that are worth least: shorter scans, smaller leaves.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed; unchanged.
      importance: what layers are worth.
      inputs: a batch of arrays.
      count: layers that go, of every stack, or `Rules` over stack names.

    Returns:
      Shallower.

    Raises:
      ValueError: the model has no stack, a rule matches none, a stack would lose all
        its layers, or a score is not finite.
      ArithmeticError: the smaller program computes something else than the one that
        passes the layers by.

    Example:
      >>> def fn(params, x):
      ...     return jax.lax.scan(lambda x, w: (x + w, None), x, params["layers"])[0]
      >>> params = {"layers": jnp.array([[1.0], [2.0], [4.0]])}
      >>> size = lambda fn, params, x: {"layers": params["layers"][:, 0]}
      >>> shallower = remove_layers(fn, params, size, jnp.zeros(1), count=1)
      >>> shallower.params["layers"].shape, shallower.fn(shallower.params, jnp.zeros(1))
      ((2, 1), Array([6.], dtype=float32))
    """
    coupled = couple(fn, params, *inputs)
    known = {stack.name: stack for stack in _stacks(coupled)}
    if not known:
        raise ValueError("remove_layers: the model has no scanned stack of layers.")
    checked = as_rules(count).map(partial(check_count, "remove_layers", "count", least=0))
    counts = checked.assign(known)
    for name, number in counts.items():
        if not 0 <= number < known[name].length:
            raise ValueError(
                f"remove_layers(count={number}): stack {name!r} has {known[name].length} layers, "
                f"of "
                "which at least one stays."
            )
    scores = importance(fn, params, *inputs)
    layers = {name: _lowest(known[name], scores, number) for name, number in counts.items()}
    removal = cuts_of(coupled.leaves, _gone(known, layers))
    shorter, small = _shorter(fn, layers, removal), slice_params(params, removal)
    gates = {name: ~np.isin(np.arange(known[name].length), gone) for name, gone in layers.items()}
    outputs = jax.jit(shorter)(small, *inputs)
    skipped = jax.jit(lambda params, *inputs: skippable(fn)(params, *inputs, gates=gates))
    to_skipped = checked_difference("remove_layers", outputs, skipped(params, *inputs))
    return Shallower(shorter, small, removal, layers, to_skipped)


def _lowest(stack: Stack, scores: LayerScores, number: int) -> tuple[int, ...]:
    if stack.name not in scores:
        raise ValueError(f"remove_layers(importance=...) scores no stack {stack.name!r}.")
    values = np.asarray(scores[stack.name])
    if values.shape != (stack.length,):
        raise ValueError(
            f"remove_layers(importance=...) scores {stack.name!r} in shape {values.shape}; one "
            f"number per layer has shape ({stack.length},)."
        )
    check_scores("remove_layers", stack.name, values)
    return tuple(least_worth(values, number).tolist())


def _shorter(fn: Model, layers: Mapping[str, tuple[int, ...]], removal: Removal) -> Model:
    def shorter(params, *inputs):
        coupled = couple(fn, restored(params, removal), *inputs)
        known = {stack.name: stack for stack in _stacks(coupled)}
        scans = {known[name].record: len(gone) for name, gone in layers.items()}
        writer = _Shorter(coupled.body, _gone(known, layers), scans)
        return emitted(writer, coupled, params, inputs)

    return shorter


def _gone(known: Mapping[str, Stack], layers: Mapping[str, tuple[int, ...]]):
    """Per stacked axis, which of its layers go."""
    return {
        d: np.isin(np.arange(known[name].length), gone)
        for name, gone in layers.items()
        for d in known[name].axes
        if gone
    }


class _Shorter(Shrunk):
    """Layers that go are absent from the scans and from what they step through."""

    def __init__(self, body: Body, removed: Mapping[Dim, np.ndarray], scans: Mapping[Record, int]):
        super().__init__(body, removed)
        self.scans = scans

    def write(self, record: Record, values: list):
        if record not in self.scans:
            return super().write(record, values)
        length = record.params["length"] - self.scans[record]
        return bind(record, values, length=length, unroll=min(record.params["unroll"], length))


class _Skipping(Shrunk):
    """A scan hands on its carry where a layer's gate is 0; nothing is removed."""

    def __init__(self, body: Body, gates: Mapping[Record, Array]):
        super().__init__(body, {})
        self.gates = gates
        self.touched = set(around(body, gates))

    def write(self, record: Record, values: list):
        if record not in self.gates:
            return super().write(record, values)
        loop = scan_loop(record.eqn)
        first = loop.fixed + loop.carried

        def step(carry, layer):
            gate, slices = layer
            results = self.run(record.bodies[0], [*values[: loop.fixed], *carry, *slices])
            pairs = zip(results, carry, strict=False)
            carry = [jnp.where(gate > 0, after, before) for after, before in pairs]
            return carry, results[loop.carried :]

        options = {name: record.params[name] for name in ("length", "reverse", "unroll")}
        stacked = (jnp.asarray(self.gates[record]), values[first:])
        carry, results = jax.lax.scan(step, values[loop.fixed : first], stacked, **options)
        return [*carry, *results]


def _stacks(coupled: Coupled) -> Iterator[Stack]:
    reduced = set(_reduced(coupled.body))
    for record in _scans(coupled.body):
        stack = Stack("", record.params["length"], (), record)
        axes = set(stack.axes)
        leaves = [
            name for name, dims in coupled.leaves.items() if any(root(d) in axes for d in dims)
        ]
        free = not axes & reduced and all(_only_stepped_through(d, record) for d in axes)
        if leaves and free:
            yield dataclasses.replace(stack, name=leaves[0], leaves=tuple(leaves))


def _reduced(body: Body) -> Iterator[Dim]:
    """Every axis that an equation sums over, or the like."""
    for record in plain_records(body):
        for reduction in rule_of(record.eqn.primitive.name).reduces(record):
            yield root(record.inputs[reduction.operand][reduction.axis])


def _only_stepped_through(d: Dim, record: Record) -> bool:
    return d.form is None and all(reason is record for reason in d.pins)


def _scans(body: Body) -> Iterator[Record]:
    """The scans whose stacked results nobody reads, outside of loops and branches."""
    inner = body.jaxpr.jaxpr
    read = {id(atom) for eqn in inner.eqns for atom in eqn.invars}
    read |= {id(atom) for atom in inner.outvars}
    for record in body.records:
        if record.eqn.primitive.name in PLAIN_CALLS:
            for block in record.bodies:
                yield from _scans(block)
        elif record.eqn.primitive.name == "scan":
            results = record.eqn.outvars[scan_loop(record.eqn).carried :]
            if not any(id(result) in read for result in results):
                yield record


def _check_gate(name: str, gate: Array, known: Mapping[str, Stack]) -> None:
    if name not in known:
        raise ValueError(f"skippable(gates={{{name!r}: ...}}): stacks are: {', '.join(known)}.")
    if jnp.shape(gate) != (known[name].length,):
        raise ValueError(
            f"skippable(gates={{{name!r}: shape {jnp.shape(gate)}}}) must have shape "
            f"({known[name].length},)."
        )
