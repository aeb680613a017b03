"""Folds that others made, as a list of `Fold`, checked."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import check_iterable
from jaxcompress.core.messages import shown
from jaxcompress.validate.splits.fold import Fold

PAIRS = "It is a list of (train, test), two arrays of indices each."


def listed(folds: Any, n: int, *, labels: Any = None, groups: Any = None) -> list[Fold]:
    """The folds of a list of index arrays, or of a splitter as scikit-learn has them.

    Args:
      folds: pairs (train, test) of integer index arrays, or what has
        `split(X, y, groups)` and gives them.
      n: number of examples.
      labels: (n,), what a splitter gets as y.
      groups: (n,), what a splitter gets as groups.

    Returns:
      The folds as they are, with int64 indices. A training set may repeat examples, as
      a bootstrap does.

    Raises:
      TypeError: neither of both, or indices are not integers; a bool mask is none.
      ValueError: labels or groups of another length; there is no fold; a fold has an
        empty set, an index outside [0, n), an example in training and test set, or one
        that it tests twice.

    Example:
      >>> from sklearn.model_selection import KFold
      >>> jc.validate.splits.listed(KFold(2), 4)[0]
      Fold(train=array([2, 3]), test=array([0, 1]))
      >>> jc.validate.splits.listed([([0, 1], [1, 2])], 4)
      Traceback (most recent call last):
      ValueError: listed(folds): fold 0 trains on example 1, which it tests. ...
    """
    n = check_count("listed", "n", n, least=2)
    for argument, given in {"labels": labels, "groups": groups}.items():
        if given is not None and np.shape(given)[:1] != (n,):
            raise ValueError(
                f"listed({argument} of shape {np.shape(given)}) needs the shape ({n},)."
            )
    return from_any("listed", "folds", folds, n, labels, groups)


def from_any(
    caller: str, argument: str, folds: Any, n: int, labels: Any = None, groups: Any = None
) -> list[Fold]:
    """What `listed` gives, with errors by the caller's name."""
    if callable(getattr(folds, "split", None)) and not isinstance(folds, str | bytes):
        # Splitters look at the number of rows alone.
        given = list(folds.split(np.zeros((n, 1)), labels, groups))
    else:
        given = folds
    found = listed_folds(caller, argument, given)
    check_range_of(caller, argument, found, n, f"There are {n} examples.")
    return found


def listed_folds(caller: str, argument: str, folds: Any) -> list[Fold]:
    """The folds of pairs, checked in all but their largest index."""
    check_iterable(caller, argument, folds, PAIRS)
    check_concrete(caller, **{argument: folds})
    found = [_fold(caller, argument, number, pair) for number, pair in enumerate(folds)]
    if not found:
        raise ValueError(f"{caller}({argument}) holds no fold. {PAIRS}")
    return found


def check_range_of(caller: str, argument: str, folds: Sequence[Fold], n: int, mend: str) -> None:
    """Raises a ValueError where an index is not below n."""
    for number, fold in enumerate(folds):
        largest = max(fold.train.max(), fold.test.max())
        if largest >= n:
            raise ValueError(
                f"{caller}({argument}): fold {number} holds index {largest}, outside [0, {n}). "
                f"{mend}"
            )


def _fold(caller: str, argument: str, number: int, pair: Any) -> Fold:
    place = f"{caller}({argument}): fold {number}"
    if not isinstance(pair, Iterable) or isinstance(pair, str | bytes | np.ndarray):
        raise TypeError(f"{place} is {shown(pair)}, no pair (train, test). {PAIRS}")
    parts = list(pair)
    if len(parts) != 2:
        raise TypeError(f"{place} holds {len(parts)} parts, and must hold two. {PAIRS}")
    train, test = (
        _indices(f"{place}, {name},", given)
        for name, given in zip(("train", "test"), parts, strict=True)
    )
    both = np.intersect1d(train, test)
    if both.size:
        raise ValueError(
            f"{place} trains on example {both[0]}, which it tests. The sets share "
            f"{both.size} of {test.size} tested examples."
        )
    distinct, counts = np.unique(test, return_counts=True)
    if distinct.size < test.size:
        raise ValueError(f"{place} tests example {distinct[counts.argmax()]} twice.")
    return Fold(train, test)


def _indices(place: str, given: Any) -> np.ndarray:
    indices = np.asarray(given)
    if indices.ndim != 1 or not indices.size:
        raise ValueError(
            f"{place} has shape {indices.shape}, and must be a list of one index or more."
        )
    if indices.dtype.kind not in "iu":
        mend = "Take np.flatnonzero of a mask." if indices.dtype == np.bool_ else PAIRS
        raise TypeError(f"{place} has dtype {indices.dtype}, and must hold integers. {mend}")
    if indices.min() < 0:
        raise ValueError(f"{place} holds index {indices.min()}, and indices start at 0.")
    return indices.astype(np.int64)
