"""When two pieces of a program compute the same from their inputs.

Layers of one shape are traced one by one and share no objects, so they are compared by
structure: primitives, parameters, types, and which result is read where. What cannot
be compared (a callable, an array) is like itself alone: then a piece is compiled once
more than it had to be, and never taken for another.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcompress.graph.jaxprs import aval_of, inner_jaxprs

_CUSTOM_DERIVATIVES = ("custom_jvp_call", "custom_vjp_call")


class _Itself:
    """Equal to another only if both hold the same object, which is kept alive."""

    def __init__(self, held: Any):
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


def equation_likeness(eqn: JaxprEqn) -> Hashable:
    """Equal for equations that compute the same from what their variables hold.

    Example:
      >>> program = jax.make_jaxpr(lambda x: jnp.sin(jnp.sin(x)))(jnp.ones(2))
      >>> first, second = program.jaxpr.eqns
      >>> equation_likeness(first) == equation_likeness(second)
      True
    """
    return _equation(eqn, _numbering())


def _equation(eqn: JaxprEqn, number: Callable[[Any], int]) -> Hashable:
    operands = tuple(_operand(atom, number) for atom in eqn.invars)
    results = tuple((number(variable), aval_of(variable)) for variable in eqn.outvars)
    # How a call is differentiated is a new function object in every layer, and nothing
    # is differentiated here: such a call is its body.
    if eqn.primitive.name in _CUSTOM_DERIVATIVES:
        params = tuple(_jaxpr(inner) for inner in inner_jaxprs(eqn))
    else:
        params = _static(eqn.params)
    return eqn.primitive.name, params, operands, results


def _numbering() -> Callable[[Any], int]:
    """Gives each variable a number when it is first asked for."""
    numbers: dict[Any, int] = {}
    return lambda variable: numbers.setdefault(variable, len(numbers))


def _operand(atom, number: Callable[[Any], int]) -> Hashable:
    if not isinstance(atom, Literal):
        return number(atom), aval_of(atom)
    value = np.asarray(atom.val)
    # By its bytes: 0.0 equals -0.0, and NaN not itself.
    return "literal", aval_of(atom), value.dtype, value.shape, value.tobytes()


def _static(value: Any) -> Hashable:
    match value:
        case ClosedJaxpr() | Jaxpr():
            return _jaxpr(value)
        case Mapping():
            return tuple((name, _static(value[name])) for name in sorted(value))
        case tuple() | list():
            return type(value), tuple(map(_static, value))
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    # 1 equals 1.0 and True, and a program with one is not that with another.
    return type(value), value


def _jaxpr(program: ClosedJaxpr | Jaxpr) -> Hashable:
    jaxpr, consts = (
        (program.jaxpr, program.consts) if isinstance(program, ClosedJaxpr) else (program, ())
    )
    number = _numbering()
    bound = tuple((number(each), aval_of(each)) for each in (*jaxpr.constvars, *jaxpr.invars))
    equations = tuple(_equation(eqn, number) for eqn in jaxpr.eqns)
    results = tuple(_operand(atom, number) for atom in jaxpr.outvars)
    return bound, equations, results, tuple(map(_Itself, consts))
