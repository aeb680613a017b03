"""Paired tests against exact enumeration, plain loops and closed forms."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.comparisons import (
    mcnemar,
    mcnemar_mid_p,
    paired_bootstrap,
    permutation_test,
)
from jaxcompress.validate.comparisons.paired import batches


def flips_by_hand(differences):
    """Every pattern of signs, one at a time."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(each >= observed - 1e-9 for each in sums) / len(sums)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 3), (0, 6), (9, 3), (40, 25)])
def test_mcnemar_is_the_binomial_tail(gained, lost):
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    np.testing.assert_allclose(mcnemar(gained, lost), min(1, 2 * tail), rtol=1e-12)
    here = math.comb(n, min(gained, lost)) / 2**n
    mid = 1.0 if gained == lost else 2 * (tail - here) + here
    np.testing.assert_allclose(mcnemar_mid_p(gained, lost), mid, rtol=1e-12)
    assert mcnemar_mid_p(gained, lost) <= mcnemar(gained, lost)


@pytest.mark.parametrize("seed", range(3))
def test_few_differences_are_flipped_in_every_pattern(seed):
    differences = np.random.default_rng(seed).normal(0.5, 1, 7)
    expected = flips_by_hand(differences)
    np.testing.assert_allclose(permutation_test(differences), expected, rtol=1e-12)
    with_zeros = np.concatenate([differences, np.zeros(100)])
    assert permutation_test(with_zeros) == permutation_test(differences)


@pytest.mark.parametrize(("gained", "lost"), [(0, 5), (2, 9), (4, 4)])
def test_of_gains_and_losses_it_is_mcnemars(gained, lost):
    differences = [1] * gained + [-1] * lost + [0] * 30
    np.testing.assert_allclose(permutation_test(differences), mcnemar(gained, lost), rtol=1e-12)


def test_many_differences_are_sampled_as_scipy_does():
    differences = np.random.default_rng(0).normal(0.25, 1, 60)
    p = permutation_test(differences, resamples=4999)
    other = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=4999,
        rng=np.random.default_rng(1),
    ).pvalue
    # Two samples of 4999 patterns each.
    assert abs(p - other) <= 4 * math.sqrt(2 * p * (1 - p) / 4999)
    assert permutation_test(np.ones(60), resamples=999) == 1 / 1000


def test_sampling_in_batches_covers_all_patterns(monkeypatch):
    assert batches(10, 3) == [10]
    monkeypatch.setattr("jaxcompress.validate.comparisons.paired._NUMBERS", 12)
    assert batches(10, 3) == [4, 4, 2]
    assert permutation_test(np.ones(60), resamples=99) == 1 / 100


def test_the_bootstrap_of_a_mean_is_scipys():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 40))
    result = paired_bootstrap(np.mean, before, after, resamples=2000)
    expected = stats.bootstrap(
        (after - before,),
        np.mean,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    np.testing.assert_allclose(result.difference, (after - before).mean(), rtol=1e-12)
    # A quantile q of 2000 draws has a deviation of sqrt(q (1 - q) / 2000) / density.
    error = 4 * math.sqrt(0.025 * 0.975 / 2000) / stats.norm.pdf(1.96) * expected.standard_error
    np.testing.assert_allclose(
        result.interval, expected.confidence_interval, rtol=0, atol=1.2 * error
    )
    assert result == paired_bootstrap(np.mean, before, after, resamples=2000)
    assert result.to_json()["interval"] == list(result.interval)


def test_the_bootstrap_draws_whole_examples_for_both_models():
    labels = np.arange(12) % 3

    def errors(examples):
        predictions, targets = examples
        # Paired: in no draw are predictions and labels of different examples.
        return np.mean(predictions != targets)

    result = paired_bootstrap(errors, (labels, labels), (labels, labels), resamples=50)
    assert result.difference == 0
    assert result.interval == (0.0, 0.0)
    assert result.p == 1.0


def test_what_cannot_be_tested_is_refused_by_name():
    with pytest.raises(ValueError, match=r"mcnemar\(lost=-1\)"):
        mcnemar(1, -1)
    with pytest.raises(ValueError, match=r"permutation_test\(differences of shape \(1,\)\)"):
        permutation_test([1.0])
    with pytest.raises(ValueError, match=r"differences\[1\] = nan"):
        permutation_test([1.0, math.nan])
    with pytest.raises(ValueError, match=r"reference of 3 examples, candidate of 2"):
        paired_bootstrap(np.mean, np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"paired_bootstrap\(statistic=...\) gives nan"):
        paired_bootstrap(lambda x: math.nan, np.ones(3), np.ones(3))
