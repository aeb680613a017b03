"""Leaves that a method cannot treat: left out, or refused where asked for by name.

Each method says what stands in a leaf's way; what follows from it is decided here, for
all methods alike. What a default took is left out, and the report says why; what the
caller asked for by name is refused; and where nothing is left the call raises.
"""

from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.rules import as_rules
from jaxcompress.core.types import Selector

MOST_NAMED = 5
"""Leaves whose reasons an error gives; a model may have thousands."""

LEAVE_IT_OUT = "Leave it out with select=, or with Rules that do not match it."
BY_RULES = "Leave it out with Rules that do not match it."
"""Of verbs that have no `select`."""


class Obstacle(NamedTuple):
    """Why a method cannot treat a leaf.

    Attributes:
      reason: a clause, such as "it has no entry".
      mend: what the caller may do, a sentence.
      error: what is raised where the leaf was asked for by name.
    """

    reason: str
    mend: str = LEAVE_IT_OUT
    error: type[Exception] = ValueError


class UnfitLeafError(ValueError):
    """Raised by what treats one leaf, such as a pattern, where this one does not fit.

    A verb catches it when it chooses leaves: see `left_out`.
    """

    def __init__(self, caller: str, obstacle: Obstacle):
        super().__init__(f"{caller}: {obstacle.reason}. {obstacle.mend}")
        self.obstacle = obstacle


def left_out(
    caller: str,
    obstacles: Mapping[str, Obstacle],
    chosen: Iterable[str],
    select: Selector | None,
    rules: Any,
) -> dict[str, str]:
    """Gives the chosen leaves that are left out, with the reason.

    Args:
      caller: the method.
      obstacles: by leaf name, of the leaves that the method cannot treat.
      chosen: the leaves that the method is to change.
      select: the selector that the user gave, or None.
      rules: those that the user gave, or one value for every leaf.

    Returns:
      Reason by leaf name, for the report.

    Raises:
      ValueError: such a leaf was asked for by name, by a selector or by a rule other
        than "*"; or all of them are such. A TypeError where the obstacle says so.

    Example:
      >>> left_out("prune", {"b": Obstacle("it has no entry")}, ["a", "b"], None, 0.5)
      {'b': 'it has no entry'}
    """
    chosen = list(chosen)
    found = {name: obstacles[name] for name in chosen if name in obstacles}
    for name, obstacle in found.items():
        if select is not None or as_rules(rules).by_name(name):
            raise obstacle.error(
                f"{caller}: leaf {name!r} was asked for by name, but {obstacle.reason}. "
                f"{obstacle.mend}"
            )
    if found and len(found) == len(chosen):
        first, *_ = found.values()
        reasons = [f"{name!r}: {each.reason}" for name, each in found.items()]
        more = [f"and {len(reasons) - MOST_NAMED} more"] if len(reasons) > MOST_NAMED else []
        raise first.error(
            f"{caller}: no leaf is left to change. {'; '.join(reasons[:MOST_NAMED] + more)}. "
            f"{first.mend}"
        )
    return {name: obstacle.reason for name, obstacle in found.items()}


def without_data(reasons: Mapping[str, str]) -> dict[str, Obstacle]:
    """The obstacles of leaves that no data reached, from the reasons."""
    mend = "Give data that reach it, or leave it out."
    return {name: Obstacle(reason, mend) for name, reason in reasons.items()}


def by_kind(leaf: Any, mend: str, leave: str = LEAVE_IT_OUT) -> Obstacle | None:
    """What keeps methods for real arrays from a leaf, whatever its shape; or None.

    Args:
      leaf: array, shape, compressed leaf or Python number.
      mend: what the method says of compressed leaves.
      leave: how the caller leaves a leaf out.

    Example:
      >>> by_kind(jnp.ones(2, jnp.int8), "").reason
      'it has dtype int8, and only real floating leaves can be compressed'
    """
    if is_constant(leaf):
        return Obstacle(
            f"it is a Python {type(leaf).__name__}, no array",
            f"Make it one with jnp.asarray. {leave}",
            TypeError,
        )
    if is_compressed(leaf):
        return Obstacle(f"it is already {leaf!r}", mend, TypeError)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        reason = f"it has dtype {leaf.dtype}, and only real floating leaves can be compressed"
        return Obstacle(reason, leave, TypeError)
    if leaf.size == 0:
        return Obstacle(f"it has shape {tuple(leaf.shape)}, no entry", leave)
    return None


def is_constant(leaf: Any) -> bool:
    """Whether a leaf is a Python number: a constant of the model that is no array."""
    return isinstance(leaf, Number) and not hasattr(leaf, "dtype")
