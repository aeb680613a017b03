"""Degrees through equations that work entry by entry."""

import dataclasses
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn, Literal

from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.primitives import ENTRY_KEEPING
from jaxcompress.graph.symmetries.degrees.degree import (
    FREE,
    Added,
    Degree,
    System,
    combined,
    inverse,
    mapped,
    powered,
)


def fixed(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Nothing passes: exp, tanh, rounding, and whatever has no rule."""
    return [system.fixed(*degrees)] * len(eqn.outvars)


def same(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """The operand's degree: a sign, another dtype."""
    del system
    return degrees[:1] * len(eqn.outvars)


def through(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Each result is the operand at its place."""
    del eqn, system
    return degrees


def turned(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """The operand's degree, whose entries have another sign or form."""
    del eqn, system
    return [dataclasses.replace(degree, leaf="", site="") for degree in degrees]


def added(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """A sum or difference; notes which leaf is added to which product."""
    one, other = degrees
    subtracted = eqn.primitive.name == "sub"
    for product, vector in [(one, other)] if subtracted else [(one, other), (other, one)]:
        if product.site and vector.leaf and len(product.terms) == len(vector.terms) == 1:
            factors = vector.terms[0].factors, product.terms[0].factors
            sign = -1 if subtracted else 1
            system.added.append(Added(product.site, vector.leaf, sign, *factors))
    return equal(eqn, degrees, system)


def converted(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Between floats; a whole number has no factor."""
    if jnp.issubdtype(aval_of(eqn.outvars[0]).dtype, jnp.inexact):
        return degrees
    return fixed(eqn, degrees, system)


def equal(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Sums, maxima and choices: all operands are multiplied alike."""
    return [system.equal([ranked(eqn, d, system) for d in degrees])]


def chosen(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """A choice among cases: what chooses is no number."""
    return equal(eqn, degrees[1:], system)


def compared(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """Comparisons see no positive factor that both sides have."""
    equal(eqn, degrees, system)
    return [Degree(place=system.place)]


def signed(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """What a positive factor does not change: a sign, whether an entry is finite."""
    del eqn, degrees
    return [Degree(place=system.place)]


def product(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """The product of the factors."""
    system.gains.update(degree.leaf for degree in degrees if degree.leaf)
    return [times(*(ranked(eqn, d, system) for d in degrees))]


def quotient(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """The quotient of the factors."""
    above, below = (ranked(eqn, d, system) for d in degrees)
    return [times(above, Degree(inverse(below.terms), below.free, below.place))]


def times(one: Degree, other: Degree) -> Degree:
    """The degree of a product."""
    if one.free or other.free:
        return FREE
    return Degree(combined((*one.terms, *other.terms)), place=one.place or other.place)


def to_power(power: Fraction):
    """A fixed power: squares and roots."""

    def rule(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
        del eqn, system
        (degree,) = degrees
        return [Degree(powered(degree.terms, power), degree.free, degree.place)]

    return rule


def integer_power(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """A whole power; the zeroth is one."""
    if not eqn.params["y"]:
        return [Degree(place=system.place)]
    return to_power(Fraction(eqn.params["y"]))(eqn, degrees, system)


def written_power(eqn: JaxprEqn, degrees: list[Degree], system: System) -> list[Degree]:
    """A power written in the program; any other lets nothing pass."""
    exponent = eqn.invars[1]
    if not isinstance(exponent, Literal) or not np.asarray(exponent.val):
        return fixed(eqn, degrees, system)
    power = Fraction(float(exponent.val)).limit_denominator(64)
    if float(power) != float(exponent.val):
        return fixed(eqn, degrees, system)
    return to_power(power)(eqn, degrees[:1], system)


def ranked(eqn: JaxprEqn, degree: Degree, system: System) -> Degree:
    """The degree at the result's rank: a scalar may meet an array in one equation."""
    missing = system.depth + len(aval_of(eqn.outvars[0]).shape)
    return mapped(degree, lambda f: f.reshape(*f.shape, *(1,) * (missing - f.ndim)))


RULES = (
    dict.fromkeys(ENTRY_KEEPING, same)
    | dict.fromkeys(("abs", "conj", "imag", "neg", "real"), turned)
    | dict.fromkeys(("max", "min", "rem", "complex", "clamp"), equal)
    | dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "atan2"), compared)
    | dict.fromkeys(("sign", "is_finite"), signed)
    | dict.fromkeys(("add", "add_any", "sub"), added)
    | {
        "cbrt": to_power(Fraction(1, 3)),
        "convert_element_type": converted,
        "device_put": through,
        "div": quotient,
        "integer_pow": integer_power,
        "mul": product,
        "optimization_barrier": through,
        "pow": written_power,
        "rsqrt": to_power(Fraction(-1, 2)),
        "select_n": chosen,
        "sqrt": to_power(Fraction(1, 2)),
        "square": to_power(Fraction(2)),
    }
)
