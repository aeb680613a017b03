"""Intervals of the difference of two figures from different examples, unpaired."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count
from jaxcompress.validate.intervals import check_confidence
from jaxcompress.validate.shift.arguments import two_sets


def proportion_difference_interval(
    successes: int, n: int, new_successes: int, m: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Newcombe's interval of the difference of two proportions of different examples.

    Not for: two models on the same examples; take `paired_interval`.

    With the proportions p and q, d = q - p, and Wilson's score intervals (l, u) of
    each, without what `validate.wilson` adds for rare outcomes:

        low  = d - sqrt((q - l_q)² + (u_p - p)²)
        high = d + sqrt((u_q - q)² + (p - l_p)²)

    It stays inside [-1, 1] and keeps its width where all or no examples succeed. Of two
    models on the same examples take `paired_interval`.

    Also known as: Newcombe's hybrid score interval, method 10.

    Args:
      successes: of the reference, in [0, n].
      n: examples of the reference, at least 1.
      new_successes: of the new examples, in [0, m].
      m: new examples, at least 1.
      confidence: in (0, 1).

    Returns:
      (low, high) of new minus reference, floats in [-1, 1].

    Raises:
      ValueError: a count or the confidence is out of range.

    Example:
      >>> interval = jc.validate.shift.proportion_difference_interval(48, 80, 56, 70)
      >>> round(interval[0], 4), round(interval[1], 4)
      (0.0524, 0.3339)

    Source: Newcombe 1998, Stat. Med. 17, pages 873 to 890, method 10; the example is
    the first of its table II.
    """
    from scipy import stats

    caller = "proportion_difference_interval"
    shares, limits = [], []
    for names, (count, total) in {
        ("successes", "n"): (successes, n),
        ("new_successes", "m"): (new_successes, m),
    }.items():
        total = check_count(caller, names[1], total)
        count = check_count(caller, names[0], count, least=0)
        if count > total:
            raise ValueError(
                f"{caller}({names[0]}={count}, {names[1]}={total}) needs {names[0]} <= {names[1]}."
            )
        shares.append(count / total)
        test = stats.binomtest(count, total)
        limits.append(test.proportion_ci(check_confidence(caller, confidence), method="wilson"))
    (p, q), ((p_low, p_high), (q_low, q_high)) = shares, limits
    low = q - p - math.hypot(q - q_low, p_high - p)
    high = q - p + math.hypot(q_high - q, p - p_low)
    return float(low), float(high)


def mean_difference_interval(
    reference: ArrayLike, new: ArrayLike, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Welch's interval of the difference of two means of different examples.

        d ± t · sqrt(s² / n + r² / m),  d = mean of new - mean of reference

    with s and r the standard deviations, which may differ, and t the quantile of
    Student's distribution at Welch's degrees of freedom.

    Args:
      reference: (n,), real and finite, n at least 2.
      new: (m,), real and finite, m at least 2.
      confidence: in (0, 1).

    Returns:
      (low, high) of new minus reference; both the difference where all values of a set
      are one.

    Raises:
      TypeError: the values are no numbers.
      ValueError: fewer than two values, a value that is not finite, a wrong confidence.

    Example:
      >>> values = [1.0, 2.0, 3.0]
      >>> low, high = jc.validate.shift.mean_difference_interval(values, values)
      >>> round(low, 3), round(high, 3)
      (-2.267, 2.267)

    Source: `scipy.stats.ttest_ind`; Welch 1947, Biometrika 34.
    """
    first, second = two_sets("mean_difference_interval", reference, new)
    confidence = check_confidence("mean_difference_interval", confidence)
    if first.shape[1] != 1:
        raise ValueError(
            f"mean_difference_interval(reference of shape {np.shape(reference)}) needs the shape"
            " (n,), one number per example."
        )
    low, high, _ = welch(first[:, 0], second[:, 0], confidence)
    return low, high


def welch(reference: np.ndarray, new: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """(low, high) of new minus reference and the p-value of "no difference"."""
    from scipy import stats

    difference = float(new.mean() - reference.mean())
    if reference.std() == 0 and new.std() == 0:
        return difference, difference, float(difference == 0)
    test: Any = stats.ttest_ind(new, reference, equal_var=False)
    limits = test.confidence_interval(confidence)
    return float(limits.low), float(limits.high), float(test.pvalue)
