"""Folds: scikit-learn's indices under the same seed, on labels in any order."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from jaxcompress.validate import splits

model_selection = pytest.importorskip("sklearn.model_selection")
ms = model_selection


class Case(NamedTuple):
    """One way to split, and what gives the same indices.

    Attributes:
      name: of the case.
      ours: (labels, groups) to folds.
      theirs: scikit-learn's splitter.
    """

    name: str
    ours: Callable[[np.ndarray, np.ndarray], list[splits.Fold]]
    theirs: object


def shuffled(labels, **options):
    return functools.partial(splits.stratified_k_fold, labels, **options)


CASES = [
    Case("k_fold", lambda y, _: splits.k_fold(y.size, seed=None), ms.KFold()),
    *(
        Case(
            f"k_fold {folds} {seed}",
            lambda y, _, folds=folds, seed=seed: splits.k_fold(y.size, folds=folds, seed=seed),
            ms.KFold(folds, shuffle=True, random_state=seed),
        )
        for folds, seed in [(2, 0), (7, 1), (5, 2**32 - 1)]
    ),
    Case(
        "stratified",
        lambda y, _: splits.stratified_k_fold(y, folds=3, seed=None),
        ms.StratifiedKFold(3),
    ),
    *(
        Case(
            f"stratified {seed}",
            lambda y, _, seed=seed: splits.stratified_k_fold(y, folds=4, seed=seed),
            ms.StratifiedKFold(4, shuffle=True, random_state=seed),
        )
        for seed in (0, 5)
    ),
    Case("grouped", lambda _, g: splits.grouped_k_fold(g, folds=3), ms.GroupKFold(3)),
    Case(
        "grouped 3",
        lambda _, g: splits.grouped_k_fold(g, folds=4, seed=3),
        ms.GroupKFold(4, shuffle=True, random_state=3),
    ),
    Case(
        "both",
        lambda y, g: splits.stratified_grouped_k_fold(y, g, folds=3),
        ms.StratifiedGroupKFold(3),
    ),
    Case(
        "both 1",
        lambda y, g: splits.stratified_grouped_k_fold(y, g, folds=4, seed=1),
        ms.StratifiedGroupKFold(4, shuffle=True, random_state=1),
    ),
    Case("time", lambda y, _: splits.time_ordered(y.size), ms.TimeSeriesSplit()),
    Case(
        "window",
        lambda y, _: splits.time_ordered(y.size, folds=4, test_size=7, most_train=9, gap=3),
        ms.TimeSeriesSplit(4, test_size=7, max_train_size=9, gap=3),
    ),
    Case("one out", lambda y, _: splits.leave_one_out(y.size), ms.LeaveOneOut()),
    Case(
        "draws",
        lambda y, _: splits.holdout(y.size, test_fraction=0.3, folds=3, seed=4),
        ms.ShuffleSplit(3, test_size=0.3, random_state=4),
    ),
    Case(
        "repeated",
        lambda y, _: splits.repeated(functools.partial(splits.k_fold, y.size), repeats=3, seed=2),
        ms.RepeatedKFold(n_repeats=3, random_state=2),
    ),
    Case(
        "repeated by class",
        lambda y, _: splits.repeated(shuffled(y, folds=3), repeats=2, seed=6),
        ms.RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=6),
    ),
]


def made(seed, n, classes, groups):
    """Random labels, each class with four examples at least, and groups."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat(np.arange(classes), 4), random.integers(0, classes, n)])
    return random.permutation(labels), random.integers(0, groups, labels.size)


LABELS = {
    "two": made(0, 33, 2, 8),
    "uneven": made(1, 50, 5, 30),
    "sorted": (np.sort(made(2, 40, 3, 9)[0]), np.sort(made(2, 40, 3, 9)[1])),
    "words": (np.array(["pear", "apple"])[made(3, 40, 2, 5)[0]], made(3, 40, 2, 5)[1]),
}


def check_equal(case, labels, groups):
    ours = case.ours(labels, groups)
    theirs = list(case.theirs.split(np.zeros((labels.size, 1)), labels, groups_of(case, groups)))
    assert len(ours) == len(theirs)
    for mine, (train, test) in zip(ours, theirs, strict=True):
        assert mine.train.dtype == mine.test.dtype == np.int64
        np.testing.assert_array_equal(mine.train, train)
        np.testing.assert_array_equal(mine.test, test)


def groups_of(case, groups):
    """Other splitters warn of groups."""
    return groups if "Group" in type(case.theirs).__name__ else None


@pytest.mark.parametrize("data", LABELS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_indices_are_those_of_scikit_learn(case, data):
    check_equal(case, *LABELS[data])


TABLES = {
    "ionosphere": ("ionosphere.csv", 6),
    "sonar": ("sonar.csv", 2),
    "wine": ("winequality-red.csv", 10),
    "abalone": ("abalone.csv", 1),
}
"""By name the file and the column that serves as group."""


@pytest.mark.parametrize("table", TABLES)
def test_indices_are_those_of_scikit_learn_on_tables(table, data_dir):
    name, column = TABLES[table]
    cells = np.genfromtxt(data_dir / "tabular" / name, delimiter=",", dtype=str)
    counts = dict(zip(*np.unique(cells[:, -1], return_counts=True), strict=True))
    cells = cells[[counts[label] >= 4 for label in cells[:, -1]]]
    for case in CASES:
        if case.name != "one out":  # which would be slow on thousands of rows
            check_equal(case, cells[:, -1], cells[:, column])


def test_what_scikit_learn_has_in_common_with_labels_of_other_kinds():
    labels = np.array([0, 1] * 6)
    kinds = [labels.tolist(), labels.astype(bool), labels.astype(np.float32), labels.astype(object)]
    for each in kinds:
        for ours, theirs in zip(
            splits.stratified_k_fold(each), splits.stratified_k_fold(labels), strict=True
        ):
            np.testing.assert_array_equal(ours.test, theirs.test)


def test_a_splitter_and_a_list_are_taken_as_they_are():
    labels, groups = LABELS["uneven"]
    splitter = ms.StratifiedGroupKFold(3)
    ours = splits.listed(splitter, labels.size, labels=labels, groups=groups)
    for fold, again in zip(ours, splits.listed(ours, labels.size), strict=True):
        np.testing.assert_array_equal(fold.train, again.train)
        np.testing.assert_array_equal(fold.test, again.test)
    # A bootstrap repeats training rows.
    assert splits.listed([([0, 0, 2], (1,))], 3)[0].train.tolist() == [0, 0, 2]


def test_inner_folds_stay_inside_of_the_training_set():
    labels, _ = LABELS["two"]
    outer = splits.stratified_k_fold(labels, folds=3)
    folds = splits.nested(outer, lambda train: splits.stratified_k_fold(labels[train], folds=2))
    for fold in folds:
        for inner in fold.inner:
            both = np.sort(np.concatenate([inner.train, inner.test]))
            np.testing.assert_array_equal(both, fold.train)
            assert not np.intersect1d(both, fold.test).size


REFUSED = [
    (lambda: splits.k_fold(4), r"k_fold\(n=4, folds=5\) has fewer .* At most 4 folds"),
    (lambda: splits.k_fold(4, folds=1), r"k_fold\(folds=1\) must be at least 2"),
    (lambda: splits.k_fold(9, seed=2**32), r"k_fold\(seed=4294967296\) must be below"),
    (lambda: splits.leave_one_out(1), r"leave_one_out\(n=1\)"),
    (
        lambda: splits.stratified_k_fold(["a"] * 6 + ["b"] * 3),
        r"class b has 3 members, fewer than folds. At most 3 folds are possible",
    ),
    (lambda: splits.stratified_k_fold([0] * 6 + [7]), r"class 7 has 1 member, .* No folds"),
    (lambda: splits.stratified_k_fold([1] * 6), r"all 6 examples are of class 1"),
    (lambda: splits.stratified_k_fold([0, 1, np.nan]), r"labels\[2\] = nan is no label"),
    (lambda: splits.stratified_k_fold([0.5, 1]), r"labels\[0\] = 0.5 is no label"),
    (lambda: splits.stratified_k_fold([]), r"labels of shape \(0,\)"),
    (lambda: splits.stratified_k_fold([[0, 1]]), r"labels of shape \(1, 2\)"),
    (
        lambda: splits.stratified_k_fold(np.array(["a", None], object)),
        r"labels\[0\] = 'a' is no label.*one kind for all",
    ),
    (lambda: splits.grouped_k_fold([0, 0, 1]), r"there are 2 groups, .* At most 2 folds"),
    (lambda: splits.grouped_k_fold([0, 0]), r"there is 1 group, fewer"),
    (
        lambda: splits.stratified_grouped_k_fold([0, 1], [0, 1, 2], folds=2),
        r"labels of 2 examples, groups of 3",
    ),
    (
        lambda: splits.stratified_grouped_k_fold([0, 0, 0, 1, 1, 1], [0] * 5 + [1], folds=3),
        r"there are 2 groups",
    ),
    (lambda: splits.time_ordered(3), r"time_ordered\(n=3, folds=5\) needs more .* At most 2"),
    (lambda: splits.time_ordered(12, gap=9), r"gap=9\) leaves the first .* take 20 examples"),
    (lambda: splits.time_ordered(12, test_size=5), r"At most 2 folds are possible with this"),
    (lambda: splits.holdout(3, test_fraction=0.9), r"holdout\(test_fraction=0.9\) of n=3 leaves"),
    (lambda: splits.listed([], 4), r"listed\(folds\) holds no fold"),
    (lambda: splits.listed([([0, 1], [1, 2])], 4), r"fold 0 trains on example 1, which it tests"),
    (lambda: splits.listed([([0], [1]), ([0], [4])], 4), r"fold 1 holds index 4, outside \[0, 4\)"),
    (lambda: splits.listed([([0], [-1])], 4), r"fold 0, test, holds index -1"),
    (lambda: splits.listed([([0], [1, 1])], 4), r"fold 0 tests example 1 twice"),
    (lambda: splits.listed([([], [1])], 4), r"fold 0, train, has shape \(0,\)"),
    (lambda: splits.listed(ms.KFold(2), 4, labels=[0, 1]), r"labels of shape \(2,\)"),
    (
        lambda: splits.nested(splits.k_fold(6, folds=2), lambda train: splits.k_fold(6, folds=2)),
        r"nested\(inner\): fold 0 holds index .*, outside \[0, 3\)",
    ),
]


@pytest.mark.parametrize(("call", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_split_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (3, "must be a list"),
        ([3], "fold 0 is 3, no pair"),
        ([([0], [1], [2])], "fold 0 holds 3 parts"),
        ([([True, False], [False, True])], "fold 0, train, has dtype bool.*flatnonzero"),
        ([([0.0], [1])], "fold 0, train, has dtype float64"),
    ],
)
def test_what_is_no_fold_is_refused(folds, said):
    with pytest.raises(TypeError, match=rf"listed\(folds.*{said}"):
        splits.listed(folds, 4)
