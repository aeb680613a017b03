"""Examples as trees of arrays with one first axis: how many there are."""

from typing import Any

import jax

from jaxcompress.core.batches import count_of
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import PyTree


def example_count(caller: str, examples: PyTree) -> int:
    """How many examples a tree of arrays holds, after a look at each array.

    Raises:
      TypeError: a leaf is no array with a first axis, or there is none.
      ValueError: there is no example, or arrays differ in their lengths.
    """
    check_arrays(caller, "examples", examples)
    return count_of(caller, "examples", examples)


def rows(examples: PyTree, index: Any) -> PyTree:
    """The examples at an index array, from each array of the tree."""
    return jax.tree.map(lambda array: array[index], examples)
