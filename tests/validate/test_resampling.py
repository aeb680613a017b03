"""Bootstrap samples by counts, against scipy's by copies of examples."""

import numpy as np
import pytest
from scipy import stats

from jaxcompress import validate
from jaxcompress.validate import resampling, scores

VALUES = np.random.default_rng(0).exponential(size=40)


def deviation(statistics, counts):
    """The standard deviation, which is no mean."""
    n = counts.sum(axis=-1)
    return np.sqrt(counts @ statistics**2 / n - (counts @ statistics / n) ** 2)


METRIC = validate.metrics.Metric("deviation", lambda outputs, targets: outputs, deviation)


def test_the_interval_is_scipys_percentile_bootstrap():
    """The same seed draws the same examples."""
    found = validate.Score(METRIC, VALUES).interval(confidence=0.9, seed=3)
    expected = stats.bootstrap(
        (VALUES,),
        np.std,
        confidence_level=0.9,
        method="percentile",
        n_resamples=scores.RESAMPLES,
        rng=np.random.default_rng(3),
    ).confidence_interval
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("numbers", [1, 100, 10**6])
def test_blocks_of_any_size_hold_the_same_samples(numbers, monkeypatch):
    whole = np.concatenate(list(resampling.resampled_counts(7, 30, seed=1)))
    monkeypatch.setattr(resampling, "RESAMPLED_NUMBERS", numbers)
    blocks = list(resampling.resampled_counts(7, 30, seed=1))
    assert max(block.size for block in blocks) <= max(numbers, 7)
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    np.testing.assert_array_equal(whole.sum(axis=1), 7)


def test_calibration_errors_allow_for_what_chance_adds():
    """Of a calibrated model the percentiles of resamples all lie above 0."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 200)
    statistics = {
        "confidence": confidence.astype(np.float32),
        "correct": rng.random(200) < confidence,
    }
    metric = validate.metrics.calibration_error()
    counts = next(resampling.resampled_counts(200, 500, seed=0))
    assert np.quantile(metric.summary(statistics, counts), 0.025) > 0.02
    low, high = validate.Score(metric, statistics).interval()
    assert low < 0.005 < high
