"""Claims about a test set, as functions from its size to the chance that it shows them.

`power.required_examples` turns one into a number of examples, before any are drawn.
"""

from collections.abc import Callable

import numpy as np

from jaxcompress.core import exports
from jaxcompress.core.checks import check_count, check_inside, check_number, check_positive
from jaxcompress.validate.comparisons.equivalence import check_claim
from jaxcompress.validate.intervals import check_confidence, paired_low, wilson_low

exports.list_definitions(globals())

Claim = Callable[[int], float]
"""n examples -> the chance, in [0, 1], that they show what is claimed."""

_COUNTS = 32
"""Counts of differing examples that stand for all: a chance is off by 1/32 at most."""


def not_worse(
    *, margin: float, discordance: float, difference: float = 0.0, confidence: float = 0.95
) -> Claim:
    """The claim that an accuracy is not worse by a margin, by `equivalence`.

        chance(n) = P[low > -margin],  gained and lost drawn with shares
                    (discordance ± difference) / 2 of n examples

    Args:
      margin: difference of accuracy that matters, in (0, 1).
      discordance: share of examples on which one model alone is right, in (0, 1); half
        of the share of examples whose prediction changed is a first guess, a pilot of
        some hundred examples a better one.
      difference: true difference of accuracy, candidate minus reference, in size at
        most `discordance`; 0 where the candidate is as good.
      confidence: of the claim, in (0.5, 1).

    Returns:
      The claim: n -> chance. It falls by little at some n, since counts jump.

    Raises:
      ValueError: an argument is out of range, or the true difference is a loss of the
        margin or more, so that the claim is false.

    Example:
      >>> claims = jc.validate.comparisons.claims
      >>> claim = claims.not_worse(margin=0.01, discordance=0.02)
      >>> claim(500) < 0.4 and claim(3000) > 0.9
      True

    Source: the exact power of our test; Liu, Hsueh, Hsieh and Chen 2002, Stat. Med. 21,
    give the normal one.
    """
    from scipy import stats

    difference = _checked("not_worse", margin, discordance, difference)
    confidence = check_claim("not_worse", confidence)
    if difference <= -margin:
        raise ValueError(
            f"not_worse(difference={difference}, margin={margin}): the candidate is worse by the"
            " margin, so that no number of examples shows the claim."
        )
    z, balance = float(stats.norm.ppf(confidence)), (1 + difference / discordance) / 2

    def share(differing: np.ndarray, n: int) -> np.ndarray:
        return stats.binom.sf(_least_gained(differing, n, z, -margin) - 1, differing, balance)

    return _paired(discordance, share)


def equivalent(
    *, margin: float, discordance: float, difference: float = 0.0, confidence: float = 0.95
) -> Claim:
    """The claim that two accuracies are the same within a margin, by `equivalence`.

    Not for: models that may be better, where a loss alone matters; `claims.not_worse`
    takes fewer examples.

        chance(n) = P[-margin < low and high < margin]

    Args:
      margin: difference of accuracy that matters, in (0, 1).
      discordance: share of examples on which one model alone is right, in (0, 1).
      difference: true difference of accuracy, smaller in size than the margin.
      confidence: of the claim, in (0.5, 1).

    Returns:
      The claim: n -> chance.

    Raises:
      ValueError: an argument is out of range, or the true difference is the margin or
        more, so that the claim is false.

    Example:
      >>> claims = jc.validate.comparisons.claims
      >>> claim = claims.equivalent(margin=0.01, discordance=0.02)
      >>> claim(1000) < 0.5 and claim(4000) > 0.9
      True

    Also known as: power of TOST for paired proportions.

    Source: as `not_worse`.
    """
    from scipy import stats

    difference = _checked("equivalent", margin, discordance, difference)
    confidence = check_claim("equivalent", confidence)
    if abs(difference) >= margin:
        raise ValueError(
            f"equivalent(difference={difference}, margin={margin}): the models differ by the"
            " margin, so that no number of examples shows the claim."
        )
    z, balance = float(stats.norm.ppf(confidence)), (1 + difference / discordance) / 2

    def share(differing: np.ndarray, n: int) -> np.ndarray:
        # By symmetry as many have to be lost as have to be gained.
        least = _least_gained(differing, n, z, -margin)
        most = stats.binom.cdf(differing - least, differing, balance)
        return np.maximum(0, most - stats.binom.cdf(least - 1, differing, balance))

    return _paired(discordance, share)


def different(*, difference: float, discordance: float, confidence: float = 0.95) -> Claim:
    """The claim that two accuracies differ, by McNemar's exact test.

    Not for: showing that two models are equally good; take `claims.not_worse` or
    `claims.equivalent`.

        chance(n) = P[p < 1 - confidence, and to the right side]

    Args:
      difference: true difference of accuracy, not 0, in size at most `discordance`.
      discordance: share of examples on which one model alone is right, in (0, 1).
      confidence: 1 minus the level of the two-sided test, in (0, 1).

    Returns:
      The claim: n -> chance.

    Raises:
      ValueError: an argument is out of range, or the difference is 0.

    Example:
      >>> claims = jc.validate.comparisons.claims
      >>> claim = claims.different(difference=-0.02, discordance=0.04)
      >>> claim(100) < 0.2 and claim(2000) > 0.9
      True

    Also known as: power of McNemar's test.

    Source: Duffy 1984, Biometrics 40, the exact power; the region is that of
    `paired_interval` without 0.
    """
    from scipy import stats

    difference = _checked("different", 0.5, discordance, difference)
    confidence = check_confidence("different", confidence)
    if not difference:
        raise ValueError("different(difference=0.0): equal models are never shown to differ.")
    z, balance = (
        float(stats.norm.ppf((1 + confidence) / 2)),
        (1 + abs(difference) / discordance) / 2,
    )

    def share(differing: np.ndarray, n: int) -> np.ndarray:
        return stats.binom.sf(_least_gained(differing, n, z, 0.0) - 1, differing, balance)

    return _paired(discordance, share)


def narrow(*, width: float, accuracy: float, confidence: float = 0.95) -> Claim:
    """The claim that Wilson's interval of an accuracy is at most so wide.

    Args:
      width: high minus low, in (0, 1).
      accuracy: true accuracy, in (0, 1); 0.5 needs the most examples.
      confidence: of the interval, in (0, 1).

    Returns:
      The claim: n -> chance.

    Raises:
      ValueError: an argument is out of range.

    Example:
      >>> claim = jc.validate.comparisons.claims.narrow(width=0.02, accuracy=0.95)
      >>> claim(1000), claim(3000)
      (0.0, 1.0)

    Source: Wilson 1927, J. Am. Stat. Assoc. 22.
    """
    from scipy import stats

    check_inside("narrow", "width", width, 0, 1)
    check_inside("narrow", "accuracy", accuracy, 0, 1)
    confidence = check_confidence("narrow", confidence)

    def chance(n: int) -> float:
        n = check_count("narrow(...)", "n", n)
        low = wilson_low(np.arange(n + 1), n, confidence)
        widths = 1 - low - low[::-1]
        weights = stats.binom.pmf(np.arange(n + 1), n, float(accuracy))
        return float(np.round(np.sum(weights[widths <= width]), 9))

    return chance


def mean_not_worse(*, margin: float, deviation: float, confidence: float = 0.95) -> Claim:
    """The claim that a mean difference is not worse by a margin, by the t test.

    The candidate is taken to be as good. Of normal differences,

        chance(n) = P[T > t(confidence, n - 1)]
        T           noncentral t of n - 1 degrees, shift margin · sqrt(n) / deviation

    Args:
      margin: difference of the mean that matters, above 0, in the scores' unit.
      deviation: standard deviation of the differences example by example, above 0.
      confidence: of the claim, in (0.5, 1).

    Returns:
      The claim: n -> chance, for n at least 2.

    Raises:
      ValueError: an argument is out of range.

    Example:
      >>> claims = jc.validate.comparisons.claims
      >>> claim = claims.mean_not_worse(margin=0.1, deviation=1.0)
      >>> round(claim(620), 2)
      0.8

    Source: Julious 2004, Stat. Med. 23, section 5.
    """
    from scipy import stats

    check_positive("mean_not_worse", "margin", margin)
    check_positive("mean_not_worse", "deviation", deviation)
    confidence = check_claim("mean_not_worse", confidence)

    def chance(n: int) -> float:
        n = check_count("mean_not_worse(...)", "n", n)
        if n < 2:
            return 0.0
        shift = float(margin) * np.sqrt(n) / float(deviation)
        return float(stats.nct.sf(stats.t.ppf(confidence, n - 1), n - 1, shift))

    return chance


def _checked(caller: str, margin: float, discordance: float, difference: float) -> float:
    check_inside(caller, "margin", margin, 0, 1)
    check_inside(caller, "discordance", discordance, 0, 1)
    check_number(caller, "difference", difference)
    if abs(difference) > discordance:
        raise ValueError(
            f"{caller}(difference={difference}, discordance={discordance}): a difference of"
            " accuracy is at most the share of examples on which one model alone is right."
        )
    return float(difference)


def _paired(discordance: float, share: Callable[[np.ndarray, int], np.ndarray]) -> Claim:
    """The mean of a chance over how many examples differ.

    `share` gives it for counts of differing examples (k,) among n.
    """
    from scipy import stats

    def chance(n: int) -> float:
        n = check_count("claim", "n", n)
        levels = (np.arange(_COUNTS) + 0.5) / _COUNTS
        counts, weights = np.unique(
            stats.binom.ppf(levels, n, float(discordance)).astype(np.int64), return_counts=True
        )
        return float(np.clip(weights @ share(counts, n) / _COUNTS, 0, 1))

    return chance


def _least_gained(differing: np.ndarray, n: int, z: float, limit: float) -> np.ndarray:
    """The least gains among so many examples whose interval lies above the limit.

    By halving, since the low end rises with the gains; `differing` + 1 where none does.
    """
    few, many = np.full_like(differing, -1), differing + 1
    while np.any(many - few > 1):
        # Where the two have met, either is asked again and nothing moves.
        middle = np.clip((few + many) // 2, 0, differing)
        above = paired_low(middle, differing - middle, n, z) > limit
        few, many = np.where(above, few, middle), np.where(above, middle, many)
    return many
