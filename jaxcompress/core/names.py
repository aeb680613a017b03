"""Leaf names: one readable path per leaf, the same for every framework.

A name joins the keys of the path with "/". The leading dict key `params` and a trailing
attribute key `value` (an NNX Variable) are dropped; a dict key called `value` never is.
A tree that is itself one leaf has the name ".".
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.types import PyTree


def leaf_names(tree: PyTree) -> PyTree:
    """Names every leaf, in a tree of the same structure.

    Args:
      tree: any pytree of arrays, shapes or compressed leaves.

    Returns:
      Tree of str, one per leaf; a compressed leaf counts as one.

    Raises:
      ValueError: two leaves would have the same name.

    Example:
      >>> jc.leaf_names({"params": {"dense": {"kernel": jnp.ones((2, 2))}}})
      {'params': {'dense': {'kernel': 'dense/kernel'}}}
    """
    names = [name for name, _ in _named(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree, is_leaf=is_compressed), names)


def named_leaves(tree: PyTree) -> dict[Any, Any]:
    """Gives the leaves by name, in the tree's own order.

    Args:
      tree: any pytree of arrays, shapes or compressed leaves.

    Returns:
      Dict from name to leaf.

    Raises:
      ValueError: two leaves would have the same name.

    Example:
      >>> list(jc.named_leaves([jnp.ones(2), {"bias": jnp.ones(3)}]))
      ['0', '1/bias']
    """
    return dict(_named(tree))


def map_named(function: Callable[..., Any], tree: PyTree, *rest: PyTree) -> PyTree:
    """`jax.tree.map` that passes the leaf's name as the first argument."""
    return jax.tree.map(function, leaf_names(tree), tree, *rest, is_leaf=is_compressed)


def _named(tree: PyTree) -> list[tuple[str, object]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_compressed)
    named = [(leaf_name(path), leaf) for path, leaf in leaves]
    seen = set()
    for name, _ in named:
        if name in seen:
            raise ValueError(
                f"leaf_names(tree): two leaves are named {name!r}. Rename one of them."
            )
        seen.add(name)
    return named


def leaf_name(path: tuple[Any, ...]) -> str:
    """The name of the leaf at the end of a path of JAX's keys."""
    if path and isinstance(path[-1], GetAttrKey) and path[-1].name == "value":
        path = path[:-1]
    keys = [key_name(entry) for entry in path]
    if len(keys) > 1 and path[0] == DictKey("params"):
        keys = keys[1:]
    return "/".join(keys) or "."


def key_name(entry: Any) -> str:
    """Gives the part of a name that one key of a path contributes."""
    match entry:
        case DictKey(key=key) | FlattenedIndexKey(key=key):
            return str(key)
        case GetAttrKey(name=name):
            return name
        case SequenceKey(idx=index):
            return str(index)
    return str(entry)
