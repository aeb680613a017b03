"""Corrections of p-values for many candidates, classes or subgroups.

Each takes the p-values of m tests and returns m adjusted ones, in the same order: a
claim is made where its adjusted value is at most the level. For dependent tests of
candidates on the same examples `max_t` is sharper.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.validate.comparisons.arguments import probabilities


def bonferroni(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values that bound the chance of any false claim: m · p.

    Args:
      p: (m,), in [0, 1], m at least 1.

    Returns:
      (m,) float64 in [0, 1], not below `p`.

    Raises:
      ValueError: no p-value, or one outside [0, 1].

    Example:
      >>> jc.validate.comparisons.bonferroni([0.01, 0.04])
      array([0.02, 0.08])

    Source: Dunn 1961, J. Am. Stat. Assoc. 56.
    """
    p = probabilities("bonferroni", "p", p)
    return np.minimum(1, p.size * p)


def holm(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values that bound the chance of any false claim, step-down.

    Not for: means on the same examples, whose dependence `max_t` uses: near copies cost
    as one.

        of p(1) <= … <= p(m):  adjusted(i) = max over j <= i of (m - j + 1) · p(j)

    Never above Bonferroni's, and valid under any dependence: the right default.

    Also known as: Holm-Bonferroni.

    Args:
      p: (m,), in [0, 1], m at least 1.

    Returns:
      (m,) float64 in [0, 1], not below `p`.

    Raises:
      ValueError: no p-value, or one outside [0, 1].

    Example:
      >>> jc.validate.comparisons.holm([0.04, 0.01, 0.03])
      array([0.06, 0.03, 0.06])

    Source: Holm 1979, Scand. J. Stat. 6.
    """
    p = probabilities("holm", "p", p)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.arange(p.size, 0, -1) * p[order])
    return _unsorted(np.minimum(1, stepped), order)


def hochberg(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values that bound the chance of any false claim, step-up.

        of p(1) <= … <= p(m):  adjusted(i) = min over j >= i of (m - j + 1) · p(j)

    Never above Holm's; valid for independent or positively dependent tests.

    Args:
      p: (m,), in [0, 1], m at least 1.

    Returns:
      (m,) float64 in [0, 1], not below `p`.

    Raises:
      ValueError: no p-value, or one outside [0, 1].

    Example:
      >>> jc.validate.comparisons.hochberg([0.04, 0.01, 0.03])
      array([0.04, 0.03, 0.04])

    Source: Hochberg 1988, Biometrika 75.
    """
    p = probabilities("hochberg", "p", p)
    order = np.argsort(p, kind="stable")
    weighted = np.arange(p.size, 0, -1) * p[order]
    return _unsorted(np.minimum.accumulate(weighted[::-1])[::-1], order)


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values that bound the expected share of false claims among claims.

    Not for: claims of which none may be false; `holm` bounds the chance of any.

        of p(1) <= … <= p(m):  adjusted(i) = min over j >= i of m / j · p(j)

    For long lists, where a few false claims among many are fine; valid for independent
    or positively dependent tests.

    Also known as: BH, false discovery rate control, FDR.

    Args:
      p: (m,), in [0, 1], m at least 1.

    Returns:
      (m,) float64 in [0, 1], not below `p`.

    Raises:
      ValueError: no p-value, or one outside [0, 1].

    Example:
      >>> jc.validate.comparisons.benjamini_hochberg([0.04, 0.01, 0.03])
      array([0.04, 0.03, 0.04])

    Source: Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57; scipy's
    `false_discovery_control`.
    """
    from scipy import stats

    return stats.false_discovery_control(probabilities("benjamini_hochberg", "p", p))


def benjamini_yekutieli(p: ArrayLike) -> np.ndarray:
    """As `benjamini_hochberg`, and valid under any dependence.

    Not for: tests that are independent or rise together, on which `benjamini_hochberg`
    is less strict.

    Larger by the factor 1 + 1/2 + … + 1/m.

    Also known as: BY.

    Args:
      p: (m,), in [0, 1], m at least 1.

    Returns:
      (m,) float64 in [0, 1], not below `p`.

    Raises:
      ValueError: no p-value, or one outside [0, 1].

    Example:
      >>> jc.validate.comparisons.benjamini_yekutieli([0.01, 0.04])
      array([0.03, 0.06])

    Source: Benjamini and Yekutieli 2001, Ann. Stat. 29; scipy's
    `false_discovery_control`.
    """
    from scipy import stats

    values = probabilities("benjamini_yekutieli", "p", p)
    return stats.false_discovery_control(values, method="by")


def _unsorted(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = np.empty_like(values)
    found[order] = values
    return found
