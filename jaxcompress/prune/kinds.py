"""Which kinds of leaves can be pruned, by dtype and size."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.left_out import Obstacle, by_kind, left_out
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import weights
from jaxcompress.core.trees import chosen_by
from jaxcompress.core.types import Array, Params, Selector

Kind = Callable[[Array], Obstacle | None]
"""What the kind of a leaf, such as its dtype, has against pruning it."""


def real(leaf: Any) -> Obstacle | None:
    """What keeps a leaf from being pruned: it is no real floating array, or empty."""
    mend = "Prune first, then quantize with the masks; or leave it out with select=."
    return by_kind(leaf, mend)


def sized(leaf: Any) -> Obstacle | None:
    """As `real`, but a complex leaf passes: it is worth its absolute values."""
    if not is_compressed(leaf) and jnp.iscomplexobj(leaf):
        leaf = jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.float32)
    return real(leaf)


def check_leaf(caller: str, name: str, leaf: Any) -> None:
    """Raises an error for a leaf that is compressed, empty or not real floating."""
    obstacle = real(leaf)
    if obstacle is not None:
        raise obstacle.error(
            f"{caller}: leaf {name!r} cannot be pruned: {obstacle.reason}. {obstacle.mend}"
        )


def real_leaves(caller: str, params: Params, select: Selector | None) -> list[str]:
    """The names of the leaves to prune where no target says more; default `weights()`.

    Raises:
      ValueError: no leaf is selected; one that `select` names is empty, or all are.
      TypeError: such a leaf is compressed or not real floating.
    """
    leaves = named_leaves(params)
    wanted = chosen_by(caller, select or weights(), params)
    selected = [name for name in leaves if wanted[name]]
    if leaves and not selected:
        raise ValueError(f"{caller}(select=...) selects no leaf. Leaves are: {', '.join(leaves)}.")
    obstacles = {name: real(leaves[name]) for name in selected}
    unfit = {name: each for name, each in obstacles.items() if each is not None}
    left = left_out(caller, unfit, selected, select, None)
    return [name for name in selected if name not in left]
