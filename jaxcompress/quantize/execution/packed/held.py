"""Which arrays a program's results need."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Literal


def needed(
    run: Callable[..., Any], shapes: Sequence[Any], inputs: tuple[Any, ...]
) -> tuple[bool, ...]:
    """Which of the arrays of `run(arrays, inputs)` its results are made of.

    One pass backwards over the equations; one that is needed needs all it reads.
    """
    jaxpr = jax.make_jaxpr(run)(list(shapes), inputs).jaxpr
    read = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or not read.isdisjoint(eqn.outvars):
            read |= {atom for atom in eqn.invars if not isinstance(atom, Literal)}
    return tuple(var in read for var in jaxpr.invars[: len(shapes)])
