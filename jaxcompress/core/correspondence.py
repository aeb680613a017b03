"""Matches arrays of an optimizer's state with params, by path and shape."""

from typing import Any

import jax.numpy as jnp

from jaxcompress.core.types import Array


def start_of_param(
    path: tuple[Any, ...], leaf: Array, shapes: dict[tuple[Any, ...], tuple[int, ...]]
) -> int | None:
    """Finds where a param's path begins in the path of a state leaf that belongs to it.

    It does when its path ends with the param's, and it is floating and of the param's
    shape. So moments, traces and accumulated gradients do; counts, hyperparameters and
    factored moments do not.

    Args:
      path: of a leaf of the state.
      leaf: that leaf.
      shapes: of the params, by path.

    Returns:
      Position in `path`, of the longest match; None if there is none.

    Example:
      >>> state = optax.sgd(0.1, momentum=0.9).init({"kernel": jnp.ones(2)})
      >>> ((path, leaf),) = jax.tree_util.tree_leaves_with_path(state)
      >>> start = start_of_param(path, leaf, {(jax.tree_util.DictKey("kernel"),): (2,)})
      >>> path[start:]
      (DictKey(key='kernel'),)
    """
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
        return None
    # The longest match: a tree that is one leaf has the empty path, which ends all.
    return next(
        (start for start in range(len(path) + 1) if shapes.get(path[start:]) == jnp.shape(leaf)),
        None,
    )
