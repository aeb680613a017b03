"""Mixtures of answers: the mean of probabilities, and weights proved to be the best."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import distill

ensembles: Any = distill.ensembles  # wrong arguments are passed, too
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (3, 200, 4)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 200)


def probabilities(logits) -> np.ndarray:
    each = np.exp(np.asarray(logits, np.float64))
    return each / each.sum(-1, keepdims=True)


def likelihood(weights, logits, labels):
    """Mean log of the mixture's probability of the label, one example after another."""
    total = 0.0
    for example, label in zip(np.swapaxes(probabilities(logits), 0, 1), labels, strict=True):
        total += np.log(sum(w * p[label] for w, p in zip(weights, example, strict=True)))
    return total / len(labels)


def test_the_mixture_is_the_mean_of_probabilities():
    weights = np.array([0.2, 0.5, 0.3])
    expected = np.einsum("m,mnc->nc", weights, probabilities(LOGITS))
    for dtype in (jnp.float32, jnp.bfloat16):
        result = ensembles.mixture(jnp.asarray(LOGITS, dtype), weights)
        assert result.dtype == jnp.float32
        off = 4 * jnp.finfo(dtype).eps * (1 + np.abs(LOGITS).max())
        np.testing.assert_allclose(np.exp(result), expected, rtol=off, atol=0)


def test_one_model_alone_and_classes_ruled_out():
    logits = jnp.array([[[0.0, -jnp.inf, 1.0]], [[1e4, -1e4, 0.0]]])
    alone = ensembles.mixture(logits, [1.0, 0.0])
    np.testing.assert_array_equal(alone, jax.nn.log_softmax(logits[0]))
    both = ensembles.mixture(logits, [0.5, 0.5])
    assert not np.isnan(both).any()
    assert abs(both[0, 1] + 2e4 + np.log(2)) < 0.01


def test_the_mixed_model_is_the_mixture_of_its_members():
    def fn(params, x):
        return x @ params

    keys = jax.random.split(jax.random.key(0), 3)
    first, second, x = (jax.random.normal(key, (5, 5)) for key in keys)
    model = ensembles.mixed([fn, fn], [0.25, 0.75])
    expected = ensembles.mixture(jnp.stack([x @ first, x @ second]), [0.25, 0.75])
    np.testing.assert_allclose(jax.jit(model)((first, second), x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"^mixed\(fns of 2 models\): params must be a tuple"):
        model((first,), x)
    with pytest.raises(ValueError, match=r"^mixed\(answer of model 0 of shape \(5, 5\), answer"):
        model((first, second[:, :2]), x)


def test_a_class_that_all_rule_out_has_no_gradient():
    logits = jnp.array([[0.0, 1.0, -jnp.inf, 2.0], [0.5, -1.0, -jnp.inf, -jnp.inf]])

    def chances(logits, weights):
        return jnp.exp(ensembles.mixture(logits, weights))

    for weights in ([0.5, 0.5], [0.0, 1.0]):
        expected = np.array(weights) @ np.asarray(jax.nn.softmax(logits))
        found, pull = jax.vjp(chances, logits, jnp.array(weights))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        by_logits, by_weights = pull(jnp.array([0.0, 1.0, 1.0, 1.0]))
        np.testing.assert_array_equal(by_logits[:, 2], 0)
        assert np.isfinite(by_logits).all()
        assert np.isfinite(by_weights).all()


def test_members_answer_in_dtypes_of_their_own():
    dtypes = jnp.float16, jnp.bfloat16, jnp.float32

    def fn(params, x):
        return x.astype(params.dtype) + params

    params = [jnp.full(3, index, dtype) for index, dtype in enumerate(dtypes)]
    model = ensembles.mixed([fn] * 3, [0.25, 0.25, 0.5])
    with jax.numpy_dtype_promotion("strict"):
        found = model(params, jnp.arange(3.0))
    np.testing.assert_allclose(found, jax.nn.log_softmax(jnp.arange(3.0)), rtol=1e-6)


def test_a_weight_of_0_has_the_gradient_of_its_model():
    def log_likelihood(weights):
        return ensembles.mixture(LOGITS[:, :1], weights)[0, 0]

    gradient = jax.jit(jax.grad(log_likelihood))(jnp.array([1.0, 0.0, 0.0]))
    each = probabilities(LOGITS[:, 0])[:, 0]
    np.testing.assert_allclose(gradient, each / each[0], rtol=1e-5)
    far = ensembles.mixture(jnp.array([[[0.0, 300.0]], [[0.0, 0.0]]]), [1.0, 0.0])
    np.testing.assert_allclose(far[0], [-300.0, 0.0])


def test_no_weights_are_better():
    weights = ensembles.fit_weights(LOGITS, LABELS, tolerance=1e-7)
    assert weights.min() >= 0
    assert abs(weights.sum() - 1) < 1e-12
    best = likelihood(weights, LOGITS, LABELS)
    steps = np.linspace(0, 1, 21)
    others = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1]
    assert all(likelihood(other, LOGITS, LABELS) <= best + 2e-7 for other in others[::3])


def test_a_copy_a_bad_model_and_a_sure_one():
    right = 20.0 * np.eye(4)[LABELS]
    wrong = 20.0 * np.eye(4)[(LABELS + 1) % 4]
    weights = ensembles.fit_weights(np.array([right, wrong], np.float32), LABELS)
    assert weights[0] > 0.999
    copies = ensembles.fit_weights(np.stack([LOGITS[0], LOGITS[0]]), LABELS)
    np.testing.assert_allclose(copies, [0.5, 0.5], atol=1e-6)
    np.testing.assert_array_equal(ensembles.fit_weights(LOGITS[:1], LABELS), [1.0])


NEVER = np.full((1, 1, 2), 0.0, np.float32)
NEVER[..., 0] = -np.inf
WRONG = [
    (lambda: ensembles.mixture(LOGITS, [0.5, 0.5]), ValueError, "one for each of 3 models"),
    (lambda: ensembles.mixture(LOGITS, [0.5, 0.6, -0.1]), ValueError, "at least 0 and of sum 1"),
    (lambda: ensembles.mixture(LOGITS, [1.0, np.nan, 0.0]), ValueError, "at least 0 and of sum 1"),
    (lambda: ensembles.mixture(LOGITS.astype(int), [1, 0, 0]), TypeError, "must be floating"),
    (
        lambda: ensembles.mixture(LOGITS[0, 0], [1.0]),
        ValueError,
        r"shape \(models, \.\.\., classes",
    ),
    (lambda: ensembles.mixed([3], [1.0]), TypeError, r"^mixed\(fns=3\) must be a function"),
    (lambda: ensembles.fit_weights(LOGITS, LABELS + 1), ValueError, "is none of 4 classes"),
    (lambda: ensembles.fit_weights(LOGITS, LABELS[:7]), ValueError, r"shapes \(models, n, classes"),
    (lambda: ensembles.fit_weights(NEVER, [0]), ValueError, "label of example 0 a probability"),
    (lambda: ensembles.fit_weights(LOGITS * np.nan, LABELS), ValueError, "infinities or NaN"),
    (lambda: ensembles.fit_weights(LOGITS, LABELS, tolerance=0), ValueError, "tolerance=0"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
