"""The population stability index: how far shares per bin moved, and what chance gives.

The index alone says little: its size by chance falls with the number of examples. Its
sampling distribution is simulated here, so that every index comes with a p-value and
the size it would exceed by chance.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_numeric
from jaxcompress.core.messages import shown
from jaxcompress.validate.cards.findings import FAILS, UNDECIDED, Figure, Finding, Result
from jaxcompress.validate.comparisons.corrections import holm
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.shift.arguments import two_sets
from jaxcompress.validate.shift.bins import index_of, indices_by_chance, quantile_counts

MODERATE, LARGE = 0.1, 0.25
"""The rule of thumb of credit scoring, which does not know the number of examples."""


@dataclasses.dataclass(frozen=True, eq=False)
class Stability(Result):
    """The stability index of each feature, with what chance would give.

    Invariants:
      - All arrays have the shape (features,), in the features' order.

    Args:
      n: examples of the reference.
      m: new examples.
      index: the index, at least 0.
      threshold: what chance exceeds in a share 1 - confidence of cases.
      p: of "both sets come from one distribution", of each feature alone.
      adjusted: the same with Holm's correction for the number of features.
      confidence: of the thresholds.
    """

    n: int
    m: int
    index: np.ndarray
    threshold: np.ndarray
    p: np.ndarray
    adjusted: np.ndarray
    confidence: float

    @property
    def shifted(self) -> np.ndarray:
        """Which features moved by more than chance explains, after the correction."""
        return self.adjusted <= 1 - self.confidence

    @property
    def rule_of_thumb(self) -> np.ndarray:
        """The common reading of each index, (features,) of text; it ignores n and m."""
        return np.where(
            self.index < MODERATE, "small", np.where(self.index < LARGE, "moderate", "large")
        )

    def finding(self) -> Finding:
        """For a card: the feature that moved most, and how many did."""
        worst = int(np.argmax(self.index))
        count, features = int(self.shifted.sum()), self.index.size
        return Finding(
            "input shift",
            f"Stability index of {features} features, {self.n:,} examples against {self.m:,}: "
            f"{count} moved by more than chance explains. Feature {worst} moved most; by the rule "
            f"of thumb its shift is {self.rule_of_thumb[worst]}.",
            (
                Figure("largest index", float(self.index[worst]), format=".3f"),
                Figure("exceeded by chance", float(self.threshold[worst]), format=".3f"),
                Figure("its p, corrected", float(self.adjusted[worst]), format=".2g"),
            ),
            FAILS if count else UNDECIDED,
            () if count else (NO_PROOF,),
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and lists."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in dataclasses.asdict(self).items()
        }


NO_PROOF = "No test shows that two sets are alike; more examples show smaller shifts."


def population_stability(
    reference: ArrayLike,
    new: ArrayLike,
    *,
    bins: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = 9999,
) -> Stability:
    """The stability index of each feature, in bins between the reference's quantiles.

    Not for: features that change together only; take `classifier_test` or
    `kernel_test`.

        index = sum_b (q_b - p_b) ln(q_b / p_b)

    with p and q the shares of reference and new examples in bin b, half an example
    added to each bin. If both sets come from one continuous distribution, then whatever
    it is,

        chances of the bins ~ Dirichlet(reference counts),  the last count + 1
        new counts          ~ multinomial(m, chances)

    so the p-value comes from `draws` draws of these counts. For large n and m the index
    is then (1 / n + 1 / m) times a chi-squared variable of bins - 1 degrees of freedom:
    with 10 bins and 200 examples in both, above 0.17 in one case of 20 by chance, which
    the rule of thumb (0.1 moderate, 0.25 large) calls a moderate shift.

    Also known as: PSI, population stability index; symmetrized Kullback-Leibler
    divergence of binned data, Jeffreys divergence.

    Args:
      reference: (n, ...), real and finite: training data, or outputs on them.
      new: (m, ...), of the same features.
      bins: at least 2; fewer where the reference's values repeat.
      confidence: of the thresholds, in (0, 1).
      seed: of the draws.
      draws: from the distribution under no shift.

    Returns:
      The indices with thresholds and p-values. Of a moved mean `kolmogorov_smirnov`
      sees more, of another spread the index does.

    Raises:
      TypeError: the sets are no numbers.
      ValueError: sets of different features, fewer than two examples, a value that is
        not finite, a feature that is constant in the reference, an option out of range.

    Example:
      >>> rng = np.random.default_rng(1)
      >>> reference, new = rng.normal(size=(500, 2)), rng.normal(size=(300, 2))
      >>> new[:, 1] += 1
      >>> jc.validate.shift.population_stability(reference, new).shifted
      array([False,  True])

    Source: Siddiqi 2006, Credit Risk Scorecards, chapter 10 (the index and its rule of
    thumb); Yurdakul and Naranjo 2020, J. Risk Model Valid. 14 (its chi-squared limit).
    Differs: the p-value is from the counts' own distribution, which holds for small
    sets too; half an example per bin keeps the index finite.
    """
    first, second = two_sets("population_stability", reference, new)
    bins = check_count("population_stability", "bins", bins, least=2)
    confidence = check_confidence("population_stability", confidence)
    seed = check_count("population_stability", "seed", seed, least=0)
    draws = check_count("population_stability", "draws", draws)
    constant = np.flatnonzero(first.min(axis=0) == first.max(axis=0))
    if constant.size:
        raise ValueError(
            f"population_stability(reference): {constant.size} of {first.shape[1]} features are"
            f" constant, the first is feature {constant[0]}, so they have no quantiles. Leave them"
            " out; kolmogorov_smirnov takes them."
        )
    counts = [
        quantile_counts(np.sort(old), values, bins)
        for old, values in zip(first.T, second.T, strict=True)
    ]
    return _judged(counts, confidence, seed, draws)


def category_stability(
    reference: ArrayLike,
    new: ArrayLike,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = 9999,
) -> Stability:
    """The stability index of categories: predicted classes, codes, words.

    As `population_stability`, with one bin per category that occurs in either set. The
    p-value is that of a permutation test: given how often each category occurs in both
    sets together, without a shift

        new counts ~ multivariate hypergeometric(counts of both, m)

    which is exact for any number of categories, rare ones too. Of `draws` such counts,
    p = (1 + those whose index is at least as large) / (1 + draws).

    Args:
      reference: (n,), integers or texts, n at least 2.
      new: (m,), of the same kind, m at least 2.
      confidence: of the threshold, in (0, 1).
      seed: of the draws.
      draws: from the distribution under no shift.

    Returns:
      The index, of one feature.

    Raises:
      TypeError: the sets are neither integers nor texts, or of different kinds.
      ValueError: fewer than two examples, one category in all, an option out of range.

    Example:
      >>> before, now = np.repeat([0, 1], 50), np.repeat([0, 1], [80, 20])
      >>> jc.validate.shift.category_stability(before, now).shifted
      array([ True])

    Source: the index is that of `population_stability`; the p-value counts the division
    at hand, as in Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39.
    """
    first = _categories("category_stability", "reference", reference)
    second = _categories("category_stability", "new", new)
    if first.dtype.kind.replace("u", "i") != second.dtype.kind.replace("u", "i"):
        raise TypeError(
            f"category_stability(reference of dtype {first.dtype}, new of dtype {second.dtype})"
            " needs integers in both, or texts in both."
        )
    confidence = check_confidence("category_stability", confidence)
    seed = check_count("category_stability", "seed", seed, least=0)
    draws = check_count("category_stability", "draws", draws)
    known, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    if known.size < 2:
        raise ValueError(
            f"category_stability(reference, new): all {places.size} examples are {shown(known[0])}."
            " An index needs two categories or more."
        )
    counts = np.stack(
        [
            np.bincount(part, minlength=known.size)
            for part in (places[: len(first)], places[len(first) :])
        ]
    )
    both, m = counts.sum(axis=0), len(second)
    taken = np.random.default_rng(seed).multivariate_hypergeometric(both, m, size=draws)
    judged = _judge(counts, index_of(both - taken, taken), confidence)
    return _stability(counts, [judged], confidence)


def _categories(caller: str, argument: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "SU":
        check_numeric(caller, argument, values)
        if array.dtype.kind not in "iu":
            raise TypeError(
                f"{caller}({argument} of dtype {array.dtype}) needs integers or texts. Numbers go"
                " into population_stability."
            )
    if array.ndim != 1 or array.size < 2:
        raise ValueError(
            f"{caller}({argument} of shape {array.shape}) needs the shape (n,), n at least 2."
        )
    return array


class _Judged(NamedTuple):
    """The index of one feature, what chance exceeds in few cases, and its p-value."""

    index: float
    threshold: float
    p: float


def _judged(counts: list[np.ndarray], confidence: float, seed: int, draws: int) -> Stability:
    """Indices of features from their counts (2, bins), reference first."""
    m = int(counts[0][1].sum())
    by_chance: dict[bytes, np.ndarray] = {}
    judged = []
    for each in counts:
        # Continuous features without ties have equal counts, and share their draws.
        old = each[0]
        if old.tobytes() not in by_chance:
            by_chance[old.tobytes()] = indices_by_chance(old, m, seed, draws)
        judged.append(_judge(each, by_chance[old.tobytes()], confidence))
    return _stability(counts[0], judged, confidence)


def _judge(counts: np.ndarray, chance: np.ndarray, confidence: float) -> _Judged:
    """The index of counts (2, bins) among those that chance gives, (draws,)."""
    found = float(index_of(*counts))
    # Equal counts in another order of summing differ in the last bits.
    exceeding = int(np.sum(chance >= found * (1 - 1e-12)))
    return _Judged(
        found, float(np.quantile(chance, confidence)), (1 + exceeding) / (1 + chance.size)
    )


def _stability(counts: np.ndarray, judged: list[_Judged], confidence: float) -> Stability:
    """The result of features that were judged; `counts` (2, bins) of any of them."""
    n, m = (int(total) for total in counts.sum(axis=1))
    index, threshold, p = (np.array(each) for each in zip(*judged, strict=True))
    return Stability(n, m, index, threshold, p, holm(p), confidence)
