"""Running statistics: leaves that training mode writes and no gradient moves.

A function carries which of its leaves they are, so that who trains it can refuse to
train them.
"""

from collections.abc import Callable, Collection
from typing import Any

import jax

from jaxcompress.core.names import leaf_names
from jaxcompress.core.types import Params, Selector

_MARK = "statistics"


def named(names: Collection[str]) -> Selector:
    """Selects the leaves of these names, none where a tree has none of them."""
    return lambda params: jax.tree.map(lambda name: name in names, leaf_names(params))


none = named(())
"""Selects nothing: of models without running statistics."""


def reading(select: Selector, fn: Callable[..., Any]) -> None:
    """Notes on a function that it reads the selected leaves as statistics."""
    setattr(fn, _MARK, select)


def statistics_of(fn: Callable[..., Any]) -> Selector:
    """The leaves that a function reads as statistics; none where nothing is noted.

    Example:
      >>> fn = lambda params, x: (x - params["mean"]) * params["scale"]
      >>> reading(named(["mean"]), fn)
      >>> statistics_of(jax.jit(fn))({"mean": 0.0, "scale": 1.0})
      {'mean': True, 'scale': False}
    """
    return getattr(fn, _MARK, none)


def check_untrained(caller: str, fn: Callable[..., Any], params: Params, select: Selector) -> None:
    """Raises a ValueError where leaves train that the function reads as statistics."""
    both = jax.tree.map(
        lambda name, trains, statistic: name if trains and statistic else "",
        *(leaf_names(params), select(params), statistics_of(fn)(params)),
    )
    if names := [name for name in jax.tree.leaves(both) if name]:
        raise ValueError(
            f"{caller}(params=...): leaves {', '.join(names)} are running statistics, which this "
            "model only reads and the optimizer would move as weights. Leave them out, with "
            "Recipe(..., select=none_of(functional.statistics)), and train with "
            "supervised_with_state(functional.train_fn, loss) where they are to follow the data."
        )
