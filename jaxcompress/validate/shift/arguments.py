"""Checks that the tests of this family share: two sets of examples, their features."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.arrays import real


def features_of(caller: str, argument: str, examples: ArrayLike) -> np.ndarray:
    """Examples as (n, features) float64; an error unless numbers, finite, two or more.

    Raises:
      TypeError: they are no numbers, or traced.
      ValueError: there are fewer than two, no features, or a value that is not finite.
    """
    array = real(caller, argument, examples)
    if array.ndim == 0 or len(array) < 2 or not array.size:
        raise ValueError(
            f"{caller}({argument} of shape {array.shape}) needs the shape (n, ...), two examples or"
            " more with a feature each."
        )
    rows = array.reshape(len(array), -1)
    bad = np.argwhere(~np.isfinite(rows))
    if bad.size:
        row, column = bad[0]
        raise ValueError(
            f"{caller}({argument}): {len(bad)} of {rows.size} values are not finite, the first is"
            f" {rows[row, column]} in feature {column} of example {row}. Leave such examples out"
            " or fill the gaps, in both sets alike."
        )
    return rows


def two_sets(caller: str, reference: ArrayLike, new: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as (n, features) and (m, features); an error where features differ."""
    first = features_of(caller, "reference", reference)
    second = features_of(caller, "new", new)
    if np.shape(reference)[1:] != np.shape(new)[1:]:
        raise ValueError(
            f"{caller}(reference of shape {np.shape(reference)}, new of shape {np.shape(new)})"
            " needs examples of one shape in both sets."
        )
    return first, second


def standardizer(examples: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Gives examples the mean 0 and deviation 1 that these would have, in float32.

    A feature that is constant in these is centred and keeps its unit.
    """
    mean, deviation = examples.mean(axis=0), examples.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return lambda each: ((each - mean) / scale).astype(np.float32)
