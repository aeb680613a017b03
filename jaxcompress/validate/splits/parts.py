"""Splits into training, validation and test sets: index arrays, fixed by a seed.

Folds of cross-validation are in the files beside. Whether the examples themselves
repeat is asked in `overlap`.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_number
from jaxcompress.core.kinds import check_each


def split(
    n: int,
    *,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    labels: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, ...]:
    """Indices of parts that share no example: training, validation and test, or others.

    Sizes follow the fractions exactly, up to rounding. With labels each class is spread
    over the parts in proportion: its examples, shuffled, are laid evenly on [0, 1) with
    a random offset, and the parts are cut from the merged line.

        place of the r-th example of a class of m = (r + offset) / m

    Args:
      n: number of examples.
      fractions: share of each part, above 0, together 1.
      labels: (n,) class of each example, or None for a plain random split.
      seed: of the shuffle; the same seed gives the same parts.

    Returns:
      One ascending int64 array per part; together they hold each of 0 … n - 1 once.

    Raises:
      ValueError: `n` or the seed is no count, a wrong fraction, labels of another
        length, or a part that would be empty.

    Example:
      >>> train, validation, test = jc.validate.split(10, seed=1)
      >>> train.size, validation.size, test.size
      (6, 2, 2)

    Source: systematic sampling with a random start, Cochran 1977, Sampling Techniques,
    chapter 8.
    """
    n = check_count("split", "n", n)
    check_count("split", "seed", seed, least=0)
    check_each("split", "fractions", fractions, check_number)
    if min(fractions, default=0) <= 0 or not math.isclose(math.fsum(fractions), 1):
        raise ValueError(
            f"split(fractions={tuple(fractions)}) needs fractions above 0 that sum to 1."
        )
    if labels is not None and np.shape(labels) != (n,):
        raise ValueError(f"split(labels of shape {np.shape(labels)}) needs the shape ({n},).")
    rng = np.random.default_rng(seed)
    order = rng.permutation(n) if labels is None else _spread(np.asarray(labels), rng)
    ends = [round(n * share) for share in itertools.accumulate(fractions[:-1])]
    parts = tuple(np.sort(part) for part in np.split(order, ends))
    if not all(part.size for part in parts):
        raise ValueError(
            f"split(n={n}, fractions={tuple(fractions)}) leaves a part empty:"
            f" sizes {', '.join(str(part.size) for part in parts)}."
        )
    return parts


def _spread(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Orders examples so that every run of them holds the classes in proportion."""
    places = np.empty(labels.size)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        places[members] = (np.arange(members.size) + rng.random()) / members.size
    return np.argsort(places, kind="stable")
