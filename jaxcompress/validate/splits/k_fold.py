"""Folds in which each example is tested once: plain, by class, one by one."""

from typing import Any

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.validate.splits.fold import (
    Fold,
    by_number,
    check_folds,
    encoded,
    random_state,
)


def k_fold(n: int, *, folds: int = 5, seed: int | np.random.RandomState | None = 0) -> list[Fold]:
    """Folds that test each example once, in test sets of equal size.

    Not for: classes, groups or an order in time; take `stratified_k_fold`,
    `grouped_k_fold` or `time_ordered`.

    The first n mod folds test sets have one example more.

    Args:
      n: number of examples, at least `folds`.
      folds: number of folds, at least 2.
      seed: of the shuffle, in [0, 2**32), or a generator that goes on; None keeps the
        order, for examples that were shuffled already.

    Returns:
      One `Fold` per test set, indices ascending.

    Raises:
      ValueError: fewer examples than folds, or an argument is no such count.

    Example:
      >>> for train, test in jc.validate.splits.k_fold(5, folds=2, seed=None):
      ...     print(train, test)
      [3 4] [0 1 2]
      [0 1 2] [3 4]

    Also known as: K-fold cross-validation, `KFold`.

    Source: Stone 1974, J. R. Stat. Soc. B 36. Indices equal those of scikit-learn's
    `KFold(folds, shuffle=True, random_state=seed)`, with None those of `KFold(folds)`.
    """
    n, folds = check_count("k_fold", "n", n), check_folds("k_fold", folds)
    if n < folds:
        raise ValueError(
            f"k_fold(n={n}, folds={folds}) has fewer examples than folds. At most {n} folds are "
            "possible."
        )
    order = np.arange(n)
    if seed is not None:
        random_state("k_fold", seed).shuffle(order)
    fold_of = np.empty(n, np.int64)
    for number, test in enumerate(np.array_split(order, folds)):
        fold_of[test] = number
    return by_number(fold_of, folds)


def leave_one_out(n: int) -> list[Fold]:
    """One fold per example, which is tested alone by a model trained on all others.

    Not for: more than some hundred examples, each of which takes a training; take
    `k_fold`.

    For few examples; of n models the estimates are nearly unbiased, and depend strongly
    on one another.

    Args:
      n: number of examples, at least 2.

    Returns:
      n folds in the order of the examples.

    Raises:
      ValueError: `n` is below 2 or no count.

    Example:
      >>> for train, test in jc.validate.splits.leave_one_out(3):
      ...     print(train, test)
      [1 2] [0]
      [0 2] [1]
      [0 1] [2]

    Also known as: LOOCV, jackknife, `LeaveOneOut`.

    Source: Lachenbruch and Mickey 1968, Technometrics 10. Indices equal scikit-learn's.
    """
    n = check_count("leave_one_out", "n", n, least=2)
    return by_number(np.arange(n), n)


def stratified_k_fold(
    labels: Any, *, folds: int = 5, seed: int | np.random.RandomState | None = 0
) -> list[Fold]:
    """Folds that test each example once, and hold each class in proportion.

    Not for: several examples of one source; take `stratified_grouped_k_fold`.

    Any two test sets differ by at most one example of a class, and by at most one in
    all.

    Args:
      labels: (n,) class of each example: integers, bools or texts, at least two.
      folds: number of folds, at least 2 and at most the members of the rarest class.
      seed: of the shuffle inside of the classes, in [0, 2**32), or a generator that
        goes on; None keeps the order.

    Returns:
      One `Fold` per test set, indices ascending.

    Raises:
      TypeError: labels are no array of integers, bools or texts.
      ValueError: one class only; a class with fewer members than folds; NaN among the
        labels, or no shape (n,); an argument is no such count.

    Example:
      >>> labels = [0, 0, 0, 1, 1, 1]
      >>> splits = jc.validate.splits
      >>> for train, test in splits.stratified_k_fold(labels, folds=3, seed=None):
      ...     print(train, test)
      [1 2 4 5] [0 3]
      [0 2 3 5] [1 4]
      [0 1 3 4] [2 5]

    Also known as: `StratifiedKFold`.

    Source: Kohavi 1995, IJCAI. Indices equal those of scikit-learn's
    `StratifiedKFold(folds, shuffle=True, random_state=seed)`, with None those of
    `StratifiedKFold(folds)`; a class with fewer members than folds, of which that
    warns, is an error here.
    """
    distinct, places = encoded("stratified_k_fold", "labels", labels)
    folds = check_folds("stratified_k_fold", folds)
    check_classes("stratified_k_fold", distinct, places, folds)
    # By first appearance: classes are shuffled in this order.
    _, first = np.unique(places, return_index=True)
    ranks = np.argsort(np.argsort(first))[places]
    in_order = np.sort(ranks)
    shares = np.array(
        [np.bincount(in_order[k::folds], minlength=distinct.size) for k in range(folds)]
    )  # (folds, classes): examples of each class in each test set
    generator = None if seed is None else random_state("stratified_k_fold", seed)
    fold_of = np.empty(places.size, np.int64)
    for rank in range(distinct.size):
        numbers = np.repeat(np.arange(folds), shares[:, rank])
        if generator is not None:
            generator.shuffle(numbers)
        fold_of[ranks == rank] = numbers
    return by_number(fold_of, folds)


def check_classes(caller: str, distinct: np.ndarray, places: np.ndarray, folds: int) -> None:
    """Raises a ValueError unless there are two classes, each with enough members."""
    if distinct.size < 2:
        raise ValueError(
            f"{caller}(labels): all {places.size} examples are of class {distinct[0]!s}, so there "
            "is nothing to stratify by. Take k_fold, or look at how the labels were read."
        )
    counts = np.bincount(places)
    fewest = int(counts.argmin())
    if counts[fewest] < folds:
        possible = int(counts[fewest])
        mend = f"At most {possible} folds are possible" if possible > 1 else "No folds are possible"
        raise ValueError(
            f"{caller}(folds={folds}): class {distinct[fewest]!s} has {possible} "
            f"member{'s' * (possible > 1)}, fewer than folds. {mend}; or leave the class out, "
            "or join it to another."
        )
