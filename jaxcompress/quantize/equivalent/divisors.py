"""Which running variance the scale of a norm is divided by, read from the program."""

from collections.abc import Mapping
from typing import NamedTuple

from jax.extend.core import Literal

from jaxcompress.graph import Program
from jaxcompress.graph.jaxprs import aval_of, scan_loop
from jaxcompress.graph.primitives import ENTRY_KEEPING
from jaxcompress.graph.steps import Block, Step
from jaxcompress.graph.traversal import forward


class Variance(NamedTuple):
    """A variance that a norm stores, and what is added to it under the root."""

    leaf: str
    epsilon: float


class _Value(NamedTuple):
    """What is known of a value, in terms of leaves.

    Attributes:
      leaf: the leaf that it is, perhaps in another shape.
      number: the number that it is.
      under: the variance that it is, with what is added.
      root: the variance that it is the root of.
      gains: leaves that it was multiplied by.
      divisors: variances whose roots it was divided by.
    """

    leaf: str | None = None
    number: float | None = None
    under: Variance | None = None
    root: Variance | None = None
    gains: frozenset[str] = frozenset()
    divisors: frozenset[Variance] = frozenset()


Found = dict[str, frozenset[Variance]]

_MOVES = (ENTRY_KEEPING - {"neg"}) | {
    "broadcast_in_dim",
    "expand_dims",
    "reshape",
    "squeeze",
    "transpose",
}


def variances(program: Program) -> Mapping[str, Variance]:
    """Finds the stored variance whose root each leaf is divided by, in one norm.

        y = … · leaf / sqrt(variance + epsilon) …      in any order, with rsqrt or sqrt

    Only where there is one, and of the leaf's shape: a layer norm stores none.

    Args:
      program: what `trace` gave.

    Returns:
      By the name of the leaf.

    Example:
      >>> def fn(params, x):
      ...     return x * jax.lax.rsqrt(params["var"] + 0.5) * params["scale"]
      >>> params = {"scale": jnp.ones(3), "var": jnp.ones(3)}
      >>> variances(jc.graph.trace(fn, params, jnp.ones(3)))
      {'scale': Variance(leaf='var', epsilon=0.5)}
    """
    found: Found = {}
    leaves = {leaf.name: leaf for leaf in program.leaves}
    inputs = len(program.block.jaxpr.invars) - len(leaves)
    _walk(program.block, [*map(_Value, leaves), *[_Value()] * inputs], found)
    return {
        name: next(iter(each))
        for name, each in found.items()
        if len(each) == 1 and leaves[name].shape == leaves[next(iter(each)).leaf].shape
    }


def _walk(block: Block, operands: list[_Value], found: Found) -> list[_Value]:
    def through(index: int, operands: list[_Value]) -> list[_Value]:
        step = block.steps[index]
        if step.blocks:
            return _inside(step, operands, found)
        return [_result(step.eqn.primitive.name, operands, found)] * len(step.eqn.outvars)

    consts = [_Value()] * len(block.jaxpr.constvars)
    return forward(block.jaxpr, consts, operands, through, _of_literal)


def _of_literal(literal: Literal) -> _Value:
    return _Value(number=float(literal.val)) if aval_of(literal).shape == () else _Value()


def _inside(step: Step, operands: list[_Value], found: Found) -> list[_Value]:
    """Nothing is known of what loops carry or branches give: norms lie within them."""
    nothing = [_Value()] * len(step.eqn.outvars)
    match step.eqn.primitive.name:
        case "scan":
            loop = scan_loop(step.eqn)
            last = loop.fixed + loop.carried
            carry = [_Value()] * loop.carried
            _walk(step.blocks[0], [*operands[: loop.fixed], *carry, *operands[last:]], found)
            return nothing
        case "while":
            begin, count = (step.eqn.params[f"{part}_nconsts"] for part in ("cond", "body"))
            carry = [_Value()] * (len(operands) - begin - count)
            _walk(step.blocks[1], [*operands[begin : begin + count], *carry], found)
            return nothing
        case "cond":
            for block in step.blocks:
                _walk(block, operands[1:], found)
            return nothing
    return _walk(step.blocks[0], operands, found)


def _result(primitive: str, operands: list[_Value], found: Found) -> _Value:
    """What is known of an equation's result."""
    if primitive in _MOVES:
        return operands[0]
    match primitive, operands:
        case "add", [_Value(leaf=str(name)), _Value(number=float(epsilon))]:
            return _Value(under=Variance(name, epsilon))
        case "add", [_Value(number=float(epsilon)), _Value(leaf=str(name))]:
            return _Value(under=Variance(name, epsilon))
        case "add" | "sub", [one, other]:
            return _Value(gains=one.gains | other.gains, divisors=one.divisors | other.divisors)
        case "rsqrt", [_Value(under=Variance() as variance)]:
            return _Value(divisors=frozenset((variance,)))
        case "sqrt", [_Value(under=Variance() as variance)]:
            return _Value(root=variance)
        case "div", [one, _Value(root=Variance() as variance)]:
            return _product(one, _Value(divisors=frozenset((variance,))), found)
        case "mul", [one, other]:
            return _product(one, other, found)
    return _Value()


def _product(one: _Value, other: _Value, found: Found) -> _Value:
    """A product; one with a scale and a divisor is a whole norm, and begins anew."""
    gains = one.gains | other.gains | {each.leaf for each in (one, other) if each.leaf}
    divisors = one.divisors | other.divisors
    if not (gains and divisors):
        return _Value(gains=gains, divisors=divisors)
    for name in gains:
        found[name] = found.get(name, frozenset()) | divisors
    return _Value()
