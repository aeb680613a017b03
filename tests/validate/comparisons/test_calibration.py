"""Calibration drift against a plain loop over bins."""

import json

import numpy as np
import pytest
from scipy import special

from jaxcompress.validate.comparisons import calibration_drift
from jaxcompress.validate.skewed import skewed_mean_interval


def drawn(n=300, scale=1.0):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    return scale * (rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels]), labels


def error_by_hand(logits, labels, bins):
    p = special.softmax(logits, axis=1)
    sure, right = p.max(1), p.argmax(1) == labels
    total = 0.0
    for low, high in zip(np.arange(bins) / bins, np.arange(1, bins + 1) / bins, strict=True):
        inside = (low < sure) & ((sure <= high) | (high == 1))
        if inside.any():
            total += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_figures_are_their_definitions(bins):
    (before, labels), after = drawn(), drawn(scale=2.5)[0]
    drift = calibration_drift(before, after, labels, bins=bins)
    for logits, side in ((before, "before"), (after, "after")):
        error = error_by_hand(logits, labels, bins)
        np.testing.assert_allclose(getattr(drift.calibration_error, side), error, rtol=1e-9)
        log_p = special.log_softmax(logits, axis=1)
        np.testing.assert_allclose(
            getattr(drift.loss, side), -log_p[np.arange(300), labels].mean(), rtol=1e-9
        )
        sure = np.exp(log_p.max(1))
        np.testing.assert_allclose(getattr(drift.certainty, side), sure.mean(), rtol=1e-9)
        gap = sure - (log_p.argmax(1) == labels)
        np.testing.assert_allclose(getattr(drift.overconfidence, side), gap.mean(), rtol=1e-9)
    sures = [special.softmax(each, axis=1).max(1) for each in (before, after)]
    np.testing.assert_allclose(drift.certainty.interval, skewed_mean_interval(sures[1] - sures[0]))


def test_sharper_logits_are_seen_and_equal_ones_do_not_drift():
    (before, labels), after = drawn(), drawn(scale=4.0)[0]
    drift = calibration_drift(before, after, labels)
    low, high = drift.calibration_error.interval
    assert 0 < low < drift.calibration_error.difference < high
    assert drift.overconfidence.interval[0] > 0
    same = calibration_drift(before, before, labels)
    assert same.calibration_error.interval == (0.0, 0.0)
    assert same.loss.difference == 0
    record = json.loads(json.dumps(drift.to_json()))
    assert record["calibration_error"]["interval"] == [low, high]
    assert drift.finding().topic == "calibration"


def test_what_does_not_fit_is_refused_by_name():
    logits, labels = drawn(4)
    with pytest.raises(ValueError, match=r"calibration_drift\(labels from 0 to 3\) must be in"):
        calibration_drift(logits, logits, [0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"reference of shape \(4, 3\), labels of 3"):
        calibration_drift(logits, logits, labels[:3])
    with pytest.raises(ValueError, match=r"calibration_drift\(candidate\) holds logits"):
        calibration_drift(logits, logits * np.inf, labels)
