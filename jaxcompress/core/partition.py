"""Splits a tree into leaves that train and leaves that do not, and joins them again."""

import jax

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named
from jaxcompress.core.trees import chosen_by, first_difference
from jaxcompress.core.types import Params, PyTree, Selector


def partition(tree: Params, select: Selector) -> tuple[PyTree, PyTree]:
    """Splits a tree into two of the same outline: the selected leaves, and all others.

    The way to train beside integer leaves or norm statistics: differentiate with
    respect to the first tree and `combine` inside the loss.

    Args:
      tree: params; leaves of any dtype.
      select: which leaves go to the first tree.

    Returns:
      (selected, others). Where a leaf belongs to the other tree there is `None`, an
      empty subtree, so both trees pass through `jax.grad`, optax and jit.

    Raises:
      TypeError: `select` gives no tree of bool for the params.

    Example:
      >>> params = {"kernel": jnp.ones((2, 2)), "steps": jnp.zeros((), jnp.int32)}
      >>> trainable, frozen = jc.partition(params, jc.inexact())
      >>> trainable["steps"], frozen["kernel"]
      (None, None)
    """
    selected = chosen_by("partition", select, tree)
    first = map_named(lambda name, leaf: leaf if selected[name] else None, tree)
    second = map_named(lambda name, leaf: None if selected[name] else leaf, tree)
    return first, second


def combine(first: PyTree, second: PyTree) -> Params:
    """Joins the two trees that `partition` gave.

    Args:
      first: tree with `None` where the leaf is in `second`.
      second: tree with `None` where the leaf is in `first`.

    Returns:
      The full tree.

    Raises:
      ValueError: a leaf is in both trees, or the trees are not of one outline.

    Example:
      >>> jc.combine({"a": 1, "b": None}, {"a": None, "b": 2})
      {'a': 1, 'b': 2}
    """
    outlines = [jax.tree.structure(tree, is_leaf=_is_place) for tree in (first, second)]
    if outlines[0] != outlines[1]:
        raise ValueError(
            f"combine(first=..., second=...): the trees differ, {first_difference(first, second)}. "
            "Pass the two trees of one `partition`."
        )
    return jax.tree.map(_whichever, first, second, is_leaf=_is_place)


def _is_place(leaf) -> bool:
    return leaf is None or is_compressed(leaf)


def _whichever(first, second):
    if first is not None and second is not None:
        raise ValueError(
            f"combine(first, second): a leaf of shape {jax.numpy.shape(first)} is in both trees. "
            "Pass the two trees of one `partition`."
        )
    return second if first is None else first
