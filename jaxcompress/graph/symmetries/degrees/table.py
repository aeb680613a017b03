"""The rule of every primitive by name; what is not here lets no factor pass."""

from jaxcompress.graph.symmetries.degrees import indexing, pointwise, shape, summing

RULES = pointwise.RULES | shape.RULES | summing.RULES | indexing.RULES


def rule_of(primitive: str):
    """The rule: (equation, degrees of operands, system) to degrees of results."""
    return RULES.get(primitive, pointwise.fixed)
