"""Two levels of folds: the inner choose, the outer judge."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxcompress.core.kinds import check_takes
from jaxcompress.validate.splits.fold import Fold, NestedFold
from jaxcompress.validate.splits.listed import check_range_of, listed_folds


def nested(outer: Any, inner: Callable[[np.ndarray], list[Fold]]) -> list[NestedFold]:
    """Splits the training examples of each fold once more, to choose among recipes.

    Not for: one recipe that was fixed beforehand; its `k_fold` alone will do.

    A recipe chosen by the scores of the same folds that are reported looks better than
    it is. Here the outer test set takes part in no choice.

    Args:
      outer: folds, pairs of index arrays.
      inner: `inner(train) -> folds` of positions in `train`, the (n_train,) indices of
        an outer fold's training examples: of labels take `labels[train]`.

    Returns:
      One `NestedFold` per outer fold, all indices those of examples.

    Raises:
      TypeError: `outer` or what `inner` gives is no list of pairs of index arrays, or
        `inner` no function.
      ValueError: a fold is wrong, see `listed`.

    Example:
      >>> splits = jc.validate.splits
      >>> inner = lambda train: splits.k_fold(train.size, folds=2)
      >>> folds = splits.nested(splits.k_fold(12, folds=3), inner)
      >>> [(fold.train.size, len(fold.inner)) for fold in folds]
      [(8, 2), (8, 2), (8, 2)]

    Also known as: nested cross-validation, double cross-validation.

    Source: Stone 1974, J. R. Stat. Soc. B 36; Varma and Simon 2006, BMC
    Bioinformatics 7.
    """
    found = listed_folds("nested", "outer", outer)
    check_takes("nested", "inner", inner, 1, "It is inner(train) -> folds of positions in train.")
    return [
        NestedFold(train, test, _inside("nested", train, inner(train))) for train, test in found
    ]


def _inside(caller: str, train: np.ndarray, inner: Any) -> list[Fold]:
    folds = listed_folds(caller, "inner", inner)
    mend = "They are positions in the training examples, 0 to n_train - 1."
    check_range_of(caller, "inner", folds, train.size, mend)
    return [Fold(train[each.train], train[each.test]) for each in folds]
