"""The rule of every primitive by name, since releases of JAX differ in them."""

from jaxcompress.graph.primitives import POINTWISE
from jaxcompress.graph.surgery.axis_rules import (
    calls,
    contraction,
    creation,
    derivatives,
    indexing,
    linear_algebra,
    pointwise,
    reduce,
    shape,
)
from jaxcompress.graph.surgery.axis_rules.rule import Rule

RULES: dict[str, Rule] = (
    dict.fromkeys(POINTWISE, pointwise.POINTWISE_RULE)
    | pointwise.RULES
    | contraction.RULES
    | shape.RULES
    | reduce.RULES
    | indexing.RULES
    | linear_algebra.RULES
    | creation.RULES
    | calls.RULES
    | derivatives.RULES
)
"""Primitives that are not here have no rule: every axis that meets one stays whole."""


def rule_of(primitive: str) -> Rule:
    """The rule of a primitive; without one, it keeps every axis whole."""
    return RULES.get(primitive, creation.PINNED)
