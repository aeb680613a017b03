"""Corrections against their definitions, scipy, and plain loops."""

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.comparisons import (
    benjamini_hochberg,
    benjamini_yekutieli,
    bonferroni,
    hochberg,
    holm,
    max_t,
    permutation_test,
    simultaneous_intervals,
)
from jaxcompress.validate.intervals import mean_interval

ALL = (bonferroni, holm, hochberg, benjamini_hochberg, benjamini_yekutieli)
P = [
    np.random.default_rng(0).random(9) ** 3,
    np.array([0.01, 0.01, 0.5, 1.0, 0.0]),
    np.array([0.03]),
]


def rejected_by_holm(p, level):
    """The procedure as Holm states it: on while the smallest left is small enough."""
    claims, left = np.zeros(p.size, bool), list(np.argsort(p, kind="stable"))
    while left and p[left[0]] <= level / len(left):
        claims[left.pop(0)] = True
    return claims


def rejected_by_hochberg(p, level):
    order = np.argsort(p, kind="stable")
    for last in range(p.size, 0, -1):
        if p[order[last - 1]] <= level / (p.size - last + 1):
            return np.isin(np.arange(p.size), order[:last])
    return np.zeros(p.size, bool)


@pytest.mark.parametrize("p", P)
@pytest.mark.parametrize(
    ("adjusted", "procedure"), [(holm, rejected_by_holm), (hochberg, rejected_by_hochberg)]
)
def test_adjusted_values_reject_what_the_procedure_rejects(p, adjusted, procedure):
    for level in (0.001, 0.01, 0.049, 0.051, 0.2, 0.6):
        np.testing.assert_array_equal(adjusted(p) <= level, procedure(p, level))


@pytest.mark.parametrize("p", P)
def test_the_order_of_caution(p):
    assert np.all(p <= hochberg(p))
    assert np.all(hochberg(p) <= holm(p))
    assert np.all(holm(p) <= bonferroni(p))
    np.testing.assert_allclose(bonferroni(p), np.minimum(1, p.size * p))
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    expected = stats.false_discovery_control(p, method="by")
    np.testing.assert_allclose(benjamini_yekutieli(p), expected)


@pytest.mark.parametrize("correction", ALL)
def test_corrections_follow_their_tests_and_leave_one_alone(correction):
    p = P[0]
    order = np.random.default_rng(1).permutation(p.size)
    np.testing.assert_allclose(correction(p[order]), correction(p)[order])
    np.testing.assert_allclose(correction([0.3]), [0.3])
    with pytest.raises(ValueError, match=rf"{correction.__name__}\(p\): all must be in \[0, 1\]"):
        correction([0.1, 1.1])
    with pytest.raises(ValueError, match=rf"{correction.__name__}\(p of shape \(0,\)\)"):
        correction([])


def max_t_by_hand(differences, resamples, seed):
    """One pattern and one candidate at a time, with the t statistic itself."""
    candidates, n = differences.shape
    rng = np.random.default_rng(seed)
    signs = 1 - 2 * rng.integers(0, 2, (resamples, n), dtype=np.int8)

    def t(values):
        return abs(values.mean()) / (values.std(ddof=1) / np.sqrt(n))

    observed = np.array([t(each) for each in differences])
    order = np.argsort(-observed)
    p, before = np.empty(candidates), 0.0
    for place, candidate in enumerate(order):
        rest = order[place:]
        count = sum(
            max(t(signs[b] * differences[k]) for k in rest) >= observed[candidate] - 1e-9
            for b in range(resamples)
        )
        before = max(before, (1 + count) / (1 + resamples))
        p[candidate] = before
    return p


def test_max_t_is_its_definition():
    rng = np.random.default_rng(2)
    differences = rng.normal(size=20) + 0.5 * rng.normal(size=(4, 20))
    differences[1] += 0.8
    np.testing.assert_allclose(
        max_t(differences, resamples=150, seed=3), max_t_by_hand(differences, 150, 3), rtol=1e-12
    )


def test_max_t_of_one_candidate_is_the_permutation_test():
    values = np.random.default_rng(4).normal(0.3, 1, 25)
    assert max_t(values[None], seed=5)[0] == permutation_test(values, seed=5)


def test_max_t_gains_from_dependence_and_leaves_out_what_never_differs():
    values = np.random.default_rng(6).normal(0.4, 1, 40)
    alone = max_t(values[None])[0]
    same = max_t(np.stack([values] * 6 + [np.zeros(40)]))
    np.testing.assert_allclose(same[:6], alone)
    assert same[6] == 1.0
    apart = max_t(np.concatenate([values[None], np.random.default_rng(7).normal(size=(6, 40))]))
    # Seven tests at most, and four deviations of the share of 9999 patterns.
    assert alone < apart[0] <= 7 * alone + 4 * np.sqrt(7 * alone / 9999)


def test_simultaneous_intervals_of_one_candidate_are_students_or_wider():
    values = np.random.default_rng(8).normal(size=30)
    (found,) = simultaneous_intervals(values[None], resamples=999)
    low, high = mean_interval(values)
    wider = (found[1] - found[0]) / (high - low)
    assert 1 - 1e-9 <= wider <= 1.1
    np.testing.assert_allclose(found.mean(), values.mean(), rtol=1e-9)


def test_simultaneous_intervals_all_hold():
    rng, hits = np.random.default_rng(9), 0
    for seed in range(100):
        differences = rng.normal(size=50) + rng.normal(size=(5, 50))
        ends = simultaneous_intervals(differences, resamples=199, seed=seed)
        hits += np.all((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    # Four standard deviations below 95 % of 100.
    assert hits / 100 >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 100)


def test_shapes_are_refused_by_name():
    for callable_ in (max_t, simultaneous_intervals):
        with pytest.raises(ValueError, match=rf"{callable_.__name__}\(differences of shape \(3,\)"):
            callable_(np.ones(3))
        with pytest.raises(ValueError, match=r"differences\[0, 1\] = nan"):
            callable_([[1.0, np.nan]])
