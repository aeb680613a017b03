"""Bounds from rates: another library's values, closed forms, and the promise."""

import importlib.util
import math

import numpy as np
import pytest

from jaxcompress.validate.privacy import rate_audit
from tests.validate.privacy.test_one_run import planted

# By threshold t, what jax_privacy 2.0.0 gives for planted(400, 1.5):
# epsilon_clopper_pearson(0.025, 1e-5, threshold_strategy=Explicit(t)). It divides its
# significance by two limits, and we divide 0.05 by four. At the last one the other
# direction is better.
PUBLISHED = {1.0: 1.06613, 1.5: 1.28956, 2.0: 1.50017, 0.5: 1.04455}


@pytest.mark.parametrize(("threshold", "expected"), PUBLISHED.items())
def test_the_bound_is_what_another_library_gives(threshold, expected):
    scores, members = planted(400, 1.5)
    audit = rate_audit(scores, members, delta=1e-5, thresholds=[threshold])
    assert audit.epsilon == pytest.approx(expected, abs=1e-5)
    assert audit.members_above == int((scores[members] >= threshold).sum())


@pytest.mark.skipif(importlib.util.find_spec("jax_privacy") is None, reason="needs jax_privacy")
def test_the_audit_is_the_installed_library():
    from jax_privacy import auditing

    scores, members = planted(300, 1.0, seed=3)
    auditor = auditing.CanaryScoreAuditor(scores[members], scores[~members])
    for threshold in (0.0, 1.0, 2.0):
        explicit = auditing.Explicit(threshold)
        theirs = auditor.epsilon_clopper_pearson(
            0.025, 1e-4, one_sided=False, threshold_strategy=explicit
        )
        ours = rate_audit(scores, members, delta=1e-4, thresholds=[threshold])
        assert ours.epsilon == pytest.approx(theirs, abs=1e-9)


def test_a_perfect_attack_by_hand():
    """All 100 members above and no other: limits a^(1/100) and 1 - a^(1/100)."""
    members = np.arange(200) < 100
    limit = (0.05 / 4) ** (1 / 100)
    for sign in (1, -1):
        audit = rate_audit(sign * members.astype(float), members, thresholds=[0.5 * sign])
        if sign == 1:
            assert audit.epsilon == pytest.approx(math.log(limit / (1 - limit)), rel=1e-9)
            assert (audit.members_above, audit.nonmembers_above) == (100, 0)
        else:  # a lower score for members is no attack: at -0.5 both rates are far from it
            assert audit.epsilon == 0


def test_several_thresholds_are_corrected_for():
    scores, members = planted(400, 1.5)
    several = rate_audit(scores, members, thresholds=[0.5, 1.5])
    alone = rate_audit(scores, members, thresholds=[1.5], confidence=1 - 0.05 / 2)
    assert several.tried == 2
    assert (several.epsilon, several.threshold) == (alone.epsilon, 1.5)


def test_the_chosen_threshold_is_judged_on_the_other_half():
    scores, members = planted(400, 2.0)
    audit = rate_audit(scores, members, delta=1e-5)
    assert audit.members + audit.nonmembers == 200
    assert audit.tried == 1
    assert audit.epsilon > 0
    assert audit == rate_audit(scores, members, delta=1e-5)
    assert audit.to_json()["threshold"] == audit.threshold


def test_the_bound_is_wrong_no_more_often_than_promised():
    epsilon, m, runs = 1.0, 200, 200
    rng = np.random.default_rng(0)
    wrong = []
    for _ in range(runs):
        members = rng.random(m) < 0.5
        told = rng.random(m) < 1 / (1 + math.exp(-epsilon))
        scores = np.where(told, members, ~members) + 0.1 * rng.random(m)
        wrong.append(rate_audit(scores, members).epsilon > epsilon)
    assert np.mean(wrong) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": 1.0}, r"rate_audit\(delta=1.0\) must be in"),
        ({"thresholds": [np.nan]}, "list of finite numbers"),
        ({"thresholds": []}, "at least one"),
        ({"members": np.zeros(100)}, "0 of 100 are in"),
        ({"scores": np.arange(12.0), "members": np.arange(12) % 2}, "at least 7 of each"),
    ],
)
def test_what_gives_no_bound_is_refused(change, message):
    given = {"scores": np.arange(100.0), "members": np.arange(100) % 2 == 0}
    with pytest.raises(ValueError, match=message):
        rate_audit(**given | change)
