"""One fold, and the checks that the splits share."""

from collections.abc import Iterable
from numbers import Real
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.messages import shown

MOST_SEED = 2**32 - 1
"""The largest seed that `numpy.random.RandomState` takes."""


class Fold(NamedTuple):
    """One division of the examples: what is trained on and what is tested on.

    Attributes:
      train: (n_train,) int64 indices of examples.
      test: (n_test,) int64 indices of others.
    """

    train: np.ndarray
    test: np.ndarray


class NestedFold(NamedTuple):
    """One outer fold, and the folds of its training examples by which one chooses.

    Attributes:
      train: (n_train,) int64 indices of examples.
      test: (n_test,) int64 indices of others, which no inner fold holds.
      inner: folds of `train`, as indices of all examples.
    """

    train: np.ndarray
    test: np.ndarray
    inner: list[Fold]


def by_number(fold_of: np.ndarray, folds: int) -> list[Fold]:
    """Folds from the number of the fold in which each example is tested, ascending."""
    return [Fold(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(folds)]


def check_folds(caller: str, folds: object) -> int:
    """The number of folds, at least 2."""
    return check_count(caller, "folds", folds, least=2)


def random_state(caller: str, seed: object) -> np.random.RandomState:
    """The generator that a seed starts, or the given one itself.

    `RandomState` is what scikit-learn draws from; its stream is frozen.
    """
    if isinstance(seed, np.random.RandomState):
        return seed
    number = check_count(caller, "seed", seed, least=0)
    if number > MOST_SEED:
        raise ValueError(f"{caller}(seed={seed}) must be below 2**32.")
    return np.random.RandomState(number)


def encoded(caller: str, argument: str, given: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels in ascending order, and the place of each example's among them.

    Raises:
      TypeError: the labels are not one array of integers, bools or texts.
      ValueError: they are empty, have another shape than (n,), or hold NaN or a number
        that is not whole.
    """
    check_concrete(caller, **{argument: given})
    if isinstance(given, str) or not (hasattr(given, "shape") or isinstance(given, Iterable)):
        raise TypeError(f"{caller}({argument}={shown(given)}) must be an array of shape (n,).")
    labels = np.asarray(given)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(
            f"{caller}({argument} of shape {labels.shape}) needs the shape (n,), n at least 1."
        )
    # Objects are texts or numbers in a table's column; bfloat16 has NumPy's kind V.
    if labels.dtype == object or jnp.issubdtype(labels.dtype, jnp.floating):
        labels = _whole(caller, argument, labels)
    elif labels.dtype.kind not in "biuUS":
        raise TypeError(
            f"{caller}({argument} of dtype {labels.dtype}) needs integers, bools or texts."
        )
    distinct, places = np.unique(labels, return_inverse=True)
    return distinct, places.reshape(-1)


def _whole(caller: str, argument: str, labels: np.ndarray) -> np.ndarray:
    values = (labels if labels.dtype == object else labels.astype(np.float64)).tolist()
    if all(isinstance(value, str) for value in values):
        return np.array(values)
    for place, value in enumerate(values):
        # NaN and infinity differ from what the division gives.
        if not isinstance(value, Real) or value != value // 1:
            raise ValueError(
                f"{caller}({argument}): {argument}[{place}] = {shown(value)} is no label. Labels "
                "are whole numbers, bools or texts, one kind for all; leave out examples without "
                "one, and sort real numbers into bins."
            )
    return np.array([int(value) for value in values])
