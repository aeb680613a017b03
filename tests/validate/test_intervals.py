"""Intervals against closed forms, exact distributions, and their promised coverage."""

import math
import statistics
from typing import Any

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.intervals import (
    bootstrap_interval,
    mean_interval,
    paired_interval,
    wilson,
    wilson_low,
)
from jaxcompress.validate.skewed import skewed_mean_interval

SIMULATIONS = 400
# Four standard deviations of an observed coverage of 95 %.
COVERAGE_ERROR = 4 * math.sqrt(0.95 * 0.05 / SIMULATIONS)


def wilson_by_hand(successes, n, confidence):
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low, high = centre - half, centre + half
    # The mean of a Poisson count from which as many or more come with that probability.
    exact = stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    if 1 <= successes <= 10:
        poisson = stats.chi2.ppf(1 - confidence, 2 * successes) / 2 / n
        low = min(low, max(poisson, exact.low))
    if 1 <= n - successes <= 10:
        poisson = stats.chi2.ppf(1 - confidence, 2 * (n - successes)) / 2 / n
        high = max(high, min(1 - poisson, exact.high))
    return low, high


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 10), (3, 7), (350, 360), (9, 9)])
def test_wilson_is_the_closed_form(successes, n, confidence):
    low, high = wilson(successes, n, confidence=confidence)
    np.testing.assert_allclose(
        (low, high), wilson_by_hand(successes, n, confidence), rtol=1e-9, atol=1e-12
    )
    assert 0 <= low <= successes / n <= high <= 1


def test_wilson_never_closes_where_all_or_none_succeed():
    assert wilson(0, 20)[0] == 0 < wilson(0, 20)[1]
    assert wilson(20, 20)[0] < wilson(20, 20)[1] == 1


def test_limits_of_many_counts_are_those_of_each():
    counts = np.array([0, 1, 9, 10, 11, 39, 40])
    lows = wilson_low(counts, 40, 0.9)
    np.testing.assert_array_equal(lows, [wilson(k, 40, confidence=0.9)[0] for k in counts])
    # A million counts cost no more than their score limits: ten have another.
    assert wilson_low(np.arange(1_000_001), 1_000_000, 0.95)[-1] > 0.999


@pytest.mark.parametrize("n", [1, 4, 10, 15, 30])
def test_wilson_is_never_wider_than_the_exact_interval(n):
    """Ten failures of ten are no rare event."""
    for k in range(n + 1):
        exact = stats.binomtest(k, n).proportion_ci(method="exact")
        low, high = wilson(k, n)
        assert exact.low - 1e-12 <= low
        assert high <= exact.high + 1e-12


def test_wilson_is_scipys_where_neither_outcome_is_rare():
    expected = stats.binomtest(40, 60).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(40, 60), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [50, 100, 300])
def test_wilson_covers_every_proportion(n):
    """Exactly: every count, times its probability, also where errors are rare."""
    ends = np.array([wilson(k, n) for k in range(n + 1)])
    shares = np.concatenate([np.linspace(0.01, 12, 400) / n, np.linspace(12 / n, 0.5, 100)])
    chances = stats.binom.pmf(np.arange(n + 1), n, shares[:, None])
    inside = (ends[:, 0] <= shares[:, None]) & (shares[:, None] <= ends[:, 1])
    assert np.sum(chances * inside, axis=1).min() >= 0.93


def test_a_skewed_mean_has_an_end_further_out_where_the_tail_is_long():
    """By hand: skewness g = 2 / sqrt(3) of (0, 0, 0, 4), t(0.975, 3) = 3.182."""
    low, high = mean_interval([0, 0, 0, 4])
    inside = 1 + 2 / math.sqrt(3) * (-3.1824463 / 2 - 2 / math.sqrt(3) / 24)
    far = 1 - math.sqrt(3) * 2 / 2 * 3 * (np.cbrt(inside) - 1)
    assert far > high
    np.testing.assert_allclose(skewed_mean_interval([0, 0, 0, 4]), (low, far), rtol=1e-6)
    np.testing.assert_allclose(skewed_mean_interval([0, 0, 0, -4]), (-far, -low), rtol=1e-6)
    assert skewed_mean_interval([1, 2, 3]) == mean_interval([1, 2, 3])


def test_wilson_takes_numpy_counts():
    counts: Any = np.int64(3), np.int32(7)
    assert wilson(*counts) == wilson(3, 7)


def test_mean_interval_by_hand():
    # Mean 2, standard deviation 1, and t(0.975, 2 degrees) = 4.302653.
    half = 4.302653 / math.sqrt(3)
    np.testing.assert_allclose(mean_interval([1, 2, 3]), (2 - half, 2 + half), rtol=1e-6)


def test_mean_interval_is_scipys():
    values = np.random.default_rng(0).normal(size=12)
    expected = stats.t.interval(0.9, 11, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose(mean_interval(values, confidence=0.9), expected, rtol=1e-12)


@pytest.mark.parametrize("interval", [mean_interval, skewed_mean_interval, bootstrap_interval])
def test_equal_values_give_that_value_twice(interval):
    assert interval([0.25] * 7) == (0.25, 0.25)
    assert interval(np.zeros(5, np.float32)) == (0.0, 0.0)


def test_mean_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.normal(3, 2, size=6)) for _ in range(SIMULATIONS)]
    coverage = np.mean([low <= 3 <= high for low, high in intervals])
    assert abs(coverage - 0.95) <= COVERAGE_ERROR


def test_bootstrap_of_zeros_and_ones_is_the_binomial():
    """The mean of a resample of k ones among n is Binomial(n, k / n) / n, exactly."""
    k, n, resamples = 30, 200, 9999
    low, high = bootstrap_interval([1] * k + [0] * (n - k), resamples=resamples)
    error = 4 * math.sqrt(0.025 * 0.975 / resamples)
    exact = stats.binom(n, k / n)
    assert exact.ppf(0.025 - error) <= low * n + 1e-9
    assert low * n - 1e-9 <= exact.ppf(0.025 + error)
    assert exact.ppf(0.975 - error) <= high * n + 1e-9
    assert high * n - 1e-9 <= exact.ppf(0.975 + error)


def test_bootstrap_covers_as_often_as_theory_says():
    """For normal values it is z · s / sqrt(n) with s of divisor n."""
    n, rng = 30, np.random.default_rng(2)
    intervals = [
        bootstrap_interval(rng.normal(size=n), seed=seed, resamples=999)
        for seed in range(SIMULATIONS)
    ]
    coverage = np.mean([low <= 0 <= high for low, high in intervals])
    z = stats.norm.ppf(0.975)
    expected = 1 - 2 * stats.t.sf(z * math.sqrt((n - 1) / n), n - 1)
    assert abs(coverage - expected) <= COVERAGE_ERROR


def test_the_skewed_interval_covers_skewed_means():
    rng, hits = np.random.default_rng(2), 0
    for _ in range(SIMULATIONS):
        low, high = skewed_mean_interval(rng.exponential(size=50))
        hits += low <= 1 <= high
    assert hits / SIMULATIONS >= 0.95 - COVERAGE_ERROR


def test_bootstrap_repeats_by_seed_and_not_across_seeds():
    values = np.random.default_rng(3).normal(size=50)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


def test_bootstrap_in_several_batches_equals_one(monkeypatch):
    values = np.random.default_rng(3).normal(size=50)
    expected = bootstrap_interval(values, resamples=99)
    monkeypatch.setattr("jaxcompress.validate.intervals._RESAMPLED_NUMBERS", 500)
    assert bootstrap_interval(values, resamples=99) == expected


@pytest.mark.parametrize(
    ("successes", "n", "message"),
    [(-1, 5, "successes=-1\\) must"), (6, 5, "successes=6, n=5\\) needs"), (0, 0, "n=0\\) must")],
)
def test_wilson_refuses_impossible_counts(successes, n, message):
    with pytest.raises(ValueError, match=rf"wilson\({message}"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
@pytest.mark.parametrize(
    "interval",
    [lambda **options: wilson(1, 2, **options)]
    + [lambda f=f, **options: f([1, 2], **options) for f in (mean_interval, bootstrap_interval)],
)
def test_refuses_a_confidence_outside_0_and_1(interval, confidence):
    with pytest.raises(ValueError, match=rf"\(confidence={confidence}\) must be in \(0, 1\)"):
        interval(confidence=confidence)


@pytest.mark.parametrize("interval", [mean_interval, skewed_mean_interval, bootstrap_interval])
def test_refuses_values_without_an_interval(interval):
    with pytest.raises(ValueError, match=rf"{interval.__name__}\(values of shape \(1,\)\)"):
        interval([1.0])
    with pytest.raises(ValueError, match=r"\(values of shape \(2, 2\)\) needs the shape \(n,\)"):
        interval(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"1 of 3 values are not finite, .* values\[1\] = nan"):
        interval([0, math.nan, 1])


def mcnemar(gained, lost):
    """Twice the smaller tail of fair throws, by hand."""
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**n)


@pytest.mark.parametrize(("n", "confidence"), [(24, 0.95), (1000, 0.95), (24, 0.5), (24, 0.999)])
def test_the_paired_interval_holds_0_exactly_where_the_exact_test_does_not_reject(n, confidence):
    """Every pair of counts that n examples, or 24 of them, can give."""
    for gained in range(25):
        for lost in range(25 - gained):
            low, high = paired_interval(gained, lost, n, confidence=confidence)
            assert -1 <= low <= (gained - lost) / n <= high <= 1
            p = mcnemar(gained, lost)
            assert (low < 0 < high) == (p > 1 - confidence)
            assert (high < 0) == (p < 1 - confidence and gained < lost)


def test_the_paired_interval_covers_as_often_as_it_says():
    """Exactly: every outcome of 24 examples, times its probability."""
    n = 24
    counts = np.array([(g, k) for g in range(n + 1) for k in range(n + 1 - g)])
    gained, lost = counts.T
    ends = np.array([paired_interval(int(g), int(k), n) for g, k in counts])
    for share in (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0):
        for balance in (0.0, 0.1, 0.325, 0.5, 0.8, 1.0):
            gain, loss = share * (1 + balance) / 2, share * (1 - balance) / 2
            chances = stats.multinomial.pmf(
                np.stack([gained, lost, n - gained - lost], axis=1), n, [gain, loss, 1 - share]
            )
            np.testing.assert_allclose(chances.sum(), 1, rtol=1e-9)
            inside = (ends[:, 0] <= share * balance) & (share * balance <= ends[:, 1])
            assert chances[inside].sum() >= 0.95


def test_the_paired_interval_is_that_of_each_part_where_the_other_is_sure():
    """All examples differ: of the balance; all that differ are gained: of the share."""
    balance = stats.binomtest(7, 20).proportion_ci(method="exact")
    np.testing.assert_allclose(
        paired_interval(7, 13, 20)[1], 2 * balance.high - 1, rtol=1e-9, atol=1e-12
    )
    share = stats.binomtest(0, 20).proportion_ci(method="exact")
    np.testing.assert_allclose(paired_interval(0, 0, 20), (-share.high, share.high), rtol=1e-9)


@pytest.mark.parametrize("seed", [None, -1, 1.5])
def test_a_bootstrap_that_would_not_repeat_is_refused(seed: Any):
    with pytest.raises(ValueError, match=rf"bootstrap_interval\(seed={seed}\) must be at least 0"):
        bootstrap_interval([0.0, 1.0], seed=seed)


def test_refuses_more_answers_that_differ_than_examples():
    with pytest.raises(ValueError, match=r"paired_interval\(gained=2, lost=2, n=3\) needs"):
        paired_interval(2, 2, 3)
