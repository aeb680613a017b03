"""Test sets that are drawn anew, so that an example may be tested several times."""

import math
from collections.abc import Callable

import numpy as np

from jaxcompress.core.checks import check_count, check_inside
from jaxcompress.core.kinds import check_function
from jaxcompress.validate.splits.fold import Fold, random_state
from jaxcompress.validate.splits.listed import listed_folds


def holdout(
    n: int,
    *,
    test_fraction: float = 0.2,
    folds: int = 1,
    seed: int | np.random.RandomState = 0,
) -> list[Fold]:
    """Random test sets, each drawn apart from all examples.

    Not for: few examples, some of which it never tests; take `k_fold`.

    One fold is the plain split into training and test set; its scores have no spread,
    from which an interval could come. Test sets of several folds overlap.

    Args:
      n: number of examples, at least 2.
      test_fraction: share that is tested, in (0, 1); the count is rounded up.
      folds: how many test sets to draw.
      seed: of the draws, in [0, 2**32), or a generator that goes on.

    Returns:
      One `Fold` per draw, indices in the order drawn.

    Raises:
      ValueError: nothing is left to train on, or an argument is no such count or share.

    Example:
      >>> [(train, test)] = jc.validate.splits.holdout(5, test_fraction=0.4, seed=0)
      >>> train, test
      (array([1, 3, 4]), array([2, 0]))

    Also known as: Monte Carlo cross-validation, repeated random sub-sampling,
    `ShuffleSplit`.

    Source: Picard and Cook 1984, J. Am. Stat. Assoc. 79. Indices equal those of
    scikit-learn's `ShuffleSplit(folds, test_size=test_fraction, random_state=seed)`.
    """
    n = check_count("holdout", "n", n, least=2)
    check_inside("holdout", "test_fraction", test_fraction, 0, 1)
    folds = check_count("holdout", "folds", folds)
    generator = random_state("holdout", seed)
    tested = math.ceil(float(test_fraction) * n)
    if tested == n:
        raise ValueError(
            f"holdout(test_fraction={test_fraction}) of n={n} leaves no example to train on. The "
            "count of tested examples is rounded up."
        )
    found = []
    for _ in range(folds):
        order = generator.permutation(n)
        found.append(Fold(order[tested:], order[:tested]))
    return found


def repeated(split: Callable[..., list[Fold]], *, repeats: int = 10, seed: int = 0) -> list[Fold]:
    """The folds of a split, of several shuffles one after the other.

    Not for: what too few examples leave open; `required_examples` says how many it
    takes.

    The mean over repeats depends less on one shuffle. It is still of the same examples:
    more repeats narrow an interval only down to what the test sets' size allows.

    Args:
      split: gives folds, called as `split(seed=generator)`.
      repeats: how often.
      seed: of the generator which all repeats draw from, in [0, 2**32).

    Returns:
      The folds of the first repeat, then of the second, and so on.

    Raises:
      TypeError: `split` is no function, or gives no pairs of index arrays.
      ValueError: `repeats` or the seed is no such count; a fold is wrong, see `listed`.

    Example:
      >>> splits = jc.validate.splits
      >>> fives = lambda seed: splits.k_fold(10, folds=5, seed=seed)
      >>> folds = splits.repeated(fives, repeats=3)
      >>> len(folds)
      15

    Also known as: repeated k-fold, r × k cross-validation, `RepeatedKFold`,
    `RepeatedStratifiedKFold`.

    Source: Bouckaert and Frank 2004, PAKDD. Of `k_fold` and `stratified_k_fold` the
    indices equal those of scikit-learn's splitters under the same seed.
    """
    mend = "It is split(seed=generator) -> folds, such as functools.partial(k_fold, n)."
    check_function("repeated", "split", split, mend)
    repeats = check_count("repeated", "repeats", repeats)
    generator = random_state("repeated", seed)
    return [
        fold
        for _ in range(repeats)
        for fold in listed_folds("repeated", "split", split(seed=generator))
    ]
