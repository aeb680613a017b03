"""What the techniques of this room share: one number for each weight to start with."""

from collections.abc import Callable, Collection
from typing import Any

import jax.numpy as jnp

from jaxcompress.core.companions import Companions, begin, require, seen
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.names import map_named
from jaxcompress.core.types import Array, Params
from jaxcompress.prune.kinds import check_leaf


def per_weight(params: Params, names: Collection[str], start: float) -> Companions:
    """`start` for each weight of the leaves of these names, float32 by leaf name."""

    def of_leaf(name: str, leaf) -> Array:
        del name
        return jnp.zeros_like(leaf, jnp.float32) + start

    return begin(params, map_named(lambda name, _: name in names, params), of_leaf)


def fitting(
    caller: str, params: Params, companions: Companions, fits: Callable[[Any, Any], bool]
) -> Companions:
    """The companions as arrays by name; raises where they do not fit."""
    companions = dict(unwrapped(companions))
    require(caller, params, companions, fits)
    seen(params, companions, lambda name, leaf: check_leaf(caller, name, leaf))
    return companions
