"""Calls, loops and branches: inner programs walked, and written anew."""

import itertools
from typing import Any

import jax
import numpy as np
from jax import lax

from jaxcompress.graph.jaxprs import inner_jaxprs, scan_loop
from jaxcompress.graph.surgery.axis_rules.rule import Body, Dims, Emitter, Record, Rule


def couple_call(record: Record) -> list[Dims]:
    """The inner program's operands and results are the call's."""
    (jaxpr,) = inner_jaxprs(record.eqn)
    body = record.body(jaxpr, record.inputs)
    record.bodies = (body,)
    return list(body.results)


def emit_inline(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits the inner program in place of the call."""
    return emitter.run(record.bodies[0], values)


def emit_jit(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a jitted function of the same name."""

    def call(*operands):
        return emitter.run(record.bodies[0], operands)

    call.__name__ = record.params.get("name", "call")
    return jax.jit(call)(*values)


def emit_checkpoint(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a rematerialised function with the same policy."""

    def call(*operands):
        return emitter.run(record.bodies[0], operands)

    options = {name: record.params[name] for name in ("policy", "prevent_cse")}
    return jax.checkpoint(call, **options)(*values)


def couple_scan(record: Record) -> list[Dims]:
    """Couples a carry before and after a turn; pins the axis that is stepped along."""
    fixed, carried = scan_loop(record.eqn)
    stacks = record.inputs[fixed + carried :]
    record.pin(*(stack[0] for stack in stacks))
    (jaxpr,) = inner_jaxprs(record.eqn)
    slices = [stack[1:] for stack in stacks]
    # One record of the body serves all turns: an axis of a slice is the same axis in
    # every layer, and so is one of the carry before and after it.
    body = record.body(jaxpr, [*record.inputs[: fixed + carried], *slices])
    record.bodies = (body,)
    carry = record.inputs[fixed : fixed + carried]
    couple_arrays(record, carry, body.results[:carried])
    length = record.params["length"]
    return [*carry, *((record.pinned(length), *dims) for dims in body.results[carried:])]


def couple_arrays(record: Record, before: Any, after: Any) -> None:
    """Unifies arrays axis by axis."""
    for one, other in zip(before, after, strict=True):
        for a, b in zip(one, other, strict=True):
            record.couple(a, b)


def emit_scan(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a scan whose emitter knows the number of the turn."""
    fixed, carried = scan_loop(record.eqn)

    def step(carry, slices):
        layer, slices = slices
        results = emitter.at(layer).run(record.bodies[0], [*values[:fixed], *carry, *slices])
        return results[:carried], results[carried:]

    options = {name: record.params[name] for name in ("length", "reverse", "unroll")}
    # Layers may lose different units, equally many: the turn's number says which.
    stacks = (np.arange(options["length"], dtype=np.int32), values[fixed + carried :])
    carry, stacks = lax.scan(step, values[fixed : fixed + carried], stacks, **options)
    return [*carry, *stacks]


def couple_while(record: Record) -> list[Dims]:
    """Couples the carry before, inside and after the loop."""
    test, step = inner_jaxprs(record.eqn)
    for_test, for_step, carry = _while_operands(record, record.inputs)
    again = record.body(step, [*for_step, *carry])
    record.bodies = (record.body(test, [*for_test, *carry]), again)
    couple_arrays(record, carry, again.results)
    return list(carry)


def _while_operands(record: Record, operands: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    first = record.params["cond_nconsts"]
    second = first + record.params["body_nconsts"]
    return operands[:first], operands[first:second], operands[second:]


def emit_while(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a while loop."""
    for_test, for_step, carry = _while_operands(record, values)
    test, step = record.bodies
    return lax.while_loop(
        lambda carry: emitter.run(test, [*for_test, *carry])[0],
        lambda carry: emitter.run(step, [*for_step, *carry]),
        carry,
    )


def couple_branches(record: Record) -> list[Dims]:
    """Couples the results of all branches."""
    operands = record.inputs[1:]
    record.bodies = tuple(record.body(jaxpr, operands) for jaxpr in inner_jaxprs(record.eqn))
    for one, other in itertools.pairwise(record.bodies):
        couple_arrays(record, one.results, other.results)
    return list(record.bodies[0].results)


def emit_branches(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a switch; a `cond` is one with two branches."""

    def branch(body: Body):
        return lambda *operands: emitter.run(body, operands)

    index, *operands = values
    return lax.switch(index, [branch(body) for body in record.bodies], *operands)


RULES = {
    "call": Rule(couple_call, emit_inline),
    "checkpoint": Rule(couple_call, emit_checkpoint),
    "closed_call": Rule(couple_call, emit_inline),
    "cond": Rule(couple_branches, emit_branches),
    "core_call": Rule(couple_call, emit_inline),
    "eval_jaxpr": Rule(couple_call, emit_inline),
    "jit": Rule(couple_call, emit_jit),
    "remat2": Rule(couple_call, emit_checkpoint),
    "scan": Rule(couple_scan, emit_scan),
    "while": Rule(couple_while, emit_while),
}
