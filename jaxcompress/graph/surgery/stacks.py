"""Stacks of layers: found, gated, and shortened in a program.

A stack is a scan that steps through leaves alone, a row per layer. A layer that is
removed hands on what the scan carries, so the scan is shorter and every stacked leaf
loses a row. Residual blocks that are written one by one are the matter of `blocks`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.models import check_model
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph.jaxprs import scan_loop
from jaxcompress.graph.surgery.arrays import WHOLE, Shrunk
from jaxcompress.graph.surgery.axis_rules import rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record, bind
from jaxcompress.graph.surgery.bodies import equation_of, everywhere, plain_records, straight
from jaxcompress.graph.surgery.dims import Dim, root
from jaxcompress.graph.surgery.kept import RemovedIndices
from jaxcompress.graph.surgery.resolving import Smaller, cuts_of
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Edit, Writer, written


@dataclasses.dataclass(frozen=True)
class Stack:
    """Layers that one scan runs through, each with rows of its own in the same leaves.

    Attributes:
      name: that of its first leaf.
      length: how many layers.
      leaves: the leaves that hold a row per layer.
    """

    name: str
    length: int
    leaves: tuple[str, ...]
    record: Record = dataclasses.field(repr=False, compare=False)


class Stacks(NamedTuple):
    """The scans of a program.

    Attributes:
      found: those that are stacks of layers, in program order.
      refused: why each of the others is none, as "scan (source): reason".
    """

    found: tuple[Stack, ...]
    refused: tuple[str, ...]


def stacks(fn: Model, params: Params, *inputs: PyTree) -> Stacks:
    """The stacks of layers that may lose some, and why other scans may not.

    A stack is a scan in which every array that is stepped through comes from leaves (or
    counts positions, or is constant), of which nothing else needs that axis, and whose
    stacked results nobody reads. A scan over time steps through data, and is none.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or shapes.
      inputs: trees of arrays or shapes.

    Returns:
      Stacks.

    Example:
      >>> def fn(params, x):
      ...     return jax.lax.scan(lambda x, w: (x @ w, None), x, params["layers"])[0]
      >>> params = {"layers": jnp.ones((4, 3, 3))}
      >>> (stack,) = jc.graph.surgery.stacks(fn, params, jnp.ones((2, 3))).found
      >>> stack.name, stack.length
      ('layers', 4)
    """
    check_call("stacks", fn, params, inputs)
    return _stacks(couple(fn, params, *inputs))


def with_layer_gates(fn: Model) -> Callable[..., Any]:
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
      >>> jc.graph.surgery.with_layer_gates(fn)(params, jnp.zeros(1), gates=gates)
      Array([5.], dtype=float32)
    """
    check_model("with_layer_gates", fn)

    def program(params, *inputs, gates: Mapping[str, Array]):
        coupled = couple(fn, params, *inputs)
        known = _by_name(_stacks(coupled).found)
        for name, gate in gates.items():
            _check_gate(name, gate, known)
        edits = {known[name].record: partial(_gated, gate) for name, gate in gates.items()}
        return written(Writer(coupled.body, WHOLE, edits), coupled, params, inputs)

    return program


def shortened(caller: str, coupled: Coupled, layers: Mapping[str, Sequence[int]]) -> Smaller:
    """The program with shorter scans; stacked leaves lose the rows of those layers.

    Args:
      caller: the function to name in errors.
      coupled: the program.
      layers: by stack name, the layers that go.

    Raises:
      ValueError: no stack has such a name, or too few layers.
    """
    found = _stacks(coupled).found
    known = _by_name(found)
    for name, gone in layers.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(
                f"{caller}(layers): no stack of layers is named {name!r}. Stacks: {listed}."
            )
        if max(gone, default=0) >= known[name].length or len(gone) == known[name].length:
            raise ValueError(
                f"{caller}(layers): stack {name!r} has {known[name].length} layers and cannot lose "
                f"{list(gone)}. Pass the model that the removal was made for."
            )
    edits: dict[Record, Edit] = {
        known[name].record: partial(_shorter, len(gone)) for name, gone in layers.items()
    }
    removed = _removed(found, layers)
    return Smaller(cuts_of(coupled.leaves, removed).cuts, Shrunk(removed), edits)


def _gated(gate: Array, writer: Writer, record: Record, values: list[Any]) -> Sequence[Any]:
    """An edit: a scan that hands on its carry where a layer's gate is 0."""
    loop = scan_loop(record.eqn)
    first = loop.fixed + loop.carried

    def step(carry, layer):
        gate, slices = layer
        results = writer.run(record.bodies[0], [*values[: loop.fixed], *carry, *slices])
        pairs = zip(results, carry, strict=False)
        open_here = gate > jnp.zeros_like(gate)
        carry = [jnp.where(open_here, after, before) for after, before in pairs]
        return carry, results[loop.carried :]

    options = {name: record.params[name] for name in ("length", "reverse", "unroll")}
    stacked = (jnp.asarray(gate), values[first:])
    carry, results = jax.lax.scan(step, values[loop.fixed : first], stacked, **options)
    return [*carry, *results]


def _shorter(gone: int, writer: Writer, record: Record, values: list[Any]) -> Sequence[Any]:
    """An edit: a scan of fewer steps, over values that lack the rows already."""
    del writer
    length = record.params["length"] - gone
    return bind(record, values, length=length, unroll=min(record.params["unroll"], length))


def _by_name(found: Iterable[Stack]) -> dict[str, Stack]:
    return {stack.name: stack for stack in found}


def _removed(found: Sequence[Stack], layers: Mapping[str, Sequence[int]]) -> RemovedIndices:
    """Per stacked axis, which of its layers go."""
    known = _by_name(found)
    for name in layers:
        if name not in known:
            raise ValueError(
                f"without_layers(layers={{{name!r}: ...}}) names no stack. Stacks are: "
                f"{', '.join(known) or 'none'}."
            )
    return {
        d: np.isin(np.arange(known[name].length), gone)
        for name, gone in layers.items()
        for d in _stacked_axes(known[name].record)
        if len(gone)
    }


def _stacked_axes(record: Record) -> list[Dim]:
    """What a scan steps through, counted positions and constants included."""
    loop = scan_loop(record.eqn)
    return [root(dims[0]) for dims in record.inputs[loop.fixed + loop.carried :]]


def _stacks(coupled: Coupled) -> Stacks:
    found, refused = [], []
    reduced = _reduced(coupled.body)
    once = list(straight(coupled.body))
    for body, record in once:
        if record.eqn.primitive.name != "scan":
            continue
        axes = set(_stacked_axes(record))
        leaves = tuple(
            name for name, dims in coupled.leaves.items() if any(root(d) in axes for d in dims)
        )
        reason = _why_not(body, record, axes, leaves, reduced)
        if reason:
            refused.append(f"{equation_of(record)}: {reason}")
        else:
            found.append(Stack(leaves[0], record.params["length"], leaves, record))
    known = {record for _, record in once}
    refused += [
        f"{equation_of(record)}: it lies in a loop, a branch or a function with its own gradient"
        for nested in everywhere(coupled.body)
        for record in nested.body.records
        if record.eqn.primitive.name == "scan" and record not in known
    ]
    return Stacks(tuple(found), tuple(refused))


def _why_not(
    body: Body,
    record: Record,
    axes: set[Dim],
    leaves: Sequence[str],
    reduced: Mapping[Dim, Record],
) -> str:
    """Why a scan is no stack of layers; empty where it is one."""
    if not leaves:
        return "it steps through no leaf"
    stacked = {id(result) for result in record.eqn.outvars[scan_loop(record.eqn).carried :]}
    read = {id(atom) for eqn in body.jaxpr.jaxpr.eqns for atom in eqn.invars}
    read |= {id(atom) for atom in body.jaxpr.jaxpr.outvars}
    if stacked & read:
        return "its stacked results are read"
    for d in axes:
        if d in reduced:
            return f"its layers are also read by {equation_of(reduced[d])}"
        if d.form is not None:
            return "its layers are parts of a longer axis"
        for pin in d.pins:
            # The scan itself keeps what it steps through whole; that is no objection.
            if pin is not record:
                reader = equation_of(pin) if isinstance(pin, Record) else pin
                return f"its layers are needed whole by {reader}"
    return ""


def _reduced(body: Body) -> dict[Dim, Record]:
    """Every axis that an equation sums over, or the like, and the first that does."""
    found: dict[Dim, Record] = {}
    for record in plain_records(body):
        for reduction in rule_of(record.eqn.primitive.name).reduces(record):
            found.setdefault(root(record.inputs[reduction.operand][reduction.axis]), record)
    return found


def _check_gate(name: str, gate: Array, known: Mapping[str, Stack]) -> None:
    if name not in known:
        raise ValueError(
            f"with_layer_gates(gates={{{name!r}: ...}}): stacks are: {', '.join(known)}."
        )
    if jnp.shape(gate) != (known[name].length,):
        raise ValueError(
            f"with_layer_gates(gates={{{name!r}: shape {jnp.shape(gate)}}}) must have shape "
            f"({known[name].length},)."
        )
