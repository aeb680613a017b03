"""Nested cross-validation: inner folds choose a recipe, outer folds judge that."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcompress.core.batches import count_of
from jaxcompress.core.checks import check_concrete, check_count
from jaxcompress.core.kinds import (
    check_function,
    check_iterable,
    check_key,
    check_kind,
    check_mapping,
)
from jaxcompress.core.types import Key, PyTree
from jaxcompress.validate.cards.findings import Finding, Result
from jaxcompress.validate.cross_validation.candidate import Candidate
from jaxcompress.validate.cross_validation.program import fold_keys
from jaxcompress.validate.cross_validation.results import CrossValidation, Values
from jaxcompress.validate.cross_validation.run import on_folds
from jaxcompress.validate.splits.fold import Fold, NestedFold
from jaxcompress.validate.splits.listed import check_range_of, listed_folds


@dataclasses.dataclass(frozen=True, eq=False)
class NestedCrossValidation(Result):
    """What "choose the best of these recipes by cross-validation" scores.

    Invariants:
      - `outer` judges the way of choosing, not one recipe: its folds may have chosen
        differently.

    Args:
      chosen: the candidate that each outer fold's inner folds chose.
      inner: by candidate, what it was judged by on each outer fold: (outer folds,)
        float64, the mean over inner folds.
      outer: values of outer test examples by the chosen recipe, trained on all of the
        outer training set.
    """

    chosen: tuple[str, ...]
    inner: dict[str, np.ndarray]
    outer: CrossValidation

    def finding(self) -> Finding:
        """For a card: the outer scores, and how often each candidate was chosen."""
        counts = collections.Counter(self.chosen)
        times = ", ".join(f"{name} {count}" for name, count in counts.most_common())
        finding = self.outer.finding()
        return dataclasses.replace(
            finding,
            statement=f"The recipe was chosen by inner folds among {len(self.inner)} candidates "
            f"({times} of {len(self.chosen)} times), and judged by outer folds on "
            f"{self.outer.tested.size:,} examples that took no part in choosing.",
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values."""
        return {
            "chosen": list(self.chosen),
            "inner": {name: means.tolist() for name, means in self.inner.items()},
            "outer": self.outer.to_json(),
        }


def nested_cross_validate(
    candidates: Mapping[str, Candidate],
    data: PyTree,
    folds: Sequence[NestedFold],
    *,
    key: Key,
    judge: Callable[[Values], float],
    at_once: int | None = None,
) -> NestedCrossValidation:
    """Judges a choice among recipes on examples that took no part in choosing.

    Not for: one recipe that was fixed beforehand; `cross_validate` judges it.

    On each outer fold every candidate is cross-validated on the inner folds, the best
    is trained on the whole outer training set, and tested on the outer test set. The
    inner folds of all outer folds run in one program where a candidate can be traced.

    Args:
      candidates: recipes by name.
      data: tree of arrays with first axis n, such as (x, labels).
      folds: from `splits.nested`.
      key: a random key; inner folds and outer folds get their own.
      judge: `judge(values) -> number` of a fold's values, the higher the better, such
        as `lambda values: values["correct"].mean()`; of losses minus the mean.
      at_once: as in `cross_validate`.

    Returns:
      What was chosen, and the outer values. Among equals the earlier candidate is
      taken.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: there is no candidate; a fold is wrong; what `cross_validate` raises;
        a judgement is NaN.

    Example:
      >>> cross_validation, splits = jc.validate.cross_validation, jc.validate.splits
      >>> def shrunk(factor):
      ...     return cross_validation.Candidate(
      ...         lambda x, weights, key: factor * jnp.average(x, weights=weights),
      ...         lambda mean, x: {"error": jnp.abs(x - mean)},
      ...     )
      >>> inner = lambda train: splits.k_fold(train.size, folds=2)
      >>> folds = splits.nested(splits.k_fold(12, folds=3), inner)
      >>> result = cross_validation.nested_cross_validate(
      ...     {"whole": shrunk(1.0), "half": shrunk(0.5)},
      ...     jnp.full(12, 3.0),
      ...     folds,
      ...     key=jax.random.key(0),
      ...     judge=lambda values: -values["error"].mean(),
      ... )
      >>> result.chosen, result.outer.mean("error")
      (('whole', 'whole', 'whole'), 0.0)

    Also known as: double cross-validation; `GridSearchCV` inside `cross_val_score`.

    Source: Stone 1974, J. R. Stat. Soc. B 36; Varma and Simon 2006, BMC
    Bioinformatics 7.
    """
    caller = "nested_cross_validate"
    check_mapping(caller, "candidates", candidates, "It holds a Candidate by each name.")
    for recipe in candidates.values():
        check_kind(
            caller, "candidates", recipe, Candidate, "Make it with Candidate(fit, evaluate)."
        )
    if not candidates:
        raise ValueError(f"{caller}(candidates={{}}) holds no recipe.")
    check_concrete(caller, data=data)
    n = count_of(caller, "data", data)
    check_key(caller, "key", key)
    check_function(caller, "judge", judge, "It is judge(values) -> number, higher is better.")
    if at_once is not None:
        at_once = check_count(caller, "at_once", at_once, least=0)
    _check_nested(caller, folds, n)
    inner_key, outer_key = jax.random.split(key)
    inner = {
        name: _judged(recipe, data, folds, inner_key, judge, at_once)
        for name, recipe in candidates.items()
    }
    for name, means in inner.items():
        if np.isnan(means).any():
            raise ValueError(f"{caller}(judge) gives NaN for the candidate {name!r}.")
    names = list(inner)
    best = np.argmax(np.stack(list(inner.values())), axis=0)  # (outer folds,)
    chosen = tuple(names[i] for i in best)
    outer = [Fold(each.train, each.test) for each in folds]
    keys, values = fold_keys(outer_key, len(outer)), {}
    reasons = []
    for name in dict.fromkeys(chosen):
        places = [i for i, each in enumerate(chosen) if each == name]
        folds_of = [outer[i] for i in places]
        found = on_folds(*candidates[name], data, folds_of, keys[np.array(places)], at_once)
        values |= dict(zip(places, found.values, strict=True))
        reasons.append(found.in_turn)
    ordered = tuple(values[i] for i in range(len(outer)))
    reason = "; ".join(dict.fromkeys(filter(None, reasons)))
    return NestedCrossValidation(chosen, inner, CrossValidation(tuple(outer), ordered, reason))


def _judged(
    recipe: Candidate,
    data: PyTree,
    folds: Sequence[NestedFold],
    key: Key,
    judge: Callable[[Values], float],
    at_once: int | None,
) -> np.ndarray:
    """The mean judgement of the inner folds of each outer fold."""
    inner = [fold for each in folds for fold in each.inner]
    found = on_folds(*recipe, data, inner, fold_keys(key, len(inner)), at_once)
    judgements = np.array([judge(values) for values in found.values], np.float64)
    ends = np.cumsum([len(each.inner) for each in folds])[:-1]
    return np.array([part.mean() for part in np.split(judgements, ends)])


def _check_nested(caller: str, folds: Sequence[NestedFold], n: int) -> None:
    mend = "Make them with splits.nested(outer, inner)."
    check_iterable(caller, "folds", folds, mend)
    for each in folds:
        check_kind(caller, "folds", each, NestedFold, mend)
    outer = listed_folds(caller, "folds", [each[:2] for each in folds])
    check_range_of(caller, "folds", outer, n, f"There are {n} examples.")
    for number, each in enumerate(folds):
        for train, test in listed_folds(caller, "folds", each.inner):
            if np.isin([*train, *test], each.train, invert=True).any():
                raise ValueError(
                    f"{caller}(folds): an inner fold of fold {number} holds an example that is "
                    f"not trained on there. {mend}"
                )
