"""The interval of a skewed mean: Hall's correction, and never less than Student's."""

import math

import numpy as np
import pytest
from scipy import stats

from jaxcompress import validate
from jaxcompress.validate.intervals import mean_interval
from jaxcompress.validate.skewed import skewed_mean_interval

RNG = np.random.default_rng(0)
SETS = 400


def hall(values, quantile):
    """Hall's transformation of the studentised mean, solved for the mean."""
    n, skewness = len(values), stats.skew(values)
    inside = 1 + skewness * (quantile / math.sqrt(n) - skewness / (6 * n))
    return np.mean(values) - stats.sem(values) * 3 * math.sqrt(n) / skewness * (np.cbrt(inside) - 1)


def test_each_end_is_the_farther_of_halls_and_students():
    values = RNG.exponential(size=30)
    t = stats.t.ppf(0.95, 29)
    low, high = skewed_mean_interval(values, confidence=0.9)
    student = mean_interval(values, confidence=0.9)
    # Of a long upper tail Hall's interval lies higher at both ends.
    assert hall(values, t) > student[0]
    np.testing.assert_allclose((low, high), (student[0], hall(values, -t)), rtol=1e-9)
    mirrored = skewed_mean_interval(-values, confidence=0.9)
    np.testing.assert_allclose(mirrored, (-high, -low), rtol=1e-12)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 2.0, 3.0], [-3.0, -1.0, 1.0, 3.0]])
def test_it_is_students_without_skewness(values):
    np.testing.assert_allclose(skewed_mean_interval(values), mean_interval(values), rtol=1e-12)


def test_cubes_do_not_vanish():
    values = RNG.exponential(size=12)
    found = np.array(skewed_mean_interval(values * 1e-120)) * 1e120
    np.testing.assert_allclose(found, skewed_mean_interval(values), rtol=1e-12)


def test_squared_errors_are_covered_as_often_as_promised():
    """Student's holds the mean of 20 squared normal errors 89 % of the time."""
    squares = RNG.standard_normal((SETS, 20)) ** 2
    metric = validate.metrics.mean_squared_error()
    ends = np.array([validate.Score(metric, row).interval() for row in squares])
    assert np.mean((ends[:, 0] <= 1) & (ends[:, 1] >= 1)) >= 0.93
    distance = np.abs(squares.mean(axis=1) - 1) / stats.sem(squares, axis=1)
    assert np.mean(distance <= stats.t.isf(0.025, 19)) < 0.92


def test_the_interval_of_a_root_is_of_the_roots():
    squares = RNG.exponential(size=9)
    mse, rmse = (
        validate.Score(metric, squares).interval(confidence=0.8)
        for metric in (
            validate.metrics.mean_squared_error(),
            validate.metrics.root_mean_squared_error(),
        )
    )
    np.testing.assert_allclose(rmse, np.sqrt(mse), rtol=1e-12)
    # Of two values far apart the mean's interval reaches below 0.
    wide = validate.Score(validate.metrics.root_mean_squared_error(), np.array([0.0, 9.0]))
    assert wide.interval()[0] == 0


def test_differences_of_bools_are_compared_exactly():
    """Two of 40 lost: resamples of the differences would hold no gain."""
    metric = validate.metrics.accuracy()
    marks = validate.leakage.fingerprints(np.arange(40))
    labels, answers = np.zeros(40, np.int32), np.repeat(np.int32([1, 0]), [2, 38])
    one, other = (
        validate.Evaluation(
            {"accuracy": validate.Score(metric, {"predicted": each, "label": labels})}, marks, marks
        )
        for each in (labels, answers)
    )
    found = validate.compare_scores(one, other, "accuracy")
    assert found.interval == validate.paired_interval(0, 2, 40)
    assert found.verdict.startswith("not decided: the interval of the accuracy difference")
