"""One-run audits: published values, enumeration, another library, the promise."""

import importlib.util
import math
from fractions import Fraction

import numpy as np
import pytest

from jaxcompress.validate.privacy import (
    one_run_audit,
    one_run_bound,
    one_run_p_value,
    versions_audit,
)

# By (canaries, guesses, right, delta), what jax_privacy 2.0.0 gives:
# jax_privacy.auditing._epsilon_one_run(0, canaries, guesses, right, 0.05, delta).
PUBLISHED = {
    (1000, 100, 95, 0.0): 2.17243,
    (1000, 100, 100, 0.0): 3.49297,
    (200, 200, 130, 0.0): 0.36649,
    (1000, 50, 25, 0.0): 0.0,
    (1000, 100, 95, 1e-5): 2.16518,
    (1000, 100, 100, 1e-5): 3.46538,
    (200, 200, 130, 1e-5): 0.36624,
    (1000, 100, 95, 1e-3): 0.59431,
    (1000, 100, 100, 1e-3): 0.80901,
    (200, 200, 130, 1e-3): 0.3394,
}


def planted(m: int, shift: float, seed: int = 7):
    """Scores and memberships by fair coins; members score higher by `shift`."""
    rng = np.random.default_rng(seed)
    members = rng.random(m) < 0.5
    return np.round(rng.normal(size=m) + shift * members, 3), members


@pytest.mark.parametrize(("case", "expected"), PUBLISHED.items())
def test_the_bound_is_what_another_library_gives(case, expected):
    canaries, guesses, right, delta = case
    found = one_run_bound(right, guesses, canaries, delta=delta)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("jax_privacy") is None, reason="needs jax_privacy")
@pytest.mark.parametrize("delta", [1e-6, 1e-3])
def test_the_audit_is_the_installed_library(delta):
    from jax_privacy import auditing

    scores, members = planted(400, 1.5)
    auditor = auditing.CanaryScoreAuditor(scores[members], scores[~members])
    for threshold in (0.5, 1.0, 2.0):
        theirs = auditor.epsilon_one_run(
            0.05, delta, threshold_strategy=auditing.Explicit(threshold)
        )
        pair = (int((scores >= threshold).sum()), 0)
        ours = one_run_audit(scores, members, delta=delta, guesses=[pair])
        assert ours.epsilon == pytest.approx(theirs, abs=2e-6)


@pytest.mark.parametrize("right", range(6))
def test_the_p_value_is_the_sum_over_all_answers(right):
    """Five guesses, epsilon = log 3: each is right with probability 3 / 4."""
    guesses, delta, canaries = 5, Fraction(1, 1000), 8
    mass = [math.comb(5, k) * Fraction(3, 4) ** k * Fraction(1, 4) ** (5 - k) for k in range(6)]
    tail = [sum(mass[k:]) for k in range(6)]
    rise = max([(tail[right - i] - tail[right]) / i for i in range(1, right + 1)], default=0)
    expected = min(1, tail[right] + 2 * canaries * delta * rise)
    found = one_run_p_value(right, guesses, canaries, epsilon=math.log(3), delta=float(delta))
    assert found == pytest.approx(float(expected), rel=1e-12)


def test_the_p_value_at_the_bound_is_the_level():
    for delta in (0.0, 1e-4):
        epsilon = one_run_bound(45, 50, 300, delta=delta, confidence=0.9)
        found = one_run_p_value(45, 50, 300, epsilon=epsilon, delta=delta)
        assert found == pytest.approx(0.1, abs=1e-8)
        assert found <= 0.1


def test_the_bound_grows_with_right_guesses_and_falls_with_delta():
    by_right = [one_run_bound(right, 60, 500) for right in range(30, 61)]
    assert by_right[0] == 0
    assert np.all(np.diff(by_right) >= 0)
    by_delta = [one_run_bound(55, 60, 500, delta=delta) for delta in (0, 1e-6, 1e-4, 1e-3)]
    assert np.all(np.diff(by_delta) < 0)


def test_the_audit_counts_by_hand():
    members = np.arange(40) % 2 == 0
    scores = np.where(members, 1.0, 0.0)
    scores[0], scores[1] = -1.0, 2.0  # the lowest is a member, the highest none
    audit = one_run_audit(scores, members, guesses=[(10, 10)])
    assert (audit.right, audit.as_members, audit.as_nonmembers) == (18, 10, 10)
    assert audit.epsilon == one_run_bound(18, 20, 40)
    assert audit.to_json()["canaries"] == 40


def test_several_numbers_of_guesses_are_corrected_for():
    scores, members = planted(400, 1.5)
    pairs = [(40, 0), (20, 20), (100, 0)]
    audit = one_run_audit(scores, members, guesses=pairs)
    alone = [
        one_run_audit(scores, members, guesses=[pair], confidence=1 - 0.05 / 3) for pair in pairs
    ]
    assert audit.tried == 3
    assert audit.epsilon == max(each.epsilon for each in alone)


def test_the_order_of_equal_scores_tells_nothing():
    """Members come first and all scores are equal: half of the guesses are right."""
    members = np.arange(400) < 200
    rights = [
        one_run_audit(np.zeros(400), members, guesses=[(100, 0)], seed=seed).right
        for seed in range(20)
    ]
    # Hypergeometric of variance 100 / 4 · 300 / 399, the mean of 20.
    assert abs(np.mean(rights) - 50) <= 4 * math.sqrt(18.8 / 20)


def test_the_bound_is_wrong_no_more_often_than_promised():
    """Randomized response is exactly epsilon-private, and as leaky as that allows."""
    epsilon, m, runs = 1.0, 150, 300
    rng = np.random.default_rng(0)
    wrong = []
    for _ in range(runs):
        members = rng.random(m) < 0.5
        told = rng.random(m) < 1 / (1 + math.exp(-epsilon))
        scores = np.where(told, members, ~members) + 0.1 * rng.random(m)
        wrong.append(one_run_audit(scores, members).epsilon > epsilon)
    assert np.mean(wrong) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)


def test_a_model_that_knows_nothing_gives_nothing():
    scores, members = planted(300, 0.0)
    assert one_run_audit(scores, members).epsilon == 0


def test_a_set_of_versions_has_the_strongest_attacks_bound():
    rng = np.random.default_rng(0)
    members = rng.random(400) < 0.5
    dense, small = rng.normal(size=(2, 400)) + members
    audit = versions_audit({"dense": dense, "small": small, "both": dense + small}, members)
    alone = {
        name: one_run_audit(scores, members, confidence=1 - 0.05 / 3)
        for name, scores in {"dense": dense, "both": dense + small}.items()
    }
    assert audit.strongest == "both"
    assert audit.epsilon == alone["both"].epsilon > alone["dense"].epsilon
    assert audit.audits["dense"] == alone["dense"]
    assert audit.to_json()["strongest"] == "both"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((6, 5, 10), {}, r"right=6, guesses=5, canaries=10\) needs"),
        ((5, 20, 10), {}, "needs right <= guesses <= canaries"),
        ((5, 5, 10), {"delta": 1.0}, r"one_run_bound\(delta=1.0\) must be in"),
        ((5, 5, 10), {"delta": -0.1}, r"one_run_bound\(delta=-0.1\) must be in"),
        ((4, 4, 100), {}, "too few for any bound .* at least 5 guesses"),
        ((4, 4, 4), {}, "at least 5 guesses, and as many canaries"),
        ((50, 50, 50), {"delta": 0.5}, "a delta far below 1 / 50"),
    ],
)
def test_impossible_counts_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        one_run_bound(*arguments, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": np.ones(100)}, r"members\): 100 of 100 are in"),
        ({"members": np.zeros(100, bool)}, "0 of 100 are in"),
        ({"members": np.arange(100) < 10}, "which fair coins do not give"),
        ({"members": np.ones(99)}, r"members of shape \(99,\)\) needs 100"),
        ({"members": np.arange(100)}, r"each True \(1\)"),
        ({"scores": np.full(100, np.nan)}, "100 of 100 values are not finite"),
        ({"scores": np.ones((50, 2))}, r"needs the shape \(n,\)"),
        ({"guesses": [(60, 50)]}, "more than 100 canaries"),
        ({"guesses": [(2, 1)]}, "too few for any bound .* at least 5 guesses"),
        ({"scores": np.arange(8.0), "members": np.arange(8) % 2}, "at least 8 guesses"),
    ],
)
def test_impossible_canaries_are_refused(change, message):
    given = {"scores": np.arange(100.0), "members": np.arange(100) % 2 == 0}
    with pytest.raises(ValueError, match=message):
        one_run_audit(**given | change)


def test_the_errors_of_a_version_name_it():
    with pytest.raises(ValueError, match=r"scores\['int4'\].*not finite"):
        versions_audit({"int4": [np.nan] * 20}, np.arange(20) % 2)
