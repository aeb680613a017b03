"""Confidence intervals of a proportion, of a mean, and of a paired difference.

The statistics are scipy's, imported when first called because `scipy.stats` takes a
second to import.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.checks import check_count, check_inside
from jaxcompress.validate.arrays import check_all_finite, real

_RESAMPLED_NUMBERS = 1 << 22
"""Most numbers held at once while resampling: 32 MiB of float64."""
_FEW = 10
"""Successes up to which Wilson's low end is compared with the Poisson limit."""
_ANGLES = 129
"""Points of a quarter circle on which a limit is looked for; between them it moves by
less than a ten-thousandth."""


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, such as an accuracy.

        centre = (p + z²/2n) / (1 + z²/n),  p = successes / n
        half   = z · sqrt(p(1 - p)/n + z²/4n²) / (1 + z²/n)

    with z the standard normal quantile at (1 + confidence) / 2. It stays inside [0, 1]
    and keeps its width where all or no examples succeed. With 1 to 10 successes its low
    end is the Poisson limit chi²(1 - confidence, 2 · successes) / 2n where that is
    lower, but not below Clopper and Pearson's, and with so few failures its high end
    likewise: alone, an interval of
    confidence 0.95 covers a rare error with a probability of 0.84, with this of at
    least 0.93 from 50 examples.

    Args:
      successes: count in [0, n].
      n: number of examples, at least 1.
      confidence: in (0, 1).

    Returns:
      (low, high), floats in [0, 1].

    Raises:
      ValueError: a count or the confidence is out of range.

    Example:
      >>> low, high = jc.validate.wilson(90, 100)
      >>> round(low, 4), round(high, 4)
      (0.8256, 0.9457)

    Source: Wilson 1927, J. Am. Stat. Assoc. 22; Brown, Cai and DasGupta 2001, Stat.
    Sci. 16, sections 3.1.1 and 4.1.1, who take the Poisson limit for up to 3 successes.
    """
    successes = check_count("wilson", "successes", successes, least=0)
    n = check_count("wilson", "n", n)
    if successes > n:
        raise ValueError(f"wilson(successes={successes}, n={n}) needs successes <= n.")
    confidence = check_confidence("wilson", confidence)
    # Failures are the successes of the opposite.
    low, rest = wilson_low(np.array([successes, n - successes]), n, confidence)
    return float(low), float(1 - rest)


def wilson_low(successes: np.ndarray, n: int, confidence: float) -> np.ndarray:
    """Low ends of `wilson` for many counts (k,); of failures, 1 minus the high ends."""
    from scipy import stats

    z = stats.norm.ppf((1 + confidence) / 2)
    share = successes / n
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = (share + z * z / (2 * n) - half) / (1 + z * z / n)
    # Of no success rounding leaves a little below or above 0.
    low = np.where(successes > 0, np.maximum(low, 0.0), 0.0)
    few = successes <= _FEW
    rare = np.maximum(successes[few], 1)
    poisson = stats.chi2.ppf(1 - confidence, 2 * rare) / (2 * n)
    # Where successes are a large share the Poisson limit is far below the exact one.
    exact = stats.beta.ppf((1 - confidence) / 2, rare, n - rare + 1)
    low[few] = np.where(successes[few] > 0, np.minimum(low[few], np.maximum(poisson, exact)), 0.0)
    return low


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of independent values.

        mean ± t · s / sqrt(n),  s the sample standard deviation

    with t the quantile at (1 + confidence) / 2 of Student's distribution, n - 1 degrees
    of freedom. Exact for normal values, close for the mean of many.

    Not for: losses, whose few large values a sample may miss; take
    `skewed_mean_interval`.

    Args:
      values: (n,), real and finite, n at least 2: losses of examples,
        accuracies of seeds.
      confidence: in (0, 1).

    Returns:
      (low, high), floats.

    Raises:
      ValueError: fewer than two values, a value that is not finite,
        or a wrong confidence.

    Example:
      >>> low, high = jc.validate.mean_interval([1.0, 2.0, 3.0])
      >>> round(low, 3), round(high, 3)
      (-0.484, 4.484)

    Source: Student 1908, Biometrika 6.
    """
    from scipy import stats

    values = finite_values("mean_interval", values)
    confidence = check_confidence("mean_interval", confidence)
    n = values.size
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return float(values.mean() - half), float(values.mean() + half)


def paired_interval(
    gained: int, lost: int, n: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Exact interval of the difference of two accuracies on the same examples.

    Not for: models on different examples; take `proportion_difference_interval`.

    0 lies inside exactly where McNemar's exact test has p > 1 - confidence: at a
    difference of 0 both are one test. With z the normal quantile at
    (1 + confidence) / 2, the interval is that of all d = share · balance whose share
    of examples that differ and balance of gains, in [-1, 1], have

        z_balance² + z_share² <= z²
        z_balance    from the binomial tail of gained, given gained + lost: the test's
        z_share      from the binomial tail of gained + lost, given n

    By the Pythagorean sum a limit is as wide as one standard error of both together. A
    bootstrap, which sees no balance but the one found, is too narrow where few differ.

    Also known as: confidence interval of a paired difference of proportions.

    Args:
      gained: examples right in the candidate alone.
      lost: examples right in the reference alone.
      n: examples compared, at least 1 and at least gained + lost.
      confidence: in (0, 1).

    Returns:
      (low, high) of (gained - lost) / n in the population, floats in [-1, 1].

    Raises:
      ValueError: a count or the confidence is out of range.

    Example:
      >>> low, high = jc.validate.paired_interval(0, 4, 719)
      >>> round(low, 4), round(high, 4)
      (-0.0142, 0.0014)

    Source: the limits of each part are those of Clopper and Pearson 1934, Biometrika
    26; the test is McNemar 1947, Psychometrika 12, in its exact form. The region of
    both is ours. Enumerated for n up to 120, and up to 10 000 where few differ, an
    interval of confidence 0.95 covers with a probability of at least 0.95, whatever the
    share and the balance; where all examples differ this is a theorem.
    """
    from scipy import stats

    gained = check_count("paired_interval", "gained", gained, least=0)
    lost = check_count("paired_interval", "lost", lost, least=0)
    n = check_count("paired_interval", "n", n)
    if gained + lost > n:
        raise ValueError(
            f"paired_interval(gained={gained}, lost={lost}, n={n}) needs gained + lost <= n."
        )
    confidence = check_confidence("paired_interval", confidence)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    # The gains of one model are the losses of the other.
    low, minus_high = paired_low(np.array([gained, lost]), np.array([lost, gained]), n, z)
    return float(low), float(-minus_high)


def paired_low(gained: np.ndarray, lost: np.ndarray, n: int, z: float) -> np.ndarray:
    """Low ends of `paired_interval`, z standard errors away, for many counts.

    Args:
      gained: (k,) int, right in the candidate alone.
      lost: (k,) int, right in the reference alone; gained + lost <= n.
      n: examples compared.
      z: quantile of the standard normal, at least 0.

    Returns:
      (k,) float64 in [-1, 1].
    """
    angle = np.linspace(0, math.pi / 2, _ANGLES)
    gained, differing = gained[:, None], (gained + lost)[:, None]
    balance = 2 * _binomial_low(gained, differing, z * np.cos(angle)) - 1  # (k, angles)
    # Where the balance is below 0, the largest share makes the product least.
    falls = balance < 0
    end = _binomial_low(np.where(falls, n - differing, differing), n, z * np.sin(angle))
    return np.min(np.where(falls, 1 - end, end) * balance, axis=1)


def _binomial_low(successes: np.ndarray, n: ArrayLike, z: np.ndarray) -> np.ndarray:
    """The least proportions that are not more than z standard errors too low."""
    from scipy import special

    low = special.betaincinv(np.maximum(successes, 1), n - successes + 1, special.ndtr(-z))
    return np.where(successes > 0, low, 0.0)


def bootstrap_interval(
    values: ArrayLike, *, confidence: float = 0.95, seed: int = 0, resamples: int = 9999
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, for values of any distribution.

    Given differences example by example it is the paired bootstrap
    of the mean difference.

    The percentile method is chosen because differences of accuracy are -1, 0 or 1, and
    mostly 0. Its ends stay where means can lie, and it exists for every sample: equal
    values give that value twice. The corrections of BCa, which estimate skew from the
    few examples that differ, are undefined where none do. Of skewed values it is too
    narrow, for 100 losses it covers 91 % where 95 are promised: for those take
    `skewed_mean_interval`.

    Args:
      values: (n,), real and finite, n at least 2.
      confidence: in (0, 1).
      seed: of the resampling; the same seed gives the same interval.
      resamples: number of bootstrap samples.

    Returns:
      (low, high), floats between the smallest and the largest value.

    Raises:
      ValueError: fewer than two values, a value that is not finite,
        a wrong confidence, or a seed or number of samples that is no count.

    Example:
      >>> jc.validate.bootstrap_interval([0.5, 0.5, 0.5])
      (0.5, 0.5)

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    from scipy import stats

    values = finite_values("bootstrap_interval", values)
    confidence = check_confidence("bootstrap_interval", confidence)
    seed = check_count("bootstrap_interval", "seed", seed, least=0)
    resamples = check_count("bootstrap_interval", "resamples", resamples)
    result = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        method="percentile",
        n_resamples=resamples,
        batch=max(1, _RESAMPLED_NUMBERS // values.size),
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def check_confidence(callable_name: str, confidence: float) -> float:
    """The confidence as a Python number; raises a ValueError unless it is in (0, 1)."""
    check_inside(callable_name, "confidence", confidence, 0, 1)
    return float(confidence)


def finite_values(callable_name: str, values: ArrayLike, argument: str = "values") -> np.ndarray:
    """The values as (n,) float64; a ValueError unless finite, n at least 2."""
    numbers = real(callable_name, argument, values)
    if numbers.ndim != 1 or numbers.size < 2:
        raise ValueError(
            f"{callable_name}({argument} of shape {numbers.shape}) needs the shape (n,), n at least"
            " 2."
        )
    check_all_finite(callable_name, argument, numbers)
    return numbers
