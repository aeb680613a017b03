"""Batches of data: each is one input of the model, or a tuple of its inputs."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_concrete, check_fits
from jaxcompress.core.messages import shown
from jaxcompress.core.sharding import gathered_along
from jaxcompress.core.types import PyTree


def as_inputs(batch: Any) -> tuple[Any, ...]:
    """The inputs of a batch: a tuple as it is, anything else as a tuple of one.

    Example:
      >>> as_inputs({"ids": 1}), as_inputs((1, 2))
      (({'ids': 1},), (1, 2))
    """
    return batch if isinstance(batch, tuple) else (batch,)


def count_of(caller: str, argument: str, examples: PyTree) -> int:
    """The number of examples: the length of the first axis of all arrays.

    Raises:
      TypeError: there is no array, or one has no first axis.
      ValueError: arrays disagree, or hold no example.

    Example:
      >>> count_of("cross_validate", "data", {"x": np.ones((3, 2)), "y": np.ones(3)})
      3
      >>> count_of("cross_validate", "data", (np.ones((3, 2)), np.ones(4)))
      Traceback (most recent call last):
      ValueError: cross_validate(data): arrays disagree on the number of examples: 3 at
      '0', 4 at '1'.
    """
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(examples)
    }
    if not leaves or any(len(getattr(leaf, "shape", ())) == 0 for leaf in leaves.values()):
        raise TypeError(
            f"{caller}({argument}={shown(examples)}) must be an array or a tree of arrays, whose "
            "first axis is the examples'."
        )
    counts = {name: leaf.shape[0] for name, leaf in leaves.items()}
    if len(set(counts.values())) > 1:
        first, *others = counts
        other = next(name for name in others if counts[name] != counts[first])
        raise ValueError(
            f"{caller}({argument}): arrays disagree on the number of examples: {counts[first]} at "
            f"{first!r}, {counts[other]} at {other!r}."
        )
    n = next(iter(counts.values()))
    if not n:
        raise ValueError(f"{caller}({argument}) holds no examples.")
    return n


def whole_rows(examples: PyTree) -> PyTree:
    """The examples so that some can be picked from them.

    An explicit mesh lets nothing be picked along an axis that it splits: such arrays
    are gathered along their first axis. All others stay as they are.

    Example:
      >>> whole_rows((np.arange(3), jnp.arange(3)))
      (array([0, 1, 2]), Array([0, 1, 2], dtype=int32))
    """
    return jax.tree.map(
        lambda array: gathered_along(array, 0) if isinstance(array, jax.Array) else array, examples
    )


def index_batches(chosen: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The chosen indices in batches of `size`; the last is filled up by its last index.

    A model is then traced for one size alone, and the surplus dropped behind it.

    Example:
      >>> [batch.tolist() for batch in index_batches(np.array([3, 5, 8]), 2)]
      [[3, 5], [8, 8]]
    """
    for start in range(0, chosen.size, size):
        yield chosen[np.minimum(np.arange(start, start + size), chosen.size - 1)]


def in_batches(examples: PyTree, chosen: np.ndarray, batch_size: int) -> Iterator[tuple[Any, ...]]:
    """The chosen examples in batches of one size, as `index_batches`, and that size.

    The size is `batch_size`, or their number where they are fewer.

    Example:
      >>> even, chosen = np.arange(0, 18, 2), np.array([3, 5, 8])
      >>> [batch.tolist() for batch, _ in in_batches(even, chosen, 2)]
      [[6, 10], [16, 16]]
    """
    examples, size = whole_rows(examples), min(batch_size, chosen.size)
    for indices in index_batches(chosen, size):
        yield jax.tree.map(lambda array, at=indices: array[at], examples), size


def as_pairs(caller: str, batches: Iterable[Any]) -> list[tuple[Any, Any]]:
    """`as_batches` of pairs (inputs, targets).

    Raises:
      TypeError: a batch is no pair.
      ValueError: as `as_batches`.

    Example:
      >>> as_pairs("snip", [np.ones(2)])
      Traceback (most recent call last):
      TypeError: snip(batches): batch 0 is float64[2], no pair (inputs, targets). Pass
      [(inputs, targets)], also where there is one.
    """
    batches = as_batches(caller, batches)
    for index, batch in enumerate(batches):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"{caller}(batches): batch {index} is {shown(batch)}, no pair (inputs, targets). "
                "Pass [(inputs, targets)], also where there is one."
            )
    return batches


def as_batches(caller: str, batches: Iterable[Any]) -> list[Any]:
    """The batches as a list, to be gone through more than once; a generator is used up.

    Raises:
      ValueError: there is no batch, or a batch holds an empty array, or integers that
        JAX would wrap.
      TypeError: `batches` is one array, one dict, or nothing to go through; an array is
        traced.

    Example:
      >>> as_batches("wanda", (np.full(2, value) for value in (1, 2)))
      [array([1, 1]), array([2, 2])]
    """
    # Iterating over one array would take its rows for batches, over a dict its names.
    single = hasattr(batches, "shape") or isinstance(batches, (dict, str))
    if single or not isinstance(batches, Iterable):
        raise TypeError(
            f"{caller}(batches=...) is a {type(batches).__name__}, no list of batches. Pass "
            "[batch], also where there is one."
        )
    batches = list(batches)
    if not batches:
        raise ValueError(f"{caller}(batches=[]) holds no batch. Pass at least one.")
    check_concrete(caller, batches=batches)
    for index, batch in enumerate(batches):
        check_batch(caller, index, batch)
    return batches


def check_batch(caller: str, index: int, batch: Any) -> None:
    """Raises a ValueError where an array is empty, or has integers that JAX would wrap.

    Example:
      >>> check_batch("diagnose", 0, np.zeros((0, 2)))
      Traceback (most recent call last):
      ValueError: diagnose(batches): batch 0 holds no example in batch, of shape (0, 2).
      Leave it out.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
        if np.size(leaf) == 0:
            raise ValueError(
                f"{caller}(batches): batch {index} holds no example in "
                f"batch{jax.tree_util.keystr(path)}, of shape {np.shape(leaf)}. Leave it out."
            )
    check_fits(caller, batches=batch)
