"""What the techniques of this room share: one number for each weight to start with."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxcompress.core.companions import Companions, begin, require, seen
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.prune import chosen


def per_weight(caller: str, params: Params, selected: PyTree, start: float) -> Companions:
    """`start` for each weight of the selected leaves, float32 by leaf name."""

    def of_leaf(name: str, leaf) -> Array:
        chosen.check_leaf(caller, name, leaf)
        return jnp.zeros_like(leaf, jnp.float32) + start

    return begin(params, selected, of_leaf)


def fitting(
    caller: str, params: Params, companions: Companions, fits: Callable[[Any, Any], bool]
) -> Companions:
    """The companions as arrays by name; raises where they do not fit."""
    companions = dict(unwrapped(companions))
    require(caller, params, companions, fits)
    seen(params, companions, lambda name, leaf: chosen.check_leaf(caller, name, leaf))
    return companions
