"""Each feature of new data against the reference, by the Kolmogorov-Smirnov test."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.cards.findings import FAILS, UNDECIDED, Figure, Finding, Result
from jaxcompress.validate.comparisons.corrections import holm
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.shift.arguments import two_sets
from jaxcompress.validate.shift.stability import NO_PROOF


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureShift(Result):
    """The distance of each feature's distributions, and whether chance explains it.

    Invariants:
      - All arrays have the shape (features,), in the features' order.

    Args:
      n: examples of the reference.
      m: new examples.
      distance: largest difference of the two distribution functions, in [0, 1].
      p: of "both sets come from one distribution", of each feature alone.
      adjusted: the same with Holm's correction for the number of features.
      confidence: 1 - the chance that any feature without a shift is called shifted.
    """

    n: int
    m: int
    distance: np.ndarray
    p: np.ndarray
    adjusted: np.ndarray
    confidence: float

    @property
    def shifted(self) -> np.ndarray:
        """Which features moved by more than chance explains, after the correction."""
        return self.adjusted <= 1 - self.confidence

    def finding(self) -> Finding:
        """For a card: the feature that moved most, and how many did."""
        worst = int(np.argmin(self.adjusted - self.distance))
        count, features = int(self.shifted.sum()), self.distance.size
        return Finding(
            "input shift",
            f"Of {features} features, {count} moved by more than chance explains, by the test of "
            f"Kolmogorov and Smirnov on {self.n:,} and {self.m:,} examples. Feature {worst} moved "
            "most.",
            (
                Figure("its distance", float(self.distance[worst]), format=".3f"),
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


def kolmogorov_smirnov(
    reference: ArrayLike, new: ArrayLike, *, confidence: float = 0.95
) -> FeatureShift:
    """The Kolmogorov-Smirnov test of each feature, corrected for their number.

    Not for: features that change together only; take `classifier_test` or
    `kernel_test`.

        distance = max over t of |share of reference <= t - share of new <= t|

    It sees any change of one feature's distribution, and no change of how features go
    together: for that there are `kernel_test` and `classifier_test`.

    Also known as: KS test, two-sample KS.

    Args:
      reference: (n, ...), real and finite, n at least 2.
      new: (m, ...), of the same features, m at least 2.
      confidence: 1 - the chance of any false alarm among all features.

    Returns:
      Distances and p-values. Where values repeat, p-values are somewhat too large.

    Raises:
      TypeError: the sets are no numbers.
      ValueError: sets of different features, fewer than two examples, a value that is
        not finite, a wrong confidence.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> reference, new = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
      >>> new[:, 2] *= 3
      >>> jc.validate.shift.kolmogorov_smirnov(reference, new).shifted
      array([False, False,  True])

    Source: `scipy.stats.ks_2samp`; Holm 1979, Scand. J. Stat. 6. As a test for shift:
    Rabanser et al. 2019, arXiv:1810.11953, section 3.2.
    """
    from scipy import stats

    first, second = two_sets("kolmogorov_smirnov", reference, new)
    confidence = check_confidence("kolmogorov_smirnov", confidence)
    # scipy's exact p-value beyond its own limit of 10,000 is the asymptotic one anyway.
    tests: list[Any] = [
        stats.ks_2samp(old, values) for old, values in zip(first.T, second.T, strict=True)
    ]
    p = np.array([test.pvalue for test in tests])
    distance = np.array([test.statistic for test in tests])
    return FeatureShift(len(first), len(second), distance, p, holm(p), confidence)
