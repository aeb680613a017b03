"""Examples as trees of arrays with one first axis: how many there are."""

import jax
import numpy as np

from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import PyTree


def example_count(caller: str, examples: PyTree) -> int:
    """How many examples a tree of arrays holds, or an error that names the arrays.

    Raises:
      TypeError: a leaf is no array with a first axis.
      ValueError: there is no array or no example, or arrays differ in their lengths.

    Example:
      >>> example_count("fit", (np.ones((4, 2)), np.ones(3)))
      Traceback (most recent call last):
      ValueError: fit(examples=...) holds arrays of 4 and 3 examples, at '0' and '1'.
      Pass as many of each.
    """
    check_arrays(caller, "examples", examples)
    leaves = named_leaves(examples)
    for name, leaf in leaves.items():
        if not np.ndim(leaf):
            raise TypeError(
                f"{caller}(examples=...): {name!r} is a single number. Pass arrays whose first "
                "axis counts examples."
            )
    sizes = {name: np.shape(leaf)[0] for name, leaf in leaves.items()}
    if not sizes or not min(sizes.values()):
        raise ValueError(f"{caller}(examples=...) holds no example. Pass arrays of some.")
    (name, size), *others = sizes.items()
    for other, length in others:
        if length != size:
            raise ValueError(
                f"{caller}(examples=...) holds arrays of {size} and {length} examples, at {name!r} "
                f"and {other!r}. Pass as many of each."
            )
    return size


def rows(examples: PyTree, index) -> PyTree:
    """The examples at an index array, from each array of the tree."""
    return jax.tree.map(lambda array: array[index], examples)
