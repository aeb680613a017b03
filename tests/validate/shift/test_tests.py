"""Kolmogorov-Smirnov against scipy, the classifier, label shift, all in one call."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate import shift
from jaxcompress.validate.comparisons.corrections import holm
from jaxcompress.validate.shift import classifier, inputs

RANDOM = np.random.default_rng(5)
OLD, NEW = RANDOM.normal(size=(60, 4)), RANDOM.normal(size=(50, 4))
MOVED = NEW + np.array([0, 0, 2, 0])


def test_each_feature_is_tested_as_scipy_tests_it():
    found = shift.kolmogorov_smirnov(OLD, MOVED)
    theirs = [stats.ks_2samp(OLD[:, k], MOVED[:, k]) for k in range(4)]
    assert found.distance.tolist() == [each.statistic for each in theirs]
    assert found.p.tolist() == [each.pvalue for each in theirs]
    assert np.array_equal(found.adjusted, holm([each.pvalue for each in theirs]))
    assert found.shifted.tolist() == [False, False, True, False]
    assert "Feature 2 moved most" in found.finding().statement
    assert found.finding().verdict == "fails"


def test_constant_features_are_no_shift_unless_they_change():
    still = np.zeros((30, 2))
    found = shift.kolmogorov_smirnov(still, still + np.array([0, 1]))
    assert found.distance.tolist() == [0, 1]
    assert found.shifted.tolist() == [False, True]


@pytest.mark.parametrize("hidden", [0, 32])
def test_a_classifier_tells_moved_examples_and_no_others(hidden):
    apart = shift.classifier_test(OLD, MOVED + 1, hidden=hidden, steps=60)
    alike = shift.classifier_test(OLD, NEW, hidden=hidden, steps=60)
    assert apart.n == 25
    assert apart.p < 1e-4
    assert apart.auc_p < 1e-4
    assert apart.finding().verdict == "fails"
    assert alike.p > 0.05
    assert alike.finding().verdict == "undecided"
    right = round(alike.accuracy * 50)
    assert alike.p == pytest.approx(stats.binom.sf(right - 1, 50, 0.5))


def test_a_network_sees_what_no_single_feature_shows():
    """Two features that go together in one set and against each other in the other."""
    x = RANDOM.normal(size=(400, 1))
    noise = 0.3 * RANDOM.normal(size=(400, 1))
    together, against = np.hstack([x, x + noise])[:200], np.hstack([x, noise - x])[200:]
    assert not shift.kolmogorov_smirnov(together, against).shifted.any()
    assert shift.classifier_test(together, against, steps=100).p < 1e-4
    assert shift.kernel_test(together, against, permutations=99).p == 0.01


def test_the_network_is_trained_on_the_other_half_alone():
    """Labels that only memory could know are not told on the half kept for the test."""
    both = RANDOM.normal(size=(80, 60))
    found = shift.classifier_test(both[:40], both[40:], steps=300)
    assert found.p > 0.01


def test_the_training_lowers_for_accelerators():
    params = classifier._initial(4, 8, jax.random.key(0))
    x, y = jnp.zeros((6, 4)), jnp.zeros(6)
    traced = classifier._fitted_logits.trace(params, x, y, y, x, 5)
    for platform in ("tpu", "cuda"):
        assert traced.lower(lowering_platforms=(platform,)).as_text()


def test_label_shift_solves_the_confusion():
    labels = np.repeat([0, 1, 2], [30, 50, 20])
    predictions = labels.copy()
    predictions[[0, 1, 2, 30, 31, 80]] = [1, 1, 2, 0, 2, 0]
    confusion = np.array([[27, 1, 1], [2, 48, 0], [1, 1, 19]]) / [30, 50, 20]
    shares = np.array([0.1, 0.2, 0.7])
    new = np.repeat([0, 1, 2], np.round(10_000 * confusion @ shares).astype(int))
    found = shift.label_shift(predictions, labels, new)
    assert found.new == pytest.approx(shares, abs=1e-3)
    assert found.weights == pytest.approx(found.new / [0.3, 0.5, 0.2])
    assert (found.intervals[:, 0] < shares).all()
    assert (shares < found.intervals[:, 1]).all()
    assert found.p < 1e-6
    assert found.finding().verdict == "fails"
    order = RANDOM.permutation(100)
    again = shift.label_shift(predictions[order], labels[order], new[::-1])
    assert again.to_json() == found.to_json()


def test_intervals_of_label_shift_cover():
    """A seeded simulation: 95 % intervals of three shares, 30 draws of both sets."""
    rng = np.random.default_rng(6)
    confusion = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.2, 0.7]])
    shares, inside = np.array([0.6, 0.3, 0.1]), 0

    def answers(labels):
        return (rng.random(labels.size)[:, None] > confusion.T.cumsum(axis=1)[labels]).sum(axis=1)

    for seed in range(30):
        labels = rng.permutation(np.repeat([0, 1, 2], 100))
        new = rng.choice(3, 300, p=shares)
        found = shift.label_shift(answers(labels), labels, answers(new), seed=seed)
        inside += ((found.intervals[:, 0] <= shares) & (shares <= found.intervals[:, 1])).sum()
    assert inside / 90 > 0.95 - 5 * np.sqrt(0.05 * 0.95 / 90)


def test_drift_is_the_three_tests_corrected_together():
    found = shift.drift(OLD, MOVED)
    alone = (
        shift.kolmogorov_smirnov(OLD, MOVED).adjusted.min(),
        found.kernel.p,
        shift.classifier_test(OLD, MOVED).auc_p,
    )
    assert found.p == pytest.approx(holm(alone))
    assert found.shifted
    assert found.finding().verdict == "fails"
    assert not shift.drift(OLD, NEW).shifted
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()


def test_drift_of_many_examples_takes_the_linear_test(monkeypatch):
    monkeypatch.setattr(inputs, "MOST_PAIRED", 100)
    assert shift.drift(OLD, NEW).kernel.n == 50


def test_drift_of_few_against_many_takes_all_pairs_of_some(monkeypatch):
    monkeypatch.setattr(inputs, "MOST_PAIRED", 40)
    found = shift.drift(OLD, MOVED[:6])
    assert (found.kernel.n, found.kernel.m) == (34, 6)
    assert found.kernel.p < 0.01
    assert shift.drift(MOVED[:6], OLD).kernel.m == 34


def test_drift_takes_rows_that_are_mostly_equal():
    rare = np.zeros((30, 2))
    rare[4, 1] = 1
    assert shift.drift(rare, rare).p == (1, 1, 1)
