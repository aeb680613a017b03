"""The outline of a tree as JSON, and the tree again.

Dict, list, tuple and None come back as they were. Of any other node (`nnx.State`, an
Equinox module, a named tuple) the outline has the children by name, so that it comes
back as a dict; a template gives the node itself back.
"""

import json
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
from jax.tree_util import GetAttrKey

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import key_name, named_leaves
from jaxcompress.core.types import PyTree

LEAF, ABSENT = 0, -1
Outline = dict | list | int | None
"""A leaf is 0, None is null, a dict with text keys an object. A list starts with
its kind: ["l", children…], ["t", children…], or ["d", [key, child]…] for a dict with
other keys: numbers, truth values, null, and lists for tuples of them.
"""

_NUMBERS = (bool, int, float)
_LARGEST_KEY = 2**63


def to_text(caller: str, tree: PyTree) -> str:
    """The outline as compact JSON, or "" where `from_names` gives the tree.

    Raises:
      TypeError: a dict has keys that a file cannot describe, or JAX cannot sort.

    Example:
      >>> to_text("save", {"dense": {"kernel": 1.0}})
      ''
      >>> to_text("save", [1.0, {3: (2.0, None)}])
      '["l",0,["d",[3,["t",0,null]]]]'
    """
    shape = _outline(caller, tree, ())
    if shape == _implied(caller, tree):
        return ""
    return json.dumps(shape, separators=(",", ":"), ensure_ascii=False)


def from_text(text: str, leaves: Iterable) -> PyTree:
    """The tree of this outline whose leaves come in its order.

    Raises:
      ValueError: the text is no outline, or one with more or fewer leaves.
    """
    leaves = iter(leaves)
    tree = _rebuilt(json.loads(text), leaves)
    if any(True for _ in leaves):
        raise ValueError("the outline has fewer leaves than the file")
    return tree


class NameClashError(ValueError):
    """One leaf's name is the folder of another's."""


def from_names(leaves: Mapping[str, object]) -> PyTree:
    """Nested dicts by the parts of the names.

    Raises:
      NameClashError: a name is also the beginning of another.

    Example:
      >>> from_names({"dense/bias": 1, "dense/kernel": 2})
      {'dense': {'bias': 1, 'kernel': 2}}
    """
    if list(leaves) == ["."]:
        return leaves["."]
    folders: dict[tuple[str, ...], dict] = {(): {}}
    for name, leaf in leaves.items():
        *path, last = name.split("/")
        folder = _folder(folders, tuple(path))
        if last in folder:
            raise NameClashError(f"{name!r} names both a leaf and a folder of leaves")
        folder[last] = leaf
    return folders[()]


def _folder(folders: dict[tuple[str, ...], dict], path: tuple[str, ...]) -> dict:
    if path not in folders:
        parent = _folder(folders, path[:-1])
        if path[-1] in parent:
            raise NameClashError(f"{'/'.join(path)!r} names both a leaf and a folder of leaves")
        folders[path] = parent[path[-1]] = {}
    return folders[path]


def _implied(caller: str, tree: PyTree) -> Outline:
    """The outline of what `from_names` gives for the names of the tree."""
    try:
        return _outline(caller, from_names(named_leaves(tree)), ())
    except NameClashError:
        return ABSENT


def _outline(caller: str, node, place: tuple[str, ...]) -> Outline:
    if node is None:
        return None
    if type(node) is dict:
        _check_keys(caller, list(node), place)
    children = [] if is_compressed(node) else _children(node)
    if is_compressed(node) or [path for path, _ in children] == [()]:
        return LEAF
    keys = [path[-1] for path, _ in children]
    below = [
        _outline(caller, child, (*place, key_name(key)))
        for key, (_, child) in zip(keys, children, strict=True)
    ]
    if type(node) in (list, tuple):
        return ["l" if type(node) is list else "t", *below]
    if type(node) is dict and not all(type(key) is str for key in node):
        return ["d", *([key.key, child] for key, child in zip(keys, below, strict=True))]
    if keys == [GetAttrKey("value")] and not isinstance(node, tuple):
        return below[0]  # a Variable of NNX, whose name leaves this out too
    return dict(zip(map(key_name, keys), below, strict=True))


def _children(node) -> list[tuple[tuple, Any]]:
    """The children with their keys; of a leaf itself, without a key."""
    return jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda below: below is not node)[0]


def _check_keys(caller: str, keys: list, place: tuple[str, ...]) -> None:
    call = f"{caller}(tree): the dict at {'/'.join(place) or '.'!r}"
    for key in keys:
        if not _describable(key):
            raise TypeError(
                f"{call} has the key {reprlib.repr(key)} of type {type(key).__name__}, which a "
                "file cannot describe. Use texts, finite numbers of at most 64 bits, truth values, "
                "None or tuples of these."
            )
    kinds = {"number" if type(key) in _NUMBERS else type(key).__name__ for key in keys}
    if len(kinds) > 1:
        raise TypeError(
            f"{call} has keys of the kinds {', '.join(sorted(kinds))}, which JAX cannot sort. Use "
            "keys of one kind."
        )


def _describable(key) -> bool:
    if type(key) is tuple:
        return all(map(_describable, key))
    if type(key) in _NUMBERS:
        return math.isfinite(key) and (type(key) is float or abs(key) < _LARGEST_KEY)
    return key is None or type(key) is str


def _rebuilt(shape: Outline, leaves: Iterator) -> PyTree:
    match shape:
        case None:
            return None
        case dict():
            return {key: _rebuilt(child, leaves) for key, child in shape.items()}
        case ["l", *children]:
            return [_rebuilt(child, leaves) for child in children]
        case ["t", *children]:
            return tuple(_rebuilt(child, leaves) for child in children)
        case ["d", *items]:
            return {_key(key): _rebuilt(child, leaves) for key, child in items}
        case 0:
            return _following(leaves)
    raise ValueError(f"{shape!r} is not the outline of a tree")


def _key(key):
    return tuple(map(_key, key)) if isinstance(key, list) else key


def _following(leaves: Iterator):
    for leaf in leaves:
        return leaf
    raise ValueError("the outline has more leaves than the file")
