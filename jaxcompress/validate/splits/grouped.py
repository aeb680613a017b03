"""Folds that keep the examples of one group together: of one patient, one document."""

from typing import Any

import numpy as np

from jaxcompress.validate.splits.fold import (
    Fold,
    by_number,
    check_folds,
    encoded,
    random_state,
)
from jaxcompress.validate.splits.k_fold import check_classes


def grouped_k_fold(
    groups: Any, *, folds: int = 5, seed: int | np.random.RandomState | None = None
) -> list[Fold]:
    """Folds that test each example once, and train on no group that they test.

    Not for: classes that few groups have; take `stratified_grouped_k_fold`.

    For examples that come from one source, such as a patient, a writer or a document:
    what a model knows of the source would otherwise count as what it learned.

    Args:
      groups: (n,) group of each example: integers, bools or texts.
      folds: number of folds, at least 2 and at most the number of groups.
      seed: of an order of the groups, which are dealt out by their number, in
        [0, 2**32), or a generator that goes on; None deals out the largest first, each
        to the smallest test set, so that these are of nearly one size.

    Returns:
      One `Fold` per test set, indices ascending.

    Raises:
      TypeError: groups are no array of integers, bools or texts.
      ValueError: fewer groups than folds; NaN among the groups, or no shape (n,); an
        argument is no such count.

    Example:
      >>> groups = ["ann", "ann", "bob", "bob", "cy", "cy"]
      >>> folds = jc.validate.splits.grouped_k_fold(groups, folds=3)
      >>> [test.tolist() for _, test in folds]
      [[4, 5], [2, 3], [0, 1]]

    Also known as: `GroupKFold`, subject-wise cross-validation.

    Source: scikit-learn's `GroupKFold(folds)`, whose indices these equal; with a seed
    those of `GroupKFold(folds, shuffle=True, random_state=seed)`.
    """
    distinct, places = encoded("grouped_k_fold", "groups", groups)
    folds = check_folds("grouped_k_fold", folds)
    _check_groups("grouped_k_fold", distinct, folds)
    fold_of_group = np.empty(distinct.size, np.int64)
    if seed is None:
        sizes, totals = np.bincount(places), np.zeros(folds, np.int64)
        for group in np.argsort(sizes, kind="stable")[::-1]:
            fold_of_group[group] = totals.argmin()
            totals[totals.argmin()] += sizes[group]
    else:
        order = random_state("grouped_k_fold", seed).permutation(distinct.size)
        for number, chosen in enumerate(np.array_split(order, folds)):
            fold_of_group[chosen] = number
    return by_number(fold_of_group[places], folds)


def stratified_grouped_k_fold(
    labels: Any,
    groups: Any,
    *,
    folds: int = 5,
    seed: int | np.random.RandomState | None = None,
) -> list[Fold]:
    """Folds that train on no group that they test, with classes nearly in proportion.

    Not for: targets that are numbers; take `grouped_k_fold`.

    Groups go one by one, those of the most uneven classes first, to the test set that
    leaves the classes spread most evenly over test sets.

    Args:
      labels: (n,) class of each example: integers, bools or texts, at least two.
      groups: (n,) group of each example, likewise.
      folds: number of folds, at least 2 and at most the number of groups and the
        members of the rarest class.
      seed: of the order among groups that are alike, in [0, 2**32), or a generator that
        goes on; None keeps their order.

    Returns:
      One `Fold` per test set, indices ascending. A class that lies in few groups may
      miss in a test set.

    Raises:
      TypeError: labels or groups are no array of integers, bools or texts.
      ValueError: labels and groups differ in length; one class only; a class or the
        groups are fewer than folds; a test set stays empty; NaN, or no shape (n,).

    Example:
      >>> labels, groups = [0, 1, 0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2, 3, 3]
      >>> splits = jc.validate.splits
      >>> folds = splits.stratified_grouped_k_fold(labels, groups, folds=2)
      >>> [test.tolist() for _, test in folds]
      [[0, 1, 4, 5], [2, 3, 6, 7]]

    Also known as: `StratifiedGroupKFold`.

    Source: scikit-learn's `StratifiedGroupKFold(folds)`, whose indices these equal;
    with a seed those of `StratifiedGroupKFold(folds, True, seed)`.
    """
    caller = "stratified_grouped_k_fold"
    classes, class_places = encoded(caller, "labels", labels)
    distinct, places = encoded(caller, "groups", groups)
    if places.size != class_places.size:
        raise ValueError(
            f"{caller}(labels of {class_places.size} examples, groups of {places.size}) needs one "
            "of each per example."
        )
    folds = check_folds(caller, folds)
    check_classes(caller, classes, class_places, folds)
    _check_groups(caller, distinct, folds)
    counts = np.zeros((distinct.size, classes.size))
    np.add.at(counts, (places, class_places), 1)
    order = np.arange(distinct.size)
    if seed is not None:
        random_state(caller, seed).shuffle(order)
    # Stable, so that groups alike keep their order.
    order = order[np.argsort(-np.std(counts[order], axis=1), kind="stable")]
    totals, fold_of_group = np.zeros((folds, classes.size)), np.empty(distinct.size, np.int64)
    for group in order:
        fold_of_group[group] = _evenest(totals, counts[group], counts.sum(0))
        totals[fold_of_group[group]] += counts[group]
    found = by_number(fold_of_group[places], folds)
    empty = [number for number, fold in enumerate(found) if not fold.test.size]
    if empty:
        raise ValueError(
            f"{caller}(folds={folds}) leaves the test set of fold {empty[0]} empty, since few "
            "large groups hold the classes. Take fewer folds, or grouped_k_fold."
        )
    return found


def _evenest(totals: np.ndarray, added: np.ndarray, of_class: np.ndarray) -> int:
    """The test set whose taking the group leaves classes most even.

    Among nearly equal ones it is the smallest.

    Args:
      totals: (folds, classes) examples so far.
      added: (classes,) those of the group.
      of_class: (classes,) those of all groups.
    """
    best, least, smallest = 0, np.inf, np.inf
    for number in range(len(totals)):
        tried = totals.copy()
        tried[number] += added
        unevenness = np.mean(np.std(tried / of_class, axis=0))
        size = totals[number].sum()
        if unevenness < least or (np.isclose(unevenness, least) and size < smallest):
            best, least, smallest = number, unevenness, size
    return best


def _check_groups(caller: str, distinct: np.ndarray, folds: int) -> None:
    if distinct.size < folds:
        possible = distinct.size
        mend = f"At most {possible} folds are possible." if possible > 1 else "Look at the groups."
        raise ValueError(
            f"{caller}(folds={folds}): there {'are' if possible > 1 else 'is'} {possible} "
            f"group{'s' * (possible > 1)}, fewer than folds. {mend}"
        )
