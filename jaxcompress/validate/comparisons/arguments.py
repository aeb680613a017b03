"""Checks that the tests of this family share: finite numbers, arrays that pair."""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.messages import shown
from jaxcompress.validate.arrays import check_all_finite, known, real


def finite_rows(caller: str, argument: str, values: ArrayLike) -> np.ndarray:
    """The values as (rows, n) float64; a ValueError unless finite, n at least 2."""
    rows = real(caller, argument, values)
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] < 2:
        raise ValueError(
            f"{caller}({argument} of shape {rows.shape}) needs the shape (candidates, n), at least"
            " one candidate and two examples."
        )
    check_all_finite(caller, argument, rows)
    return rows


def probabilities(caller: str, argument: str, values: ArrayLike) -> np.ndarray:
    """The p-values as (m,) float64; a ValueError unless all lie in [0, 1], m >= 1."""
    numbers = real(caller, argument, values)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"{caller}({argument} of shape {numbers.shape}) needs the shape (m,).")
    bad = np.flatnonzero(~((numbers >= 0) & (numbers <= 1)))
    if bad.size:
        raise ValueError(
            f"{caller}({argument}): all must be in [0, 1], and {argument}[{bad[0]}] is"
            f" {numbers[bad[0]]}."
        )
    return numbers


def classes(caller: str, argument: str, values: ArrayLike) -> np.ndarray:
    """The classes as (n,) int64; an error unless they are integer, n at least 1."""
    numbers = known(caller, argument, values)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"{caller}({argument} of shape {numbers.shape}) needs the shape (n,).")
    if numbers.dtype.kind not in "iu":
        raise TypeError(
            f"{caller}({argument} of dtype {numbers.dtype}) needs integer classes. Of logits take"
            " the argmax over the last axis."
        )
    return numbers.astype(np.int64)


def same_length(caller: str, **arrays: np.ndarray) -> int:
    """The number of examples along the last axes; a ValueError where they differ."""
    counts = {name: array.shape[-1] for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} of {count}" for name, count in counts.items())
        raise ValueError(f"{caller}({found}) needs the same examples in all, in one order.")
    return next(iter(counts.values()))


def check_two_groups(caller: str, positive: ArrayLike) -> np.ndarray:
    """Which examples are positive, (n,) bool; an error unless there are both kinds."""
    marks = known(caller, "positive", positive)
    if marks.ndim != 1:
        raise ValueError(f"{caller}(positive of shape {marks.shape}) needs the shape (n,).")
    if not np.isin(marks, (0, 1)).all():
        raise ValueError(f"{caller}(positive={shown(marks)}) must hold bools, or 0 and 1.")
    marks = marks.astype(bool)
    for name, count in {"positive": marks.sum(), "negative": (~marks).sum()}.items():
        if count < 2:
            raise ValueError(
                f"{caller}(positive): {count} of {marks.size} examples are {name}; a variance"
                " needs at least two of each."
            )
    return marks
