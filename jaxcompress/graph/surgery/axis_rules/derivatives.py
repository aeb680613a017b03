"""Functions with a gradient of their own, which goes into the shrunk program.

The derivative is traced from the equation itself at the original shapes, by `jax.jvp`
or `jax.vjp`, and has the axes of the function it belongs to. Inside a derivative such
functions are plain calls: a gradient may call its function again, without end.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from jaxcompress.graph.avals import struct_of
from jaxcompress.graph.jaxprs import as_function, inner_jaxprs, variables
from jaxcompress.graph.surgery.axis_rules.calls import couple_arrays, couple_call, emit_inline
from jaxcompress.graph.surgery.axis_rules.rule import Dims, Emitter, Record, Rule, of_variables


def couple_jvp(record: Record) -> list[Dims]:
    """Couples the body, and the tangents of its derivative with their primals."""
    results = couple_call(record)
    walk = record.walk.derivative()
    # A unit may go only where the derivative lets it go too: what it sums over or pins
    # counts, though the function itself does neither.
    if walk is not None:
        operands = of_variables(record.eqn, record.inputs)
        tangents = _moving(record.eqn, operands)
        rule = walk.body(_jvp(record.eqn), [*operands, *tangents], record)
        couple_arrays(
            record, [*results, *_differentiable(record.eqn.outvars, results)], rule.results
        )
        record.bodies += (rule,)
    return results


def couple_vjp(record: Record) -> list[Dims]:
    """Couples the body, and the cotangents of its derivative with their primals."""
    results = couple_call(record)
    walk = record.walk.derivative()
    if walk is not None:
        operands = of_variables(record.eqn, record.inputs)
        cotangents = _differentiable(record.eqn.outvars, results)
        rule = walk.body(_vjp(record.eqn), [*operands, *cotangents], record)
        couple_arrays(record, _moving(record.eqn, operands), rule.results)
        record.bodies += (rule,)
    return results


def emit_jvp(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a `custom_jvp` whose rule is the derivative that was walked, shrunk."""
    if len(record.bodies) == 1:
        return emit_inline(record, values, emitter)
    eqn = record.eqn
    function = jax.custom_jvp(_primal(record, values, emitter))

    @function.defjvp
    def derivative(primals, tangents):
        results = emitter.run(record.bodies[1], [*primals, *_moving(eqn, tangents)])
        results, moving = results[: len(eqn.outvars)], results[len(eqn.outvars) :]
        # Through the function itself; else its second derivative is that of its body.
        return function(*primals), _with_zeros(eqn.outvars, results, moving)

    return function(*of_variables(eqn, values))


def emit_vjp(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits a `custom_vjp` whose rule is the derivative that was walked, shrunk."""
    if len(record.bodies) == 1:
        return emit_inline(record, values, emitter)
    eqn = record.eqn
    function = jax.custom_vjp(_primal(record, values, emitter))

    def forward(*operands):
        return function(*operands), operands

    def backward(operands, cotangents):
        moving = _differentiable(eqn.outvars, cotangents)
        results = emitter.run(record.bodies[1], [*operands, *moving])
        return tuple(_with_zeros(variables(eqn.invars), operands, results))

    function.defvjp(forward, backward)
    return function(*of_variables(eqn, values))


def _primal(record: Record, values: list[Any], emitter: Emitter) -> Callable[..., Any]:
    """The function's body, of the variables among its operands."""
    eqn = record.eqn

    def primal(*operands):
        known = dict(zip(variables(eqn.invars), operands, strict=True))
        given = [
            value if isinstance(atom, Literal) else known[atom]
            for atom, value in zip(eqn.invars, values, strict=True)
        ]
        return emitter.run(record.bodies[0], given)

    return primal


def _moving(eqn: JaxprEqn, per_variable: Sequence[Any]) -> list[Any]:
    return _differentiable(variables(eqn.invars), per_variable)


def _differentiable(atoms: Sequence[Any], per_atom: Sequence[Any]) -> list[Any]:
    """What belongs to the atoms that have a derivative: those of inexact dtype."""
    return [one for atom, one in zip(atoms, per_atom, strict=True) if _is_inexact(atom)]


def _is_inexact(atom) -> bool:
    return jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def _with_zeros(atoms: Sequence[Any], primals: Sequence[Any], moving: Sequence[Any]) -> list[Any]:
    """The derivatives in order, with the empty ones of the atoms that have none."""
    found = iter(moving)
    return [
        next(found) if _is_inexact(atom) else np.zeros(jnp.shape(primal), jax.dtypes.float0)
        for atom, primal in zip(atoms, primals, strict=True)
    ]


def _jvp(eqn: JaxprEqn) -> ClosedJaxpr:
    operands = variables(eqn.invars)
    function = _of_equation(eqn)

    def jvp(*arrays):
        primals, moving = arrays[: len(operands)], arrays[len(operands) :]
        tangents = _with_zeros(operands, primals, moving)
        results, moved = jax.jvp(function, primals, tuple(tangents))
        return [*results, *_differentiable(eqn.outvars, moved)]

    return jax.make_jaxpr(jvp)(*_structs([*operands, *_moving(eqn, operands)]))


def _vjp(eqn: JaxprEqn) -> ClosedJaxpr:
    operands = variables(eqn.invars)
    function = _of_equation(eqn)

    def vjp(*arrays):
        results, pull = jax.vjp(function, *arrays[: len(operands)])
        cotangents = _with_zeros(eqn.outvars, results, arrays[len(operands) :])
        return _moving(eqn, pull(cotangents))

    moving = _differentiable(eqn.outvars, eqn.outvars)
    return jax.make_jaxpr(vjp)(*_structs([*operands, *moving]))


def _of_equation(eqn: JaxprEqn) -> Callable[..., Any]:
    (jaxpr,) = inner_jaxprs(eqn)
    return as_function([eqn], variables(eqn.invars), eqn.outvars, jaxpr.jaxpr.debug_info)


def _structs(atoms: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    return [struct_of(atom.aval) for atom in atoms]


RULES = {
    "custom_jvp_call": Rule(couple_jvp, emit_jvp),
    "custom_vjp_call": Rule(couple_vjp, emit_vjp),
}
