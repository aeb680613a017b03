"""Equivalence keeps its error rates exactly; p-values and intervals agree."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.comparisons import equivalence, equivalence_of_means
from jaxcompress.validate.intervals import paired_interval, paired_low


def outcomes(n, share, difference):
    """All counts with the probability of each, but those next to impossible."""
    counts = np.array([(g, m - g) for m in range(n + 1) for g in range(m + 1)])
    shares = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    chances = stats.multinomial.pmf(
        np.concatenate([counts, n - counts.sum(axis=1, keepdims=True)], axis=1), n, shares
    )
    likely = chances > 1e-7
    return counts[likely].T, chances[likely]


@pytest.mark.parametrize(("n", "margin"), [(40, 0.1), (100, 0.05), (100, 0.1)])
@pytest.mark.parametrize("times", [1.0001, 1.3, 2, 4])
def test_a_loss_of_the_margin_is_missed_in_at_most_5_of_100_cases(n, margin, times):
    """Exactly: every outcome at a true loss of the margin, times its probability."""
    (gained, lost), chances = outcomes(n, times * margin, -margin)
    z = stats.norm.ppf(0.95)
    assert chances[paired_low(gained, lost, n, z) > -margin].sum() <= 0.05
    # A gain of the margin is not called "the same" more often.
    assert chances[paired_low(lost, gained, n, z) > -margin].sum() > 0


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(0, 0, 50), (0, 0, 500), (2, 9, 300), (30, 12, 900), (4, 4, 8)]
)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_interval_answers_and_p_values_are_one_test(gained, lost, n, confidence):
    for margin in (0.01, 0.03):
        result = equivalence(gained, lost, n, margin=margin, confidence=confidence)
        expected = paired_interval(gained, lost, n, confidence=2 * confidence - 1)
        np.testing.assert_allclose(result.interval, expected, rtol=1e-9, atol=1e-12)
        assert result.not_worse == (result.p_not_worse < 1 - confidence)
        assert result.equivalent == (result.p_equivalent < 1 - confidence)
        assert result.p_not_worse <= result.p_equivalent
        assert result.difference == (gained - lost) / n


def test_p_values_are_where_the_interval_reaches_the_margin():
    result = equivalence(4, 7, 700, margin=0.02)
    low = paired_interval(4, 7, 700, confidence=1 - 2 * result.p_not_worse)[0]
    np.testing.assert_allclose(low, -0.02, rtol=1e-6)
    assert equivalence(0, 90, 100).p_not_worse == 1.0
    # Beyond 12 standard errors.
    assert 0 < equivalence(0, 0, 100_000, margin=0.5).p_equivalent < 1e-30


def test_swapping_the_models_mirrors_the_interval():
    one, other = equivalence(3, 8, 400), equivalence(8, 3, 400)
    np.testing.assert_allclose(one.interval, [-end for end in reversed(other.interval)])
    assert one.p_equivalent == other.p_equivalent


def test_words():
    assert equivalence(9, 11, 5000).verdict == "the same within 1 point"
    assert equivalence(40, 3, 2000).verdict == "better by 1.27 to 2.49 points"
    assert equivalence(0, 80, 2000).verdict.startswith("worse by")
    assert equivalence(1, 3, 100).verdict == "too few examples to tell"
    assert equivalence(30, 8, 1500, margin=0.02).verdict.startswith("a gain of")
    record = json.loads(json.dumps(equivalence(9, 11, 5000).to_json()))
    assert record["equivalent"] is True
    assert record["interval"] == list(equivalence(9, 11, 5000).interval)


def test_a_card_says_what_was_ruled_out():
    verdicts = [
        equivalence(*counts).finding().verdict
        for counts in ((9, 11, 5000), (0, 80, 2000), (1, 3, 100))
    ]
    assert verdicts == ["holds", "fails", "undecided"]


def test_means_are_tested_by_two_t_tests():
    differences = np.random.default_rng(0).normal(0.02, 0.3, 80)
    result = equivalence_of_means(differences, margin=0.1)
    worse = stats.ttest_1samp(differences, -0.1, alternative="greater")
    better = stats.ttest_1samp(differences, 0.1, alternative="less")
    np.testing.assert_allclose(result.p_not_worse, worse.pvalue, rtol=1e-9)
    np.testing.assert_allclose(result.p_equivalent, max(worse.pvalue, better.pvalue), rtol=1e-9)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    np.testing.assert_allclose(result.interval, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (0, "the same within 0.5"),
        (0.4, "no loss of 0.5 or more"),
        (-0.45, "too few examples to rule out a loss of 0.5"),
        (2, "better by 1.8 to 2.2"),
        (-2, "worse by 1.8 to 2.2"),
    ],
)
def test_words_of_means(mean, words):
    # Ten of each sign: s² = 20 / 19 / 4 and t(0.95, 19) = 1.729, so ± 0.198.
    differences = mean + 0.5 * np.tile([1.0, -1.0], 10)
    assert equivalence_of_means(differences, margin=0.5).verdict == words


def test_differences_without_spread_say_what_they_are():
    result = equivalence_of_means([0.2, 0.2, 0.2], margin=0.1)
    assert (result.not_worse, result.equivalent) == (True, False)
    assert (result.p_not_worse, result.p_equivalent) == (0.0, 1.0)


def test_what_is_out_of_range_is_refused_by_name():
    with pytest.raises(ValueError, match=r"equivalence\(gained=3, lost=3, n=5\) needs"):
        equivalence(3, 3, 5)
    with pytest.raises(ValueError, match=r"equivalence\(confidence=0.4\) must be in \(0.5, 1\)"):
        equivalence(1, 1, 5, confidence=0.4)
    with pytest.raises(ValueError, match=r"equivalence\(margin=1\)"):
        equivalence(1, 1, 5, margin=1)
    with pytest.raises(ValueError, match=r"equivalence_of_means\(margin=0\)"):
        equivalence_of_means([1.0, 2.0], margin=0)
    with pytest.raises(ValueError, match="differences of shape"):
        equivalence_of_means([math.pi], margin=1.0)
