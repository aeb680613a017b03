"""DeLong's variance against the plain loop over pairs; intervals and tests."""

import math

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.comparisons import auc_covariance, auc_interval, compare_auc


def delong_by_hand(scores, positive):
    """Every pair of a positive and a negative, for every model: O(n²)."""
    aucs, above, below = [], [], []
    for each in scores:
        wins = np.array(
            [[float(p > q) + 0.5 * (p == q) for q in each[~positive]] for p in each[positive]]
        )
        aucs.append(wins.mean())
        above.append(wins.mean(axis=1))
        below.append(wins.mean(axis=0))
    models = len(scores)
    covariance = np.zeros((models, models))
    for a in range(models):
        for b in range(models):
            for part in (above, below):
                x, y = part[a], part[b]
                covariance[a, b] += np.sum((x - x.mean()) * (y - y.mean())) / (x.size - 1) / x.size
    return np.array(aucs), covariance


def drawn(seed, n=40, ties=False):
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 3 == 0
    common = rng.normal(size=n) + positive
    scores = np.stack([common + 0.5 * rng.normal(size=n) for _ in range(3)])
    return (np.round(scores) if ties else scores), positive


@pytest.mark.parametrize("ties", [False, True])
def test_midranks_give_what_all_pairs_give(ties):
    scores, positive = drawn(0, ties=ties)
    aucs, covariance = auc_covariance(scores, positive)
    expected, by_hand = delong_by_hand(scores, positive)
    np.testing.assert_allclose(aucs, expected, rtol=1e-12)
    np.testing.assert_allclose(covariance, by_hand, rtol=1e-9, atol=1e-15)


def test_the_auc_is_that_of_mann_whitney():
    scores, positive = drawn(1, ties=True)
    statistic = stats.mannwhitneyu(scores[0, positive], scores[0, ~positive]).statistic
    pairs = positive.sum() * (~positive).sum()
    np.testing.assert_allclose(auc_covariance(scores, positive)[0][0], statistic / pairs)


def welch_by_hand(values, positive):
    """Error and degrees of freedom of Welch's t test, from the wins of every pair."""
    scores, other = values
    wins = [
        np.array([[float(p > q) + 0.5 * (p == q) for q in each[~positive]] for p in each[positive]])
        for each in (scores, other)
    ]
    difference = wins[1] - wins[0]
    parts = [difference.mean(axis=1), difference.mean(axis=0)]
    shares = [np.var(part, ddof=1) / part.size for part in parts]
    freedom = sum(shares) ** 2 / sum(
        share**2 / (part.size - 1) for share, part in zip(shares, parts, strict=True)
    )
    return math.sqrt(sum(shares)), freedom


def test_the_test_is_students_in_the_difference():
    scores, positive = drawn(2)
    aucs, covariance = delong_by_hand(scores, positive)
    result = compare_auc(scores[0], scores[1], positive, confidence=0.9)
    error, freedom = welch_by_hand(scores[:2], positive)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    np.testing.assert_allclose(error**2, variance, rtol=1e-9)
    difference = aucs[1] - aucs[0]
    np.testing.assert_allclose(result.difference.difference, difference, rtol=1e-9)
    expected = stats.t.interval(0.9, freedom, difference, error)
    np.testing.assert_allclose(result.difference.interval, expected, rtol=1e-9)
    p = 2 * stats.t.sf(abs(difference) / error, freedom)
    np.testing.assert_allclose(result.difference.p, p, rtol=1e-9)
    low, high = result.difference.interval
    assert (low <= 0 <= high) == (result.difference.p >= 0.1)
    record = result.to_json()
    assert record["difference"]["interval"] == [low, high]
    assert record["variances"] == list(result.variances)


def test_equal_models_do_not_differ_and_order_alone_counts():
    scores, positive = drawn(3)
    same = compare_auc(scores[0], np.exp(scores[0]), positive).difference
    assert same.difference == 0
    assert same.p == 1.0
    mirrored = compare_auc(scores[1], scores[0], positive).difference
    there = compare_auc(scores[0], scores[1], positive).difference
    np.testing.assert_allclose(mirrored.interval, [-each for each in reversed(there.interval)])


def test_the_interval_is_inside_0_and_1_and_open_where_groups_are_apart():
    scores, positive = drawn(4)
    low, high = auc_interval(scores[0], positive)
    (auc,), _ = auc_covariance(scores[:1], positive)
    # The difference from a model of equal scores, whose AUC is 1 / 2 without variance.
    error, freedom = welch_by_hand([np.zeros(40), scores[0]], positive)
    spread = auc * (1 - auc)
    half = stats.t.ppf(0.975, freedom) * math.hypot(error, math.sqrt(spread) / 14) / spread
    expected = 1 / (1 + (1 / auc - 1) * np.exp([half, -half]))
    np.testing.assert_allclose((low, high), expected, rtol=1e-9)
    assert 0 < low < auc < high < 1
    low, high = auc_interval(np.arange(20), np.arange(20) >= 12)
    # Eight pairs in order, each with probability AUC.
    np.testing.assert_allclose((low**8, high), (0.025, 1.0))
    low, high = auc_interval(-np.arange(20), np.arange(20) >= 12)
    np.testing.assert_allclose((low, (1 - high) ** 8), (0.0, 0.025))


def test_what_has_no_variance_is_refused_by_name():
    with pytest.raises(ValueError, match=r"auc_interval\(positive\): 1 of 3 examples are positive"):
        auc_interval([1.0, 2.0, 3.0], [0, 1, 0])
    with pytest.raises(ValueError, match=r"positive=int64\[3\]\) must hold bools"):
        auc_interval([1.0, 2.0, 3.0], np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"reference of 4, candidate of 3, positive of 4"):
        compare_auc(np.arange(4), np.arange(3), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"scores\[0, 1\] = inf"):
        auc_covariance([[1, math.inf, 2, 3]], [0, 1, 0, 1])


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("turn", [0, -1])
def test_complete_separation_of_a_few_examples_is_no_certainty(count, turn):
    """One model separates all, the other none or the wrong way: no variance."""
    positive = np.arange(2 * count) < count
    found = compare_auc(positive * 1.0, turn * positive, positive).difference
    assert found.difference == -0.5 + 0.5 * turn
    assert found.p == 2 * 0.5**count  # so many fair coins that all fall to one side
    low, high = found.interval
    assert low == found.difference
    assert (high < 0) == (found.p < 0.05)
    back = compare_auc(turn * positive, positive * 1.0, positive).difference
    assert back.interval == (-high, -low)
