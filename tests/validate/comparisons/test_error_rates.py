"""The simulation of error rates, in small, and how it counts."""

import numpy as np
import pytest

from benchmarks import error_rates

DRAWS = 120


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize(("margin", "discordance"), [(0.05, 0.06), (0.05, 0.2), (0.02, 0.05)])
def test_equivalence_is_claimed_wrongly_in_at_most_5_of_100_cases(rng, margin, discordance):
    found = error_rates.equivalence(rng, 1000, n=200, margin=margin, discordance=discordance)
    noise = 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert found["false_not_worse"] <= 0.05 + noise
    assert found["false_equivalent"] <= found["false_not_worse"] + noise
    assert found["power_equivalent"] <= found["power_not_worse"]


INTERVALS = [
    (error_rates.wilson, {"n": 100, "accuracy": 0.99}, "coverage"),
    (error_rates.paired, {"n": 100, "share": 0.05, "balance": -0.5}, "coverage"),
    (error_rates.mean, {"n": 100, "distribution": "normal"}, "coverage"),
    (
        error_rates.mean,
        {"n": 100, "distribution": "exponential"},
        "coverage_of_skewed_mean_interval",
    ),
    (error_rates.auc, {"n": 100, "auc": 0.9, "positives": 0.5}, "coverage"),
    (error_rates.folds, {"n": 100, "count": 5}, "coverage"),
    (error_rates.many, {"n": 100, "candidates": 5, "correlation": 0.5}, "simultaneous_coverage"),
]
TESTS = [
    (error_rates.mcnemar, {"n": 40, "discordance": 0.3}),
    (error_rates.permutation, {"n": 15, "distribution": "Student's t, 5 degrees"}),
    (error_rates.many, {"n": 50, "candidates": 5, "correlation": 0.5}),
]


@pytest.mark.parametrize(("measure", "settings", "figure"), INTERVALS)
def test_intervals_cover_within_two_points_of_what_they_promise(rng, measure, settings, figure):
    found = measure(rng, DRAWS, **settings)
    # Four standard deviations of an observed share of 5 %.
    noise = 4 * np.sqrt(0.05 * 0.95 / DRAWS)
    assert found[figure] >= 0.93 - noise
    assert found.get("coverage_of_difference", 1.0) >= 0.93 - noise


@pytest.mark.parametrize(("measure", "settings"), TESTS)
def test_tests_reject_what_is_true_in_at_most_5_of_100_cases(rng, measure, settings):
    noise = 4 * np.sqrt(0.05 * 0.95 / DRAWS)
    assert measure(rng, DRAWS, **settings)["false_rejections"] <= 0.05 + noise


def test_coverage_is_counted_by_weight():
    ends = np.array([[0.0, 1.0], [2.0, 3.0], [0.5, 0.5]])
    assert error_rates.covered(np.array([0.2, 0.5, 0.3]), ends, 0.5) == pytest.approx(0.5)


def test_means_of_the_distributions_are_what_they_are_taken_for():
    rng = np.random.default_rng(3)
    for name, draw in error_rates.DISTRIBUTIONS.items():
        if name not in ("losses", "loss differences"):
            sample = draw(rng, 20_000)
            assert abs(sample.mean() - error_rates.mean_of(name)) <= 4 * sample.std() / 20_000**0.5
