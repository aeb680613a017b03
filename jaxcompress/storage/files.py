"""Saving a tree as one file, and loading it."""

import os
from collections.abc import Collection, Iterable, Mapping
from numbers import Number
from typing import Any

import jax

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import is_compressed, logical
from jaxcompress.core.messages import shown
from jaxcompress.core.names import leaf_names
from jaxcompress.core.types import PyTree
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.absent import no_such_leaf
from jaxcompress.storage.coders import FAST, Coder
from jaxcompress.storage.container import archive, disk, outlines, writing
from jaxcompress.storage.container.errors import FileError, brief, reading
from jaxcompress.storage.container.limits import MAX_BYTES
from jaxcompress.storage.container.paths import checked_path
from jaxcompress.storage.container.plan import plan
from jaxcompress.storage.container.safetensors import NO_TEXT


def save(
    path: str | os.PathLike[Any],
    tree: PyTree,
    *,
    metadata: Mapping[str, str] = NO_TEXT,
    removal: Removal | Iterable[Removal] = (),
    coders: Iterable[Coder] = FAST,
) -> int:
    """Writes a tree to one self-contained safetensors file, whole or not at all.

    Each array of a leaf is stored by the coder that makes it smallest, bit for bit. The
    same tree gives the same bytes. Sharded arrays are gathered. Beside the tree a few
    leaves take memory: one for each processor, at most 256 MiB or the largest alone.

    Args:
      path: where; an existing file is replaced once the new one is complete, and keeps
        its mode. Of a symbolic link the target is replaced.
      tree: arrays, compressed leaves of every kind and Python numbers in any pytree.
      metadata: texts to keep beside the leaves.
      removal: what verbs of `structure` removed before, of which these are the params;
        a list of removals where each took the model of the one before. `load_removal`
        gives them back, and `structure.replay` the smaller program.
      coders: those that may be used; `storage.coders.BALANCED` adds an entropy coder.
        `plain` is always allowed. Beyond `FAST` the header of a small file is packed
        too; then other readers of the container see one array of bytes.

    Returns:
      Bytes on disk.

    Raises:
      TypeError: a leaf cannot be stored: a random key, a function, a masked or traced
        array, an unknown dtype; or the key of a dict is more than text, a number, a
        truth value, None or a tuple of these; or `metadata` is no mapping of texts, or
        `removal` no removal, or `coders` no coders.
      ValueError: a text has a reserved name, two leaves have one name, a leaf was
        deleted, the tree is not what the removals leave, or `path` is a directory,
        FIFO, socket or device.
      OSError: there is no such folder, or the file cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = f"{folder}/model.safetensors"
      ...     size_bytes = jc.storage.save(path, {"kernel": jnp.eye(2)})
      ...     jc.storage.load(path)
      {'kernel': Array([[1., 0.],
             [0., 1.]], dtype=float32)}
    """
    name = checked_path("save", path)
    disk.checked_target("save", name)  # before a large tree is planned
    return writing.write("save", name, plan("save", tree, metadata, removal, coders))


def load(
    path: str | os.PathLike[Any], like: PyTree = None, *, max_bytes: int = MAX_BYTES
) -> PyTree:
    """The tree of a file or an index; each leaf is verified before it is decoded.

    The file is read once, and what was verified is what is decoded, even where another
    process rewrites it meanwhile. Files of every format version are read. Nothing is
    compiled. On a CPU a plain array is the memory it was read into: beside the tree
    only the leaves at hand take memory.

    Args:
      path: the file, or the index of several.
      like: a tree of the wanted structure, of arrays or of shapes as `jax.eval_shape`
        gives them. Of a leaf that is compressed in the file it says shape and dtype of
        the array that leaf stands for; the leaf itself comes back. Needed for the nodes
        that a file does not describe: `nnx.State`, Equinox modules, named tuples.
        Without it, dict, list, tuple and None come back as they were, and any other
        node as the dict of its children by name.
      max_bytes: what the tree may take in memory, default 16 GiB; what a file claims is
        checked against it before anything is allocated. A code of a quantized leaf
        counts one byte, the header 16 times its size. Memory and time stay below a
        constant plus four times the file and what is accepted.

    Returns:
      The tree. Arrays are JAX arrays on the default device; 64-bit ones are NumPy
      arrays unless JAX is set to 64 bits; Python numbers are Python numbers.

    Raises:
      FileError: the file is truncated, altered, foreign, of a later format, or takes
        more than `max_bytes`.
      ValueError: names, shapes or dtypes differ from `like`.
      TypeError: `path` is no path, or `like` has a leaf that is no array.
      OSError: there is no such file.
    """
    check_count("load", "max_bytes", max_bytes)
    opened, leaves = archive.read("load", path, archive.all_leaves, max_bytes)
    return tree_of("load", path, opened.outline, leaves, like)


def tree_of(
    caller: str,
    path: str | os.PathLike[Any],
    outline: str,
    leaves: Mapping[str, object],
    like: PyTree,
) -> PyTree:
    """The tree of the leaves of a file, or the template filled with them.

    Raises:
      FileError: the names give no tree.
      ValueError: names, shapes or dtypes differ from `like`.
      TypeError: `like` has a leaf that is no array.
    """
    if like is not None:
        return _arranged(f"{caller}({os.fsdecode(path)!r}, like=...)", leaves, like)
    with reading(caller, path):
        return _rebuilt(outline, leaves)


def load_leaf(path: str | os.PathLike[Any], name: str, *, max_bytes: int = MAX_BYTES) -> Any:
    """One leaf of a file that `save` wrote, by its name; other leaves are not read.

    Its own bytes and the header are verified; of an index only the file that holds the
    leaf is opened. A file of format version 1, which has one digest of everything, is
    read whole.

    Args:
      path: the file, or the index of several.
      name: as `describe(path)` and `jc.named_leaves` list it.
      max_bytes: what the leaf may take in memory, as `load` counts; default 16 GiB.

    Returns:
      The leaf, as `load` gives it.

    Raises:
      KeyError: the file has no such leaf.
      TypeError: `name` is no text, or `path` no path.
      FileError: the leaf or the header is truncated or altered, or the file is foreign,
        of a later format, or takes more than `max_bytes`.
      OSError: there is no such file.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     params = {"dense": {"kernel": jnp.eye(2), "bias": jnp.ones(2)}}
      ...     size_bytes = jc.storage.save(f"{folder}/model.safetensors", params)
      ...     jc.storage.load_leaf(f"{folder}/model.safetensors", "dense/bias")
      Array([1., 1.], dtype=float32)
    """
    check_kind("load_leaf", "name", name, str, "describe(path) lists the names.")
    check_count("load_leaf", "max_bytes", max_bytes)

    def wanted(names: Collection[str]) -> list[str]:
        return [name] if name in names else []

    opened, leaves = archive.read("load_leaf", path, wanted, max_bytes)
    if not leaves:
        call = f"load_leaf({os.fsdecode(path)!r}, {shown(name)})"
        raise no_such_leaf(call, name, opened.names)
    return leaves[name]


def _rebuilt(outline: str, leaves: Mapping[str, object]) -> PyTree:
    if outline:
        return outlines.from_text(outline, leaves)
    try:
        return outlines.from_names(leaves)
    except outlines.NamesError as error:
        raise FileError(f"{error}, so the names give no tree. Pass a template as like=.") from error


def _arranged(call: str, leaves: Mapping[str, object], like: PyTree) -> PyTree:
    names = leaf_names(like)
    jax.tree.map(lambda *leaf: _check_template(call, *leaf), names, like, is_leaf=is_compressed)
    wanted, found = set(jax.tree.leaves(names)), set(leaves)
    if wanted != found:
        raise ValueError(
            f"{call}: the file and like= must have the same leaves. Only in the file: "
            f"{_listed(found - wanted)}. Only in like=: {_listed(wanted - found)}."
        )

    def fitting(name: str, template):
        expected, actual = logical(template), logical(leaves[name])
        if (expected.shape, expected.dtype) != (actual.shape, actual.dtype):
            raise ValueError(
                f"{call}: leaf {shown(name)} is {_described(actual)} in the file and "
                f"{_described(expected)} in like=. Pass a template of the model that was saved."
            )
        return leaves[name]

    return jax.tree.map(fitting, names, like, is_leaf=is_compressed)


def _check_template(call: str, name: str, template) -> None:
    arrays = hasattr(template, "shape") and hasattr(template, "dtype")
    if not arrays and not isinstance(template, Number):
        raise TypeError(
            f"{call}: leaf {shown(name)} of like= is of type {type(template).__name__}, no array. "
            "Pass arrays or shapes, as jax.eval_shape gives them."
        )


def _listed(names: set[str]) -> str:
    """Some names and how many there are beside them."""
    listed = ", ".join(brief(name, 60) for name in sorted(names)[:5]) or "none"
    return f"{listed} and {len(names) - 5} others" if len(names) > 5 else listed


def _described(struct: jax.ShapeDtypeStruct) -> str:
    return f"{struct.dtype}{shown(list(struct.shape))}"
