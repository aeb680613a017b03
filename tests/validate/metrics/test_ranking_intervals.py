"""Intervals of ranking metrics: quantiles of resamples, on the logit scale."""

import numpy as np
import pytest
from scipy import special

from jaxcompress import validate
from jaxcompress.validate import resampling, scores

METRICS = (validate.metrics.roc_auc(), validate.metrics.average_precision())
# Of 1,999 uniform draws the share below 0.025 has a standard error of 0.0035; of three
# such the fifth root is off by a fifth.
NEAR = 3 * 0.0035 / 0.025 / 5
each = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def statistics(values, positive):
    return {"score": np.asarray(values, np.float32), "positive": np.asarray(positive, bool)}


@each
def test_ends_are_quantiles_on_the_logit_scale(metric, monkeypatch):
    monkeypatch.setattr(scores, "RESAMPLES", 101)
    rng = np.random.default_rng(0)
    positive = np.arange(40) < 10
    made = statistics(rng.standard_normal(40) + 1.5 * positive, positive)
    score = validate.Score(metric, made)
    # Of 101 the sixth from either end is the quantile, and none lies between two.
    (counts,) = resampling.resampled_counts(40, 101, seed=5)
    quantiles = np.quantile(metric.summary(made, counts), (0.05, 0.95))
    # Of ten positives the variance among resamples is nine tenths of the sample's.
    moved = np.sqrt(10 / 9) * (quantiles - score.value) / (score.value * (1 - score.value))
    expected = special.expit(special.logit(score.value) + moved)
    np.testing.assert_allclose(score.interval(confidence=0.9, seed=5), expected, rtol=1e-9)


@each
def test_perfect_order_leaves_room_below(metric):
    """As `auc_interval` has it; the percentiles of resamples were 1 and 1."""
    made = statistics(np.arange(12), np.arange(12) >= 7)
    low, high = validate.Score(metric, made).interval()
    assert high == 1
    np.testing.assert_allclose(low, 0.025 ** (1 / 5), rtol=NEAR)


def test_perfect_order_of_many_examples_in_blocks_of_one(monkeypatch):
    made = statistics(np.arange(12), np.arange(12) >= 7)
    whole = validate.Score(METRICS[0], made).interval()
    monkeypatch.setattr(resampling, "RESAMPLED_NUMBERS", 12)
    np.testing.assert_allclose(validate.Score(METRICS[0], made).interval(), whole, rtol=1e-12)


def test_the_worst_order_leaves_room_above():
    made = statistics(np.arange(12), np.arange(12) < 5)
    low, high = validate.Score(METRICS[0], made).interval()
    assert low == 0
    np.testing.assert_allclose(high, 1 - 0.025 ** (1 / 5), rtol=NEAR)


def test_precision_without_negatives_has_an_interval():
    made = statistics(np.arange(6), np.ones(6))
    low, high = validate.Score(METRICS[1], made).interval()
    assert high == 1
    np.testing.assert_allclose(low, 0.025 ** (1 / 6), rtol=NEAR)
