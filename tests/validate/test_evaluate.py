"""Batches against one big call, and an evaluation against counts made by hand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate import metrics
from jaxcompress.validate.evaluate import CLASSIFIER, evaluate, predict
from jaxcompress.validate.examples import Examples
from jaxcompress.validate.intervals import wilson
from jaxcompress.validate.leakage import fingerprints
from jaxcompress.validate.results import Evaluation

# (examples, batch size): less than a batch, exactly one, whole ones, a rest, single.
SIZES = [(1, 4), (3, 4), (4, 4), (8, 4), (9, 4), (5, 1)]


def linear(params, inputs):
    return inputs @ params["kernel"] + params["bias"][None]


@pytest.fixture
def params():
    """Small integers, so that any order of summation gives the same bits."""
    rng = np.random.default_rng(0)
    return {
        "kernel": jnp.asarray(rng.integers(-3, 4, (6, 3)), jnp.float32),
        "bias": jnp.asarray([1.0, 0.0, -1.0]),
    }


def examples(n):
    return np.random.default_rng(1).integers(-3, 4, (n, 6)).astype(np.float32)


@pytest.mark.parametrize(("n", "batch_size"), SIZES)
def test_predict_equals_one_big_call_and_traces_once(params, n, batch_size):
    shapes = []

    def counted(params, inputs):
        shapes.append(inputs.shape)
        return linear(params, inputs)

    outputs = predict(counted, params, examples(n), batch_size=batch_size)
    assert shapes == [(min(n, batch_size), 6)]
    assert isinstance(outputs, np.ndarray)
    np.testing.assert_array_equal(outputs, linear(params, examples(n)))


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_predict_takes_and_gives_trees(array):
    inputs = {"a": array(np.arange(5.0, dtype=np.float32)), "b": array(np.arange(10).reshape(5, 2))}

    def fn(params, inputs):
        return inputs["a"].astype(jnp.bfloat16), {"sum": inputs["b"].sum(axis=1) + params}

    halves, sums = predict(fn, jnp.int32(1), inputs, batch_size=2)
    assert halves.dtype == jnp.bfloat16
    np.testing.assert_array_equal(halves.astype(np.float32), np.arange(5))
    np.testing.assert_array_equal(sums["sum"], [2, 6, 10, 14, 18])


def test_the_fill_of_the_last_batch_is_a_real_example():
    seen = []

    def fn(params, inputs):
        jax.debug.callback(lambda batch: seen.append(np.asarray(batch)), inputs)
        return inputs

    predict(fn, {}, np.array([5.0, 6.0, 7.0], np.float32), batch_size=2)
    jax.effects_barrier()
    np.testing.assert_array_equal(sorted(np.concatenate(seen)), [5, 6, 7, 7])


def test_evaluate_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]))
    result = evaluate(lambda params, rows: rows, {}, logits, np.array([0, 1, 2]), batch_size=2)
    assert result.n == 3
    assert result.accuracy == 2 / 3
    assert result["accuracy"].interval() == wilson(2, 3)
    np.testing.assert_array_equal(result.correct, [True, False, True])
    np.testing.assert_array_equal(result.predictions, [0, 0, 2])
    expected = -np.log([0.5, 0.25, 0.75])
    tolerance = float(8 * np.finfo(np.float32).eps)
    np.testing.assert_allclose(result.loss, expected, rtol=tolerance)
    np.testing.assert_allclose(result.mean_loss, expected.mean(), rtol=tolerance)
    half = stats.t.ppf(0.975, 2) * stats.sem(result.loss.astype(np.float64))
    low, high = result["loss"].interval()
    # Student's, with the end moved out on the side of the largest loss.
    np.testing.assert_allclose(result.mean_loss - low, half, rtol=1e-9)
    assert high - result.mean_loss > half
    assert result.loss.dtype == np.float32


def test_evaluation_survives_json(params):
    result = evaluate(linear, params, examples(7), np.arange(7) % 3)
    copy = Evaluation.from_json(json.loads(json.dumps(result.to_json())), CLASSIFIER)
    for name in ("correct", "loss", "predictions", "labels", "fingerprints"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(result, name))
        assert getattr(copy, name).dtype == getattr(result, name).dtype


def identity(params, inputs):
    return inputs


BAD_INPUTS = [
    (TypeError, r"predict\(inputs=1.0\) must be an array or a tree of", np.float32(1), 2),
    (TypeError, r"predict\(inputs={}\) must be an array or a tree of", {}, 2),
    (
        ValueError,
        r"predict\(inputs\): .* disagree .* 2 at '0', 3 at '1'",
        (np.ones(2), np.ones(3)),
        2,
    ),
    (ValueError, r"predict\(inputs\) holds no examples", np.ones((0, 4)), 2),
    (ValueError, r"predict\(batch_size=0\)", np.ones(2), 0),
]


@pytest.mark.parametrize(("error", "message", "inputs", "batch_size"), BAD_INPUTS)
def test_predict_refuses_bad_input(error, message, inputs, batch_size):
    with pytest.raises(error, match=message):
        predict(identity, {}, inputs, batch_size=batch_size)


def test_predict_refuses_outputs_without_examples():
    with pytest.raises(ValueError, match=r"predict\(fn\): an output has shape \(\) for 3 examples"):
        predict(lambda params, inputs: inputs.sum(), {}, np.ones(3, np.float32))


def test_evaluate_refuses_what_it_cannot_judge():
    logits = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"evaluate\(targets of 3 examples, inputs of 2\)"):
        evaluate(identity, {}, logits, np.zeros(3, int))
    with pytest.raises(TypeError, match=r"loss\(logits\) is a tuple, not one array of logits"):
        evaluate(lambda params, inputs: (inputs, inputs), {}, logits, np.zeros(2, int))
    with pytest.raises(ValueError, match=r"outputs of 2 of 2 examples hold NaN"):
        evaluate(identity, {}, logits * np.nan, np.zeros(2, int))
    with pytest.raises(ValueError, match=r"loss is not finite for 1 of 2 .* example 1: inf"):
        evaluate(identity, {}, np.array([[0, 0], [-np.inf, 0]], np.float32), np.zeros(2, int))


def test_data_that_are_not_finite_are_named():
    x = np.ones((4, 2), np.float32)
    blank = x.copy()
    blank[2, 1] = np.nan
    squares = [metrics.loss(lambda outputs, targets: jnp.sum((outputs - targets) ** 2, -1))]
    said = r"example 2\. The inputs at 'x' hold NaN or infinity in 1 of 4 .* example 2\. Leave"
    with pytest.raises(ValueError, match=said):
        evaluate(lambda params, inputs: inputs["x"], {}, {"x": blank}, x, squares)
    said = r"evaluate\(targets\): The targets hold NaN or infinity in 1 of 4 .* example 2"
    with pytest.raises(ValueError, match=said):
        evaluate(identity, {}, x, blank, squares)
    with pytest.raises(ValueError, match=r"loss\(targets\): The targets hold NaN"):
        squares[0](x, blank)
    # Data of other examples are not blamed for an overflow.
    with pytest.raises(ValueError, match=r"example 0\. Look for an overflow"):
        evaluate(lambda params, x: jnp.nan_to_num(x).at[0].set(jnp.inf), {}, blank, x, squares)


def test_examples_left_out_are_not_even_computed():
    seen, labels = [], np.array([0, -100, 1])

    def fn(params, inputs):
        jax.debug.callback(lambda batch: seen.append(np.asarray(batch)), inputs)
        return inputs

    logits = np.array([[1, 0], [np.nan, 0], [1, 0]], np.float32)
    result = Examples(logits, labels, ignore=-100).judge(fn, {})
    jax.effects_barrier()
    np.testing.assert_array_equal(np.concatenate(seen), logits[[0, 2]])
    np.testing.assert_array_equal(result.correct, [True, False])
    np.testing.assert_array_equal(result.fingerprints, fingerprints(logits[[0, 2]]))


def test_evaluate_traces_the_model_once(params):
    shapes = []

    def fn(params, inputs):
        shapes.append(inputs.shape)
        return linear(params, inputs)

    evaluate(fn, params, examples(7), np.arange(7) % 3, batch_size=4)
    assert shapes == [(4, 6)]


@pytest.mark.parametrize("large", [2**31, -(2**31) - 1, 2**32 + 5])
def test_integers_that_would_wrap_are_refused(large):
    targets, metric = np.array([1, large]), metrics.mean_squared_error()
    outputs = targets.astype(np.float32)
    for call in (
        lambda: metric(outputs, targets),
        lambda: evaluate(lambda params, x: x, {}, outputs, targets, [metric]),
        lambda: predict(lambda params, x: x, {}, targets),
    ):
        with pytest.raises(ValueError, match=f"holds {large}, which JAX would wrap"):
            call()
    assert metric(outputs, targets.astype(float)) == 0
    with jax.enable_x64(True):
        assert metric(outputs.astype(float), outputs.astype(np.int64)) == 0
