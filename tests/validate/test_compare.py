"""Every verdict and its boundaries; differences and tests against hand-made cases."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jaxcompress.validate.compare import compare, verdict
from jaxcompress.validate.evaluate import Evaluation

# At a margin of one point; each boundary is approached from both sides.
VERDICTS = [
    (0.0, 0.0, "no difference on these examples"),
    (-0.0, 0.0, "no difference on these examples"),
    (-0.02, -0.015, "worse by 1.50 to 2.00 points"),
    (-0.02, -0.0001, "worse by 0.01 to 2.00 points"),
    (-0.003, -0.001, "worse by 0.10 to 0.30 points"),
    (0.001, 0.004, "better by 0.10 to 0.40 points"),
    (0.02, 0.05, "better by 2.00 to 5.00 points"),
    (-0.0099, 0.0099, "the same within 1 point"),
    (-0.001, 0.0, "the same within 1 point"),
    (0.0, 0.001, "the same within 1 point"),
    (-0.0099, 0.01, "no loss of 1 point or more"),
    (0.0, 0.03, "no loss of 1 point or more"),
    (-0.01, 0.0, "too few examples to rule out a loss of 1 point"),
    (-0.05, 0.0099, "too few examples to rule out a loss of 1 point"),
    (-0.01, 0.01, "too few examples to tell"),
    (-1.0, 1.0, "too few examples to tell"),
]


@pytest.mark.parametrize(("low", "high", "words"), VERDICTS)
def test_verdict(low, high, words):
    assert verdict(low, high) == words


@pytest.mark.parametrize(("margin", "words"), [(0.02, "2 points"), (0.005, "0.5 points")])
def test_verdict_names_the_margin(margin, words):
    assert verdict(-margin / 2, margin / 2, margin=margin) == f"the same within {words}"


ends = st.floats(-1, 1, allow_subnormal=False)


@given(ends, ends)
def test_a_verdict_claims_only_what_the_interval_allows(one, other):
    low, high = sorted((one, other))
    words = verdict(low, high)
    claims = {
        "no difference": low == high == 0,
        "worse": high < 0,
        "better": low > 0,
        "the same": low > -0.01 and high < 0.01,
        "no loss": low > -0.01,
        "too few examples to rule out": low <= -0.01 < high < 0.01,
        "too few examples to tell": low <= -0.01 and high >= 0.01,
    }
    assert [claims[start] for start in claims if words.startswith(start)] == [True]


def evaluation(correct, loss=None):
    """Predictions are the label 1 where right and 0 where wrong."""
    correct = np.asarray(correct, bool)
    loss = np.zeros(correct.size, np.float32) if loss is None else np.asarray(loss, np.float32)
    return Evaluation(correct, loss, correct.astype(np.int32))


def pair(both, gained, lost, neither):
    reference = [True] * both + [False] * gained + [True] * lost + [False] * neither
    candidate = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return evaluation(reference), evaluation(candidate)


def test_counts_by_hand():
    result = compare(*pair(both=80, gained=3, lost=9, neither=8))
    assert (result.n, result.gained, result.lost) == (100, 3, 9)
    assert result.accuracy_difference == -0.06
    assert result.agreement == 0.88
    low, high = result.accuracy_interval
    assert -1 <= low <= result.accuracy_difference <= high <= 1
    # Twice the chance of at most 3 heads in 12 throws: 2 (1 + 12 + 66 + 220) / 4096.
    np.testing.assert_allclose(result.mcnemar_p, 598 / 4096, rtol=1e-12)


def test_the_interval_is_that_of_scipys_paired_bootstrap():
    reference, candidate = pair(both=200, gained=10, lost=25, neither=15)
    expected = stats.bootstrap(
        (candidate.correct.astype(float), reference.correct.astype(float)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    result = compare(reference, candidate, seed=7)
    # The same seed draws the same examples, so only the order of summation differs.
    np.testing.assert_allclose(result.accuracy_interval, expected, rtol=1e-12)


def test_the_interval_is_near_the_normal_one_for_many_examples():
    both, gained, lost, neither = 1700, 60, 140, 100
    n, difference = 2000, (60 - 140) / 2000
    result = compare(*pair(both, gained, lost, neither))
    half = 1.959964 * np.sqrt(((gained + lost) / n - difference**2) / n)
    # Resampling error of a 2.5 % quantile: about 4 · half / 100; means lie 1/n apart.
    atol = 0.04 * half + 1 / n
    np.testing.assert_allclose(
        result.accuracy_interval, (difference - half, difference + half), rtol=0, atol=atol
    )
    assert result.verdict.startswith("worse by 2.")


def test_identical_models_differ_by_exactly_nothing():
    reference, _ = pair(both=5, gained=0, lost=0, neither=2)
    result = compare(reference, reference)
    assert result.accuracy_interval == result.loss_interval == (0.0, 0.0)
    assert (result.mcnemar_p, result.agreement) == (1.0, 1.0)
    assert result.verdict == "no difference on these examples"


@pytest.mark.parametrize(("lost", "words"), [(0, "no difference"), (10, "worse by 100.00")])
def test_constant_differences_give_no_warning(lost, words):
    reference, candidate = pair(both=10 - lost, gained=0, lost=lost, neither=0)
    result = compare(reference, candidate)
    assert result.accuracy_interval == (-lost / 10, -lost / 10)
    assert result.verdict.startswith(words)


def test_loss_difference_by_hand():
    reference = evaluation([True] * 4, [0.5, 1.0, 1.5, 2.0])
    candidate = evaluation([True] * 4, [1.0, 1.5, 2.0, 2.5])
    result = compare(reference, candidate)
    assert result.loss_difference == 0.5
    assert result.loss_interval == (0.5, 0.5)


def test_swapping_the_models_mirrors_everything():
    rng = np.random.default_rng(0)
    reference = evaluation(rng.random(60) < 0.9, rng.random(60))
    candidate = evaluation(rng.random(60) < 0.8, rng.random(60))
    one, other = compare(reference, candidate), compare(candidate, reference)
    assert one.accuracy_difference == -other.accuracy_difference
    assert (one.gained, one.lost) == (other.lost, other.gained)
    assert one.mcnemar_p == other.mcnemar_p
    for name in ("accuracy_interval", "loss_interval"):
        low, high = getattr(other, name)
        np.testing.assert_allclose(getattr(one, name), (-high, -low), rtol=1e-9, atol=1e-12)


def test_repeats_by_seed_and_survives_json():
    models = pair(both=30, gained=4, lost=6, neither=5)
    result = compare(*models, seed=3)
    assert result == compare(*models, seed=3)
    record = json.loads(json.dumps(result.to_json()))
    assert record["verdict"] == result.verdict
    assert tuple(record["accuracy_interval"]) == result.accuracy_interval
    assert record["lost"] == 6


def test_pairing_sees_what_two_separate_intervals_cannot():
    """90 right against 98 right of 100, once with the same 90 among the 98."""
    nested = compare(*pair(both=90, gained=8, lost=0, neither=2))
    apart = compare(*pair(both=50, gained=48, lost=40, neither=2))
    assert nested.verdict.startswith("better")
    assert apart.verdict == "too few examples to tell"


def test_refuses_unpaired_evaluations():
    reference, _ = pair(both=3, gained=0, lost=0, neither=0)
    with pytest.raises(ValueError, match=r"compare\(reference of 3 examples, candidate of 2\)"):
        compare(reference, evaluation([True, False]))
    with pytest.raises(ValueError, match="at least two"):
        compare(evaluation([True]), evaluation([True]))
    other = Evaluation(reference.correct, reference.loss, np.array([1, 0, 1]))
    with pytest.raises(ValueError, match="example 1 is right in both with different classes"):
        compare(reference, other)


@pytest.mark.parametrize("margin", [0, 1, -0.01, np.nan])
def test_refuses_a_margin_outside_0_and_1(margin):
    reference, candidate = pair(both=3, gained=0, lost=0, neither=0)
    with pytest.raises(ValueError, match=rf"compare\(margin={margin}\) must be in \(0, 1\)"):
        compare(reference, candidate, margin=margin)
    with pytest.raises(ValueError, match=rf"verdict\(margin={margin}\)"):
        verdict(0, 0, margin=margin)


def test_refuses_a_wrong_confidence_or_interval():
    reference, candidate = pair(both=3, gained=0, lost=0, neither=0)
    with pytest.raises(ValueError, match=r"compare\(confidence=95\)"):
        compare(reference, candidate, confidence=95)
    with pytest.raises(ValueError, match=r"verdict\(low=0.1, high=0.0\) needs low <= high"):
        verdict(0.1, 0.0)
    with pytest.raises(ValueError, match=r"verdict\(low=nan"):
        verdict(np.nan, 0.0)
