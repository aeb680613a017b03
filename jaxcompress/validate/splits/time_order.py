"""Folds that test later examples than they train on."""

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.validate.splits.fold import Fold, check_folds


def time_ordered(
    n: int,
    *,
    folds: int = 5,
    test_size: int | None = None,
    most_train: int | None = None,
    gap: int = 0,
) -> list[Fold]:
    """Folds that train on earlier examples and test those that follow.

    Not for: examples without an order in time; `k_fold` trains each model on more.

    Examples are in the order of time. Test sets follow one another up to the last
    example; each is trained for on all that lies before it, or on a window that slides.

    Args:
      n: number of examples.
      folds: number of folds, at least 2.
      test_size: examples per test set; None for n // (folds + 1).
      most_train: the latest so many are trained on, a sliding window; None for all.
      gap: examples left out between training and test set, where a label is known only
        some time later or neighbours are alike.

    Returns:
      One `Fold` per test set, the earliest first, indices ascending.

    Raises:
      ValueError: the first fold has nothing to train on, or an argument is no such
        count; the message says how many folds or examples are possible.

    Example:
      >>> for train, test in jc.validate.splits.time_ordered(7, folds=2, gap=1):
      ...     print(train, test)
      [0 1] [3 4]
      [0 1 2 3] [5 6]

    Also known as: expanding window, sliding window, rolling origin, walk-forward
    validation, `TimeSeriesSplit`.

    Source: Tashman 2000, Int. J. Forecasting 16. Indices equal those of scikit-learn's
    `TimeSeriesSplit(folds, max_train_size=most_train, test_size=test_size, gap=gap)`.
    """
    n = check_count("time_ordered", "n", n)
    folds = check_folds("time_ordered", folds)
    gap = check_count("time_ordered", "gap", gap, least=0)
    if most_train is not None:
        most_train = check_count("time_ordered", "most_train", most_train)
    if test_size is None:
        if n <= folds:
            raise ValueError(
                f"time_ordered(n={n}, folds={folds}) needs more examples than folds. "
                f"{_possible(n - 1)}"
            )
        test_size = n // (folds + 1)
    test_size = check_count("time_ordered", "test_size", test_size)
    first = n - folds * test_size
    if first - gap < 1:
        raise ValueError(
            f"time_ordered(n={n}, folds={folds}, test_size={test_size}, gap={gap}) leaves the "
            f"first fold nothing to train on: these take {folds * test_size + gap + 1} examples. "
            f"{_possible((n - gap - 1) // test_size)} with this test_size and gap."
        )
    window = n if most_train is None else most_train
    return [
        Fold(
            np.arange(max(start - gap - window, 0), start - gap),
            np.arange(start, start + test_size),
        )
        for start in range(first, n, test_size)
    ]


def _possible(folds: int) -> str:
    return f"At most {folds} folds are possible" if folds >= 2 else "No two folds are possible"
