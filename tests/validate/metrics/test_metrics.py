"""What every metric must do, and scikit-learn's or scipy's figure for it."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import validate
from jaxcompress.validate import metrics, scores
from tests.validate.metrics.table import CASES, N

each = pytest.mark.parametrize("case", CASES, ids=str)
# Values are sums of float32 terms of a size of at most some tens; figures are ratios.
CLOSE = {"rtol": 64 * np.finfo(np.float32).eps, "atol": 64 * np.finfo(np.float32).eps}
SAME = {"rtol": 1e-12, "atol": 1e-12}


def given(case, seed=0):
    return case.made(np.random.default_rng(seed))


def statistics(case, arrays):
    return jax.tree.map(np.asarray, case.metric.per_example(*arrays))


def test_every_metric_has_a_row():
    made = {name for name, value in vars(metrics).items() if inspect.isfunction(value)}
    rows = {case.metric.name for case in CASES} | {"cross_entropy", "top_k"}
    assert made - {"loss", "mean_of"} <= rows


@each
@pytest.mark.parametrize("seed", range(3))
def test_the_figure_is_the_oracles(case, seed):
    arrays = given(case, seed)
    np.testing.assert_allclose(case.metric(*arrays), case.oracle(*arrays), **CLOSE)


@each
def test_counting_an_example_twice_is_having_it_twice(case):
    """For several rows of counts at once, zeros among them."""
    arrays = given(case)
    counts = np.random.default_rng(5).integers(0, 3, (2, 2, N))
    found = case.metric.summary(statistics(case, arrays), counts.astype(np.float64))
    assert found.shape == (2, 2)
    for row in np.ndindex(2, 2):
        repeats = partial(np.repeat, repeats=counts[row], axis=0)
        expected = case.metric.value(jax.tree.map(repeats, statistics(case, arrays)))
        np.testing.assert_allclose(found[row], expected, **SAME)


@each
def test_the_order_of_examples_does_not_matter(case):
    arrays = given(case)
    order = np.random.default_rng(6).permutation(N)
    mixed = case.metric(*(array[order] for array in arrays))
    np.testing.assert_allclose(mixed, case.metric(*arrays), **SAME)


@each
def test_nothing_beats_perfect_outputs(case):
    outputs, targets = given(case)
    best = case.metric(case.perfect(targets), targets)
    sign = 1 if case.metric.higher_is_better else -1
    assert sign * best > sign * case.metric(outputs, targets)


@each
def test_evaluating_in_batches_gives_the_figure_and_an_interval(case, monkeypatch):
    monkeypatch.setattr(scores, "RESAMPLES", 199)
    outputs, targets = given(case)
    found = validate.evaluate(
        lambda params, x: x, {}, outputs, targets, [case.metric], batch_size=7
    )[case.metric.name]
    np.testing.assert_allclose(found.value, case.metric(outputs, targets), **CLOSE)
    low, high = found.interval()
    assert low <= found.value <= high
    assert found.interval() == (low, high)
    again = validate.Score.from_json(found.to_json(), case.metric)
    assert again.value == found.value


@each
def test_it_is_lowered_for_accelerators(case):
    arrays = tuple(map(jnp.asarray, given(case)))
    for platform in ("tpu", "cuda"):
        jax.jit(case.metric.per_example).trace(*arrays).lower(lowering_platforms=(platform,))


@pytest.mark.parametrize("case", [case for case in CASES if case.undefined], ids=str)
def test_what_it_needs_is_said_where_it_is_not_defined(case):
    message = f"^{case.metric.name} of {N} examples is not defined: it needs {case.metric.needs}"
    with pytest.raises(ValueError, match=message):
        case.metric(*case.undefined)


@each
def test_no_example_is_refused(case):
    outputs, targets = given(case)
    for some in (outputs[:0], outputs[:5]):
        with pytest.raises(ValueError, match=f"^{case.metric.name}.*needs arrays of the same exam"):
            case.metric(some, targets[:0])


def test_complex_errors_are_refused_and_not_cut():
    outputs, targets = np.array([1j, 0], np.complex64), np.ones(2, np.float32)
    identity = lambda params, x: x  # noqa: E731
    for metric in (metrics.mean_squared_error(), metrics.r2()):
        with pytest.raises(TypeError, match="complex"):
            metric(outputs, targets)
        with pytest.raises(TypeError, match="complex"):
            validate.evaluate(identity, {}, outputs, targets, [metric])
