"""How well one feature alone tells the target: scores on examples held out.

Each score takes the bins of a feature, the target of the examples that are fitted on
and many targets of those scored, so that chance is seen by shuffling.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcompress.core.kinds import check_kind, check_shape
from jaxcompress.core.messages import shown

BINS = 32
"""Most bins of a feature: its quantiles, or its values where they are fewer."""
IN_A_BIN = 4
"""Least examples of a quantile, so that its mean says something."""


class Binned(NamedTuple):
    """A feature in bins, of the examples that are fitted on and of those scored.

    Attributes:
      fitted: (n,) int64, below `count`.
      scored: (m,) int64.
      count: number of bins.
    """

    fitted: np.ndarray
    scored: np.ndarray
    count: int


Score = Callable[[Binned, np.ndarray, np.ndarray], np.ndarray]
"""(bins, fitted (n, columns), scored (shuffles, m, columns)) to scores (shuffles,).

Targets of classes have one column for each class, 1 where it is the example's."""


def variance_explained(bins: Binned, fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Share of the target's variance that the means of the feature's bins explain.

        score = 1 - Σ |y - mean of the fitted y in its bin|² / Σ |y - mean of fitted y|²

    R² of a number; of classes, as columns of 0 and 1, the Brier skill score. 0 for what
    knows nothing, below it by chance, 1 for what gives the target away.

    Args:
      bins: of the feature.
      fitted: (n, columns) float64, targets whose means are taken.
      scored: (shuffles, m, columns) float64, targets that are predicted.

    Returns:
      Scores (shuffles,), at most 1; 0 where the target is constant.

    Raises:
      TypeError: an argument is of another kind.

    Example:
      >>> bins = jc.validate.leakage.Binned(np.arange(4) // 2, np.arange(4) // 2, 2)
      >>> y = np.float64([[0], [0], [1], [1]])
      >>> float(jc.validate.leakage.variance_explained(bins, y, y[None])[0].round(2))
      0.89

    Source: Brier 1950; Murphy 1973 for the skill score.
    """
    _check("variance_explained", bins, fitted, scored)
    overall = fitted.mean(axis=0)
    means = _means(bins, fitted, overall)[bins.scored]  # (m, columns)
    left, there = _squares(scored, means), _squares(scored, np.tile(overall, (len(means), 1)))
    return np.where(there > 0, 1 - left / np.where(there > 0, there, 1), 0.0)


def separation(bins: Binned, fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """How well the feature ranks one class, or one half of a number, above the other.

        score = 2 · AUC - 1 of the mean of the fitted target in the bin

    Args:
      bins: of the feature.
      fitted: (n, columns) float64; of more than two classes each against the others,
        and the best is given.
      scored: (shuffles, m, columns) float64.

    Returns:
      Scores (shuffles,) in [-1, 1].

    Raises:
      TypeError: an argument is of another kind.

    Example:
      >>> bins = jc.validate.leakage.Binned(np.arange(4) // 2, np.arange(4) // 2, 2)
      >>> y = np.float64([[0], [0], [1], [1]])
      >>> float(jc.validate.leakage.separation(bins, y, y[None])[0].round(2))
      1.0

    Source: Hanley and McNeil 1982, Radiology 143, ties counted half.
    """
    _check("separation", bins, fitted, scored)
    middle = np.median(fitted, axis=0)
    upper = fitted > middle if _is_number(fitted) else fitted > 0.5
    means = _means(bins, upper.astype(np.float64), upper.mean(axis=0))[bins.scored]
    above = scored > middle if _is_number(fitted) else scored > 0.5
    best = np.full(len(scored), -1.0)
    for column in range(fitted.shape[1]):
        ranks = _ranks(means[:, column])
        positive = above[:, :, column]
        count = positive.sum(axis=1)
        others = positive.shape[1] - count
        known = (count > 0) & (others > 0)
        wins = positive @ ranks - count * (count + 1) / 2
        auc = np.where(known, wins / np.where(known, count * others, 1), 0.5)
        best = np.maximum(best, 2 * auc - 1)
    return best


def information(bins: Binned, fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Bits that the feature's bin saves in coding the target, of those it needs.

        score = 1 - mean log loss of the classes' shares in the bin / that of all shares

    Shares are fitted with one example of all shares added to each bin. A number is cut
    at its eighths into classes.

    Args:
      bins: of the feature.
      fitted: (n, columns) float64.
      scored: (shuffles, m, columns) float64.

    Returns:
      Scores (shuffles,), at most 1; 0 where the target is constant.

    Raises:
      TypeError: an argument is of another kind.

    Example:
      >>> bins = jc.validate.leakage.Binned(np.arange(4) // 2, np.arange(4) // 2, 2)
      >>> y = np.float64([[0], [0], [1], [1]])
      >>> float(jc.validate.leakage.information(bins, y, y[None])[0].round(2))
      0.77

    Source: mutual information, relative to the entropy of the target; Theil's
    uncertainty coefficient, on examples held out.
    """
    _check("information", bins, fitted, scored)
    if _is_number(fitted):
        cuts = np.unique(np.quantile(fitted[:, 0], np.arange(1, 8) / 8))
        cuts = cuts[cuts > fitted.min()]  # so that a constant is one class
        classes = np.eye(len(cuts) + 1)
        fitted = classes[np.searchsorted(cuts, fitted[:, 0], "right")]
        scored = classes[np.searchsorted(cuts, scored[:, :, 0], "right")]
    # One example more of every class, so that a class only scored has a share.
    overall = (fitted.sum(axis=0) + 1) / (len(fitted) + fitted.shape[1])
    counts = np.zeros((bins.count, fitted.shape[1]))
    np.add.at(counts, bins.fitted, fitted)
    shares = (counts + overall) / (counts.sum(axis=1, keepdims=True) + 1)
    needed = -np.sum(scored.sum(axis=1) * np.log(overall), axis=1)
    left = -np.einsum("smc,mc->s", scored, np.log(shares)[bins.scored], optimize=True)
    return np.where(needed > 0, 1 - left / np.where(needed > 0, needed, 1), 0.0)


def binned(fitted: np.ndarray, scored: np.ndarray) -> Binned:
    """The bins of a feature, by the fitted examples; NaN is one of its own.

    Args:
      fitted: (n,) float64, or texts.
      scored: (m,), of the same kind. A text that was not fitted has its own bin.
    """
    if fitted.dtype.hasobject:
        known, fitted_bins = np.unique(fitted.astype(str), return_inverse=True)
        place = np.minimum(np.searchsorted(known, scored.astype(str)), known.size - 1)
        found = known[place] == scored.astype(str)
        return Binned(fitted_bins, np.where(found, place, known.size), known.size + 1)
    values = np.unique(fitted[~np.isnan(fitted)])
    quantiles = max(2, min(BINS, len(fitted) // IN_A_BIN))
    if values.size > quantiles:
        cuts = np.unique(np.nanquantile(fitted, np.arange(1, quantiles) / quantiles))
    else:
        cuts = (values[1:] + values[:-1]) / 2
    count = cuts.size + 2

    def bins(column: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(column), count - 1, np.searchsorted(cuts, column, "right"))

    return Binned(bins(fitted), bins(scored), count)


def columns_of(caller: str, target: np.ndarray) -> np.ndarray:
    """A target as columns float64: a number as one, classes as 0 and 1 each.

    Floating targets are numbers, all others classes.
    """
    if target.ndim != 1:
        raise ValueError(
            f"{caller}(target) gives {shown(target)}; it needs one label or number per example."
        )
    if target.dtype.kind == "f":
        if not np.isfinite(target).all():
            raise ValueError(f"{caller}(target) holds NaN or an infinity.")
        # Scores do not depend on the unit, and sums of squares are exact about 0.
        centred = target.astype(np.float64) - target.mean(dtype=np.float64)
        deviation = centred.std()
        return (centred / deviation if deviation > 0 else 0 * centred)[:, None]
    names = target.astype(str) if target.dtype.hasobject else target
    known, which = np.unique(names, return_inverse=True)
    return np.eye(known.size)[which]


def _check(caller: str, bins: Binned, fitted: np.ndarray, scored: np.ndarray) -> None:
    check_kind(caller, "bins", bins, Binned, "leakage.features makes them.")
    check_shape(caller, "fitted", fitted, "(n, columns)")
    check_shape(caller, "scored", scored, "(shuffles, m, columns)")


def _is_number(columns: np.ndarray) -> bool:
    return columns.shape[1] == 1


def _means(bins: Binned, fitted: np.ndarray, overall: np.ndarray) -> np.ndarray:
    """Means (bins, columns), towards the overall mean by one example of it."""
    sums = np.tile(overall, (bins.count, 1))
    np.add.at(sums, bins.fitted, fitted)
    counts = np.bincount(bins.fitted, minlength=bins.count) + 1
    return sums / counts[:, None]


def _squares(scored: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Σ |y - means|² of each shuffle, without an array of its differences."""
    flat, means = scored.reshape(len(scored), -1), means.reshape(-1)
    return np.einsum("sm,sm->s", flat, flat) - 2 * flat @ means + means @ means


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (m,) from 1, equal values share their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which]
