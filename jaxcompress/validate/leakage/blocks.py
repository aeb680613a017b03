"""Reads sets of examples a block at a time, in memory or in streams.

What a check keeps of a block is small, so a set may be larger than memory.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.messages import shown
from jaxcompress.core.types import PyTree

BLOCK_BYTES = 1 << 23
"""Of the examples of a block that is cut from arrays in memory."""
FORMS = (
    "Named sets are arrays (n, ...), lists of texts, tuples or dicts of these, iterables of chunks"
    " of such, or functions without arguments that give one."
)


class Block(NamedTuple):
    """Some examples in a row.

    Attributes:
      start: index of the first of them in its set.
      examples: tree of NumPy arrays with the same first axis; texts are an array of
        objects, each a str or bytes.
    """

    start: int
    examples: PyTree


def blocks(caller: str, name: str, examples: Any) -> Iterator[Block]:
    """The blocks of a set in order, none of them empty.

    Raises:
      TypeError: the set, or a chunk of it, is not made of arrays and texts.
      ValueError: the arrays disagree on the number of examples.
    """
    if not is_stream(examples):
        yield from _cut(in_memory(caller, name, examples))
        return
    chunks: Any = examples() if callable(examples) else examples
    if not is_stream(chunks) or callable(chunks):
        raise TypeError(f"{caller}({name}={shown(examples)}) gives no chunks. {FORMS}")
    start = 0
    for chunk in chunks:
        tree = in_memory(caller, name, chunk)
        for block in _cut(tree):
            yield Block(start + block.start, block.examples)
        start += count(tree)


def is_stream(examples: Any) -> bool:
    """Whether examples come in chunks: an iterable, or a function that gives one."""
    if hasattr(examples, "shape") or isinstance(examples, Mapping | list | tuple | str | bytes):
        return False
    return callable(examples) or hasattr(examples, "__iter__")


def can_be_read_again(examples: Any) -> bool:
    """Whether a second reading gives the examples anew; an iterator is then used up."""
    return not hasattr(examples, "__next__")


def in_memory(caller: str, name: str, examples: Any) -> PyTree:
    """The tree of NumPy arrays that a set or a chunk is, checked."""
    tree = jax.tree.map(
        lambda leaf: as_array(caller, name, leaf),
        examples,
        is_leaf=lambda node: not isinstance(node, tuple | Mapping),
    )
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(tree)}
    if len(sizes) > 1:
        raise ValueError(
            f"{caller}({name}): its arrays disagree on the number of examples: {sorted(sizes)}."
        )
    if not sizes:
        raise TypeError(f"{caller}({name}={shown(examples)}) holds no arrays. {FORMS}")
    return tree


def count(tree: PyTree) -> int:
    """Number of examples of a tree that `in_memory` gave."""
    return jax.tree.leaves(tree)[0].shape[0]


def as_array(caller: str, name: str, leaf: Any) -> np.ndarray:
    """An array with a first axis, of numbers, times or texts; else a TypeError."""
    if isinstance(leaf, list) and leaf and all(isinstance(each, str | bytes) for each in leaf):
        return _texts(leaf)
    if not (isinstance(leaf, list) or hasattr(leaf, "shape") or hasattr(leaf, "__array__")):
        raise TypeError(f"{caller}({name}={shown(leaf)}) is no set of examples. {FORMS}")
    if isinstance(leaf, jax.Array):
        check_concrete(caller, examples={name: leaf})
    try:
        array = np.asarray(leaf)
    except ValueError as error:
        raise ValueError(
            f"{caller}({name}): its examples differ in shape. Pad or resize them to one shape, or"
            " pass texts as str."
        ) from error
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype.hasobject and not all(isinstance(each, str | bytes) for each in array.flat):
        raise TypeError(
            f"{caller}({name} of dtype {array.dtype}) holds Python objects, not the examples'"
            " bytes; convert it to a numeric dtype, or to texts."
        )
    if array.dtype.names:
        raise TypeError(
            f"{caller}({name} of dtype {array.dtype}) has fields; pass a dict of its columns."
        )
    if array.ndim == 0:
        raise TypeError(f"{caller}({name}={shown(leaf)}) has no first axis. {FORMS}")
    if array.shape[0] and not array.size:
        raise ValueError(f"{caller}({name} of shape {array.shape}): its examples are empty.")
    return array


def rows(tree: PyTree, indices: Any) -> PyTree:
    """Some examples of a tree in memory."""
    return jax.tree.map(lambda leaf: leaf[indices], tree)


def gather(caller: str, name: str, examples: Any, indices: np.ndarray) -> PyTree:
    """The examples of these indices, ascending and without repeats.

    A set in a stream is read once more; only the chosen examples are held.
    """
    if not is_stream(examples):
        return rows(in_memory(caller, name, examples), indices)
    found = []
    for block in blocks(caller, name, examples):
        stop = block.start + count(block.examples)
        low, high = np.searchsorted(indices, (block.start, stop))
        if high > low:
            found.append(rows(block.examples, indices[low:high] - block.start))
        if high == indices.size:
            break
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def _cut(tree: PyTree) -> Iterator[Block]:
    n = count(tree)
    if not n:
        return
    example_bytes = sum(leaf[:1].nbytes for leaf in jax.tree.leaves(tree))
    size = max(1, BLOCK_BYTES // max(1, example_bytes))
    for start in range(0, n, size):
        yield Block(start, rows(tree, slice(start, start + size)))


def _texts(texts: list[str | bytes]) -> np.ndarray:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array
