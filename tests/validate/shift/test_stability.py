"""The stability index by hand, its bins, and the share of cases that chance exceeds."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate import shift

OLD = np.arange(1, 101, dtype=float)


def by_hand(old: list[int], new: list[int]) -> float:
    """The index of counts with half an example added to each bin."""
    bins, total = len(old), 0.0
    for a, b in zip(old, new, strict=True):
        p = (a + 0.5) / (sum(old) + bins / 2)
        q = (b + 0.5) / (sum(new) + bins / 2)
        total += (q - p) * math.log(q / p)
    return total


def test_the_index_is_that_of_counts_between_quantiles():
    new = np.array([1, 10, 10.5, 25, 25.1, 60, 99, 100, 101, 500.0])
    found = shift.population_stability(OLD, new, bins=4, draws=99)
    # Quartiles of 1 to 100 are 25, 50 and 75; an edge belongs to the bin below it.
    assert found.index[0] == pytest.approx(by_hand([25, 25, 25, 25], [4, 1, 1, 4]))
    assert (found.n, found.m, found.index.shape) == (100, 10, (1,))


def test_of_many_examples_the_index_is_the_plain_one():
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=50_000), rng.normal(size=50_000) + 0.5
    edges = np.quantile(old, np.linspace(0, 1, 11)[1:-1], method="inverted_cdf")
    p, q = (np.bincount(np.searchsorted(edges, each), minlength=10) / 50_000 for each in (old, new))
    plain = float(np.sum((q - p) * np.log(q / p)))
    assert shift.population_stability(old, new, draws=9).index[0] == pytest.approx(plain, rel=1e-3)


def test_repeated_values_share_a_bin():
    old = np.repeat([0.0, 1.0, 2.0], [80, 15, 5])
    new = np.repeat([0.0, 1.0, 2.0], [5, 15, 80])
    found = shift.population_stability(old, new, draws=99)
    # The ninth of ten edges is 1; the others are 0.
    assert found.index[0] == pytest.approx(by_hand([80, 15, 5], [5, 15, 80]))
    assert found.rule_of_thumb[0] == "large"


def test_the_threshold_becomes_the_chi_squared_one():
    found = shift.population_stability(np.arange(8000.0), np.arange(4000.0) * 2, draws=20_000)
    limit = stats.chi2.ppf(0.95, 9) * (1 / 8000 + 1 / 4000)
    # The quantile of 20,000 draws is known to about 1 %.
    assert found.threshold[0] == pytest.approx(limit, rel=0.03)
    assert found.p[0] == 1
    assert found.rule_of_thumb[0] == "small"


def test_the_rule_of_thumb_alarms_without_a_shift():
    """Of 200 and 200 examples one index in three is above 0.1, as the page says."""
    rng = np.random.default_rng(4)
    old, new = rng.normal(size=(2, 200, 300))
    found = shift.population_stability(old, new, draws=99)
    expected = stats.chi2.sf(0.1 / (2 / 200), 9)
    assert expected == pytest.approx(1 / 3, abs=0.02)
    share = np.mean(found.rule_of_thumb != "small")
    assert share == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / 300))
    assert not found.shifted.any()


def test_features_are_apart_and_corrected():
    rng = np.random.default_rng(1)
    old, new = rng.normal(size=(200, 4)), rng.normal(size=(150, 4))
    new[:, 2] += 2
    together = shift.population_stability(old, new, draws=999)
    alone = [shift.population_stability(old[:, [k]], new[:, [k]], draws=999) for k in range(4)]
    assert np.array_equal(together.p, np.concatenate([each.p for each in alone]))
    assert together.adjusted[2] == pytest.approx(4 * together.p[2])
    assert together.shifted.tolist() == [False, False, True, False]
    assert "Feature 2 moved most" in together.finding().statement


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(2)
    old, new = rng.normal(size=(50, 2)), rng.normal(size=(40, 2))
    one, other = (
        shift.population_stability(a, b, draws=99) for a, b in [(old, new), (old[::-1], new[::-1])]
    )
    assert one.to_json() == other.to_json()


def test_categories_have_a_bin_each():
    before, now = np.repeat(["a", "b", "c"], [50, 30, 20]), np.repeat(["b", "c", "d"], [10, 20, 3])
    found = shift.category_stability(before, now, draws=999)
    assert found.index[0] == pytest.approx(by_hand([50, 30, 20, 0], [0, 10, 20, 3]))
    assert found.shifted[0]
    same = shift.category_stability(np.repeat([3, -1], 50), np.repeat([3, -1], 40), draws=99)
    assert same.p[0] == 1


def test_chance_exceeds_the_level_as_often_as_it_says():
    """300 pairs of small sets without a shift: a p-value below 0.2 in about 60."""
    rng = np.random.default_rng(3)
    p = shift.population_stability(
        rng.exponential(size=(40, 300)), rng.exponential(size=(25, 300)), draws=999
    ).p
    # Five standard deviations of a binomial count.
    assert abs(np.mean(p <= 0.2) - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 300)
    assert np.mean(p <= 0.05) < 0.05 + 5 * math.sqrt(0.05 * 0.95 / 300)


def test_rare_categories_do_not_alarm_by_themselves():
    """60 pairs of 400 and 100 words of 50 kinds, without a shift."""
    rng = np.random.default_rng(5)
    shares = 1 / np.arange(1, 51)
    shares /= shares.sum()
    for n, m in ((400, 100), (100, 400)):
        p = np.array(
            [
                shift.category_stability(
                    *(rng.choice(50, k, p=shares) for k in (n, m)), draws=199
                ).p
                for _ in range(60)
            ]
        )
        # Five standard deviations of a binomial count, on both sides.
        assert abs(np.mean(p <= 0.2) - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 60)
        assert np.mean(p <= 0.05) < 0.05 + 5 * math.sqrt(0.05 * 0.95 / 60)


def test_the_chance_of_categories_is_that_of_all_divisions():
    old, new = [0, 0, 0, 1], [1, 1, 0]
    pooled = np.array(old + new)
    indices = []
    for chosen in itertools.combinations(range(7), 3):
        inside = np.isin(np.arange(7), chosen)
        indices.append(
            by_hand(*(np.bincount(pooled[each], minlength=2) for each in (~inside, inside)))
        )
    found = shift.category_stability(old, new, draws=9999)
    exact = np.mean(np.array(indices) >= found.index[0] * (1 - 1e-12))
    # Of 9,999 draws a share is known to 0.005.
    assert found.p[0] == pytest.approx(exact, abs=5 * 0.005)
