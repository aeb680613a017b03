"""The outline of a tree of plain containers as JSON, and the tree again.

Dict, list, tuple and None are plain. Any other node (`nnx.State`, an Equinox module, a
named tuple) has no outline: its leaves are stored by name, and a template gives its
structure back.
"""

import json
from collections.abc import Iterable, Iterator, Mapping

import jax

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import PyTree

LEAF, FOREIGN = 0, -1
Outline = dict | list | int | None
"""A leaf is 0, None is null, a dict with text keys an object. A list starts with
its kind: ["l", children…], ["t", children…], or ["d", [key, child]…] for a dict with
whole-number keys.
"""


def to_text(tree: PyTree) -> str:
    """The outline as compact JSON, or "" where the file needs none.

    None is needed where `from_names` gives the tree, and none can be given where a node
    is not plain.

    Example:
      >>> to_text({"dense": {"kernel": 1.0}})
      ''
      >>> to_text([1.0, {3: (2.0, None)}])
      '["l",0,["d",[3,["t",0,null]]]]'
    """
    shape = _outline(jax.tree.structure(tree, is_leaf=is_compressed))
    if shape in (FOREIGN, _implied(tree)):
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


def _implied(tree: PyTree) -> Outline:
    """The outline of what `from_names` gives for the names of the tree."""
    try:
        return _outline(jax.tree.structure(from_names(named_leaves(tree)), is_leaf=is_compressed))
    except NameClashError:
        return FOREIGN


def _outline(treedef) -> Outline:
    node = treedef.node_data()
    if node is None:
        return LEAF
    kind, keys = node
    children = [_outline(child) for child in treedef.children()]
    if FOREIGN in children:
        return FOREIGN
    if kind is type(None):
        return None
    if kind in (list, tuple):
        return ["l" if kind is list else "t", *children]
    if kind is dict and all(type(key) is str for key in keys):
        return dict(zip(keys, children, strict=True))
    if kind is dict and all(type(key) is int for key in keys):
        return ["d", *map(list, zip(keys, children, strict=True))]
    return FOREIGN


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
            return {key: _rebuilt(child, leaves) for key, child in items}
        case 0:
            return _following(leaves)
    raise ValueError(f"{shape!r} is not the outline of a tree")


def _following(leaves: Iterator):
    for leaf in leaves:
        return leaf
    raise ValueError("the outline has more leaves than the file")
