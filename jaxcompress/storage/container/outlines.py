"""The outline of a tree as JSON, and the tree again.

Dict, list, tuple and None come back as they were. Of any other node (`nnx.State`, an
Equinox module, a named tuple) the outline has the children by name, so that it comes
back as a dict; a template gives the node itself back.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.tree_util import GetAttrKey

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import key_name, named_leaves
from jaxcompress.core.types import PyTree
from jaxcompress.storage.container.errors import contradiction
from jaxcompress.storage.container.limits import DEEPEST
from jaxcompress.storage.container.texts import parsed

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
      ValueError: the tree nests deeper than `DEEPEST`.

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


def from_text(text: str, leaves: Mapping[str, object]) -> PyTree:
    """The tree of this outline, with these leaves in their order.

    Raises:
      FileError: the text is no outline, or one whose leaves have other names.
    """
    following = iter(leaves.items())
    tree = _rebuilt(parsed(text, "the outline"), following, ())
    if any(True for _ in following):
        raise contradiction("the outline has fewer leaves than the file")
    return tree


class NamesError(ValueError):
    """The names of the leaves give no tree."""


def from_names(leaves: Mapping[str, object]) -> PyTree:
    """Nested dicts by the parts of the names.

    Raises:
      NamesError: a name is also the beginning of another, or has too many parts.

    Example:
      >>> from_names({"dense/bias": 1, "dense/kernel": 2})
      {'dense': {'bias': 1, 'kernel': 2}}
    """
    if list(leaves) == ["."]:
        return leaves["."]
    root: dict[Any, Any] = {}
    for name, leaf in leaves.items():
        if name.count("/") >= DEEPEST:
            raise NamesError(f"the name {shown(name)} has more than {DEEPEST} parts")
        *path, last = name.split("/")
        folder: Any = root
        for i, part in enumerate(path, 1):
            folder = folder.setdefault(part, {})
            if not isinstance(folder, dict):
                raise _clash("/".join(path[:i]))
        if last in folder:
            raise _clash(name)
        folder[last] = leaf
    return root


def _clash(name: str) -> NamesError:
    return NamesError(f"{shown(name)} names both a leaf and a folder of leaves")


def _implied(caller: str, tree: PyTree) -> Outline:
    """The outline of what `from_names` gives for the names of the tree."""
    try:
        return _outline(caller, from_names(named_leaves(tree)), ())
    except NamesError:
        return ABSENT


def _outline(caller: str, node, place: tuple[str, ...]) -> Outline:
    if len(place) > DEEPEST:
        raise ValueError(
            f"{caller}(tree): the node at {shown('/'.join(place))} is nested in more than "
            f"{DEEPEST} others. Save inner nodes as files of their own."
        )
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


def _children(node) -> list[tuple[tuple[Any, ...], Any]]:
    """The children with their keys; of a leaf itself, without a key."""
    return jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda below: below is not node)[0]


def _check_keys(caller: str, keys: list[Any], place: tuple[str, ...]) -> None:
    call = f"{caller}(tree): the dict at {shown('/'.join(place) or '.')}"
    for key in keys:
        if not _describable(key):
            raise TypeError(
                f"{call} has the key {shown(key)} of type {type(key).__name__}, which a "
                "file cannot describe. Use texts, finite numbers of at most 64 bits, truth values, "
                "None or tuples of these."
            )
    kinds = {"number" if type(key) in _NUMBERS else type(key).__name__ for key in keys}
    if len(kinds) > 1:
        raise TypeError(
            f"{call} has keys of the kinds {', '.join(sorted(kinds))}, which JAX cannot sort. Use "
            "keys of one kind."
        )


def _describable(key, depth: int = 0) -> bool:
    if type(key) is tuple:
        return depth < DEEPEST and all(_describable(each, depth + 1) for each in key)
    if type(key) in _NUMBERS:
        return math.isfinite(key) and (type(key) is float or abs(key) < _LARGEST_KEY)
    return key is None or type(key) is str


def _rebuilt(shape, leaves: Iterator[tuple[str, object]], path: tuple[str, ...]) -> PyTree:
    if len(path) > DEEPEST:
        raise contradiction(f"the outline nests deeper than {DEEPEST} nodes")

    def child(key, shape) -> PyTree:
        return _rebuilt(shape, leaves, (*path, str(key)))

    match shape:
        case None:
            return None
        case dict():
            return {key: child(key, below) for key, below in shape.items()}
        case [("l" | "t") as kind, *below]:
            children = [child(i, each) for i, each in enumerate(below)]
            return children if kind == "l" else tuple(children)
        case ["d", *items]:
            return {key: child(key, below) for key, below in _keyed(items)}
        case 0 if type(shape) is int:
            return _following(leaves, path)
    raise contradiction(f"{shown(shape)} is not the outline of a tree")


def _keyed(items: list[Any]) -> list[tuple[Any, Any]]:
    """The keys and children of a dict with keys that are no texts."""
    found = []
    for item in items:
        if not isinstance(item, list) or len(item) != 2:
            raise contradiction(f"{shown(item)} is not a key and an outline")
        key = _key(item[0], 0)
        if not _describable(key):
            raise contradiction(f"{shown(key)} is not a key of a dict")
        found.append((key, item[1]))
    keys = [key for key, _ in found]
    try:
        sorted(keys)
    except TypeError as error:
        raise contradiction(f"the keys {shown(keys)} have no order") from error
    if len(set(keys)) < len(keys):
        raise contradiction(f"of the keys {shown(keys)} two are equal")
    return found


def _key(key, depth: int):
    if isinstance(key, list) and depth <= DEEPEST:
        return tuple(_key(each, depth + 1) for each in key)
    return key


def _following(leaves: Iterator[tuple[str, object]], path: tuple[str, ...]):
    found = next(leaves, None)
    if found is None:
        raise contradiction("the outline has more leaves than the file")
    name, leaf = found
    if name not in _possible_names(path):
        raise contradiction(f"the outline calls leaf {shown(name)} {shown('/'.join(path))}")
    return leaf


def _possible_names(path: tuple[str, ...]) -> set[str]:
    """Names of the leaf at a path, where outlines do not tell attributes from keys.

    They leave out a leading key `params`, and the last attribute `value`.
    """
    begins = (path, path[1:]) if path[:1] == ("params",) else (path,)
    ends = [keys[:-1] for keys in begins if keys[-1:] == ("value",)]
    return {"/".join(keys) or "." for keys in (*begins, *ends)}
