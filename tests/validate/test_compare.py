"""Every verdict and its boundaries; differences and tests against hand-made cases."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcompress import validate
from jaxcompress.validate.compare import compare, verdict
from jaxcompress.validate.skewed import skewed_mean_interval
from tests.validate.evaluations import classifier

# At a margin of one point; each boundary is approached from both sides.
REACHES = "; too few examples to tell whether it reaches 1 point"
VERDICTS = [
    (0.0, 0.0, "the same within 1 point"),
    (-0.02, -0.015, "worse by 1.50 to 2.00 points"),
    (-0.02, -0.01, "worse by 1.00 to 2.00 points"),
    (-0.02, -0.0001, "a loss of 0.01 to 2.00 points" + REACHES),
    (-0.01, -0.0001, "a loss of 0.01 to 1.00 points" + REACHES),
    (-0.003, -0.001, "the same within 1 point"),
    (0.001, 0.004, "the same within 1 point"),
    (0.001, 0.04, "a gain of 0.10 to 4.00 points" + REACHES),
    (0.01, 0.04, "better by 1.00 to 4.00 points"),
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
        "worse": high <= -0.01,
        "better": low >= 0.01,
        "a loss": low <= -0.01 < high < 0,
        "a gain": 0 < low < 0.01 <= high,
        "the same": low > -0.01 and high < 0.01,
        "no loss": low > -0.01,
        "too few examples to rule out": low <= -0.01 < high < 0.01,
        "too few examples to tell": low <= -0.01 and high >= 0.01,
    }
    assert [claims[start] for start in claims if words.startswith(start)] == [True]


def pair(both, gained, lost, neither):
    reference = [True] * both + [False] * gained + [True] * lost + [False] * neither
    candidate = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return classifier(reference), classifier(candidate)


def test_counts_by_hand():
    result = compare(*pair(both=80, gained=3, lost=9, neither=8))
    assert (result.n, result.gained, result.lost) == (100, 3, 9)
    assert result.accuracy_difference == -0.06
    assert result.agreement == 0.88
    low, high = result.accuracy_interval
    assert -1 <= low <= result.accuracy_difference <= high <= 1
    # Twice the chance of at most 3 heads in 12 throws: 2 (1 + 12 + 66 + 220) / 4096.
    np.testing.assert_allclose(result.mcnemar_p, 598 / 4096, rtol=1e-12)


def test_what_is_printed_is_the_change_its_interval_and_the_verdict():
    result = compare(*pair(both=1700, gained=60, lost=140, neither=100))
    assert str(result) == (
        "accuracy −4.00 points [−5.46, −2.58] on 2,000 examples (60 gained, 140 lost): "
        + result.verdict
    )
    assert result.verdict == "worse by 2.58 to 5.46 points"


def test_the_loss_interval_is_that_of_the_paired_differences():
    losses = np.random.default_rng(0).random((2, 50)).astype(np.float32)
    reference, candidate = (classifier([True] * 50, each) for each in losses)
    differences = losses[1].astype(float) - losses[0]
    expected = skewed_mean_interval(differences)
    np.testing.assert_allclose(compare(reference, candidate).loss_interval, expected, rtol=1e-12)


def test_the_interval_is_near_the_normal_one_for_many_examples():
    both, gained, lost, neither = 1700, 60, 140, 100
    n, difference = 2000, (60 - 140) / 2000
    result = compare(*pair(both, gained, lost, neither))
    half = 1.959964 * np.sqrt(((gained + lost) / n - difference**2) / n)
    # Exact limits are those of half an example more, on either side of a part.
    atol = 0.05 * half + 1 / n
    np.testing.assert_allclose(
        result.accuracy_interval, (difference - half, difference + half), rtol=0, atol=atol
    )
    assert result.verdict.startswith("worse by 2.")


def test_identical_models_differ_by_exactly_nothing():
    reference, _ = pair(both=5, gained=0, lost=0, neither=2)
    result = compare(reference, reference)
    assert result.loss_interval == (0.0, 0.0)
    low, high = result.accuracy_interval
    # Seven equal answers: a share of the root of 0.025 may differ all the same.
    np.testing.assert_allclose((-low, high), 1 - 0.025 ** (1 / 7), rtol=1e-6)
    assert (result.mcnemar_p, result.agreement) == (1.0, 1.0)
    assert result.verdict == "no difference on these examples"


def test_a_verdict_and_its_test_agree_where_few_differ():
    """Four lost of 719: p is 1/8, and no loss is shown."""
    result = compare(*pair(both=600, gained=0, lost=4, neither=115))
    assert result.mcnemar_p == 0.125
    assert result.accuracy_interval[0] < -0.01 < 0 < result.accuracy_interval[1]
    assert result.verdict == "too few examples to rule out a loss of 1 point"
    six = compare(*pair(both=600, gained=0, lost=6, neither=113))
    assert six.mcnemar_p == 0.03125
    assert six.verdict.startswith("a loss of 0.06 to 1.81 points; too few examples")


def test_loss_difference_by_hand():
    reference = classifier([True] * 4, [0.5, 1.0, 1.5, 2.0])
    candidate = classifier([True] * 4, [1.0, 1.5, 2.0, 2.5])
    result = compare(reference, candidate)
    assert result.loss_difference == 0.5
    assert result.loss_interval == (0.5, 0.5)


def test_swapping_the_models_mirrors_everything():
    rng = np.random.default_rng(0)
    reference = classifier(rng.random(60) < 0.9, rng.random(60))
    candidate = classifier(rng.random(60) < 0.8, rng.random(60))
    one, other = compare(reference, candidate), compare(candidate, reference)
    assert one.accuracy_difference == -other.accuracy_difference
    assert (one.gained, one.lost) == (other.lost, other.gained)
    assert one.mcnemar_p == other.mcnemar_p
    for name in ("accuracy_interval", "loss_interval"):
        low, high = getattr(other, name)
        np.testing.assert_allclose(getattr(one, name), (-high, -low), rtol=1e-9, atol=1e-12)


def test_survives_json():
    result = compare(*pair(both=30, gained=4, lost=6, neither=5))
    record = json.loads(json.dumps(result.to_json()))
    assert record["verdict"] == result.verdict
    assert tuple(record["accuracy_interval"]) == result.accuracy_interval
    assert record["lost"] == 6
    assert validate.Comparison.from_json(record) == result


def test_pairing_sees_what_two_separate_intervals_cannot():
    """90 right against 98 right of 100, once with the same 90 among the 98."""
    nested = compare(*pair(both=90, gained=8, lost=0, neither=2))
    apart = compare(*pair(both=50, gained=48, lost=40, neither=2))
    assert nested.verdict.startswith("better")
    assert apart.verdict == "too few examples to tell"


def test_refuses_unpaired_evaluations():
    reference, _ = pair(both=3, gained=0, lost=0, neither=0)
    with pytest.raises(ValueError, match=r"compare\(reference of 3 examples, candidate of 2\)"):
        compare(reference, classifier([True, False]))
    with pytest.raises(ValueError, match="at least two"):
        compare(classifier([True]), classifier([True]))
    with pytest.raises(
        ValueError, match=r"targets of 3 of 3 examples differ, the first is example 0"
    ):
        compare(reference, classifier([True] * 3, labels=2))
    with pytest.raises(ValueError, match=r"inputs of 3 of 3 .* example 0\. Some examples differ"):
        compare(reference, classifier([True] * 3, first=3))
    turned = dataclasses.replace(reference, fingerprints=reference.fingerprints[::-1])
    with pytest.raises(ValueError, match=r"inputs of 2 of 3 .* example 0\. The order differs"):
        compare(reference, turned)


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


def test_losses_by_other_targets_are_not_compared():
    """The loss keeps no targets, so only their digests can tell."""
    inputs, squares = np.eye(3, dtype=np.float32), validate.metrics.mean_squared_error()
    one, other = (
        validate.evaluate(lambda params, x: x @ params, np.ones(3), inputs, targets, [squares])
        for targets in (np.zeros(3), np.arange(3.0))
    )
    with pytest.raises(ValueError, match=r"targets of 2 of 3 examples differ, .* example 1\."):
        validate.compare_scores(one, other, squares.name)
