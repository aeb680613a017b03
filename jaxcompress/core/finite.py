"""Data that are not finite, looked for once what follows from them is not.

Nothing here is asked for while all goes well: to read all data takes time, and data may
hold NaN for what is missing where a model knows what to do with it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import PyTree


class NotFiniteError(ValueError):
    """Outputs, or what follows from them, are not finite: the data may be why."""


def not_finite(argument: str, examples: PyTree, among: np.ndarray | None = None) -> str:
    """Says which examples hold NaN or infinity, and what to do about it.

    Args:
      argument: what the examples are called, in the plural.
      examples: tree of arrays with first axis n; what is no array is passed over.
      among: (n,) bool, the examples to look at; None for all.

    Returns:
      Two sentences that name the first array, of which an example is not finite, and
      the first such example; empty where all are finite.

    Example:
      >>> x = np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, np.inf]])
      >>> not_finite("data", {"x": x, "label": np.arange(3)})
      "The data at 'x' hold NaN or infinity in 2 of 3 examples, the first is example 1.
      Leave such examples out, or fill in what is missing."
      >>> not_finite("data", x[:1])
      ''
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(examples):
        bad = _bad(leaf) if among is None else _bad(leaf) & among
        if bad.any():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            at = f" at {name!r}" if name else ""
            return (
                f"The {argument}{at} hold NaN or infinity in {bad.sum()} of {bad.size} examples, "
                f"the first is example {bad.argmax()}. Leave such examples out, or fill in what "
                "is missing."
            )
    return ""


def _bad(leaf: Any) -> np.ndarray:
    """Which examples of an array are not finite, (n,); none of what is no array."""
    if not isinstance(leaf, np.ndarray | jax.Array) or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return np.zeros((), bool)
    library: Any = np if isinstance(leaf, np.ndarray) else jnp
    return np.asarray(~library.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))))
