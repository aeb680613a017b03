"""Cascades: the fitted threshold against brute force, and both ways of running one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import distill

ensembles: Any = distill.ensembles  # wrong arguments are passed, too


def drawn(seed, n=60, classes=3, skill=1.0):
    """Logits of a model that knows the label as well as its skill, and the labels."""
    random = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(0, classes, n)
    return random.normal(size=(n, classes)) + skill * np.eye(classes)[labels], labels


def accuracy(small, large, labels, threshold, confidence):
    sure = np.asarray(confidence(jnp.asarray(small, jnp.float32)))
    answers = np.where((sure < threshold)[:, None], large, small).argmax(-1)
    return np.mean(answers == labels), np.mean(sure < threshold)


CONFIDENCES = (ensembles.largest_probability, ensembles.margin, ensembles.negative_entropy)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("tolerated", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_is_the_lowest_that_stays_accurate(confidence, tolerated, seed):
    (small, labels), (large, _) = drawn(seed), drawn(seed + 10, skill=3.0)
    small, large = small.astype(np.float32).round(1), large.astype(np.float32)  # some ties
    fit = ensembles.fit_cascade(small, large, labels, tolerated=tolerated, confidence=confidence)
    reached, share = accuracy(small, large, labels, fit.threshold, confidence)
    assert (fit.accuracy, fit.share) == (pytest.approx(reached), pytest.approx(share))
    least = np.mean(large.argmax(-1) == labels) - tolerated
    every = [*np.unique(confidence(jnp.asarray(small))), np.inf]
    fine = [accuracy(small, large, labels, each, confidence)[0] >= least - 1e-9 for each in every]
    lowest = next(i for i in range(len(every)) if all(fine[i:]))
    assert fit.threshold == every[lowest]
    assert fit.large_accuracy == np.mean(large.argmax(-1) == labels)


def test_nobody_or_everybody_is_asked():
    (_small, labels), (large, _) = drawn(0), drawn(1)
    best = 9.0 * np.eye(3)[labels]
    assert ensembles.fit_cascade(best, large, labels).share == 0
    backwards = ensembles.fit_cascade(-best, best, labels)
    assert (backwards.share, backwards.threshold, backwards.accuracy) == (1, np.inf, 1)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_confidence_is_finite_and_in_its_range(confidence):
    logits = jnp.array([[1e4, -1e4, 0], [0, 0, 0], [-jnp.inf, 1, 1]], jnp.float32)
    for dtype in (jnp.float32, jnp.bfloat16):
        sure = confidence(logits.astype(dtype))
        assert sure.dtype == jnp.float32
        assert np.isfinite(sure).all()
        assert sure[0] > sure[2] >= sure[1]


def model(params, inputs):
    return inputs["x"] @ params


def task(n=23):
    keys = jax.random.split(jax.random.key(0), 3)
    small, large, x = (
        jax.random.normal(key, shape)
        for key, shape in zip(keys, [(4, 3), (4, 3), (n, 4)], strict=True)
    )
    return (small, large), {"x": x}


def test_both_ways_give_the_answers_of_a_choice():
    params, inputs = task()
    logits = [np.asarray(model(each, inputs)) for each in params]
    sure = np.asarray(ensembles.largest_probability(logits[0]))
    threshold = float(np.median(sure))
    asked = sure < threshold
    expected = np.where(asked[:, None], logits[1], logits[0])
    found = ensembles.answer((model, model), params, inputs, threshold, batch_size=5)
    np.testing.assert_array_equal(found.asked, asked)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5, atol=1e-6)
    roomy = ensembles.cascade((model, model), threshold, capacity=23)
    np.testing.assert_allclose(jax.jit(roomy)(params, inputs), expected, rtol=1e-5, atol=1e-6)
    # Of too many, the least sure are asked.
    narrow = jax.jit(ensembles.cascade((model, model), threshold, capacity=4))(params, inputs)
    least = np.argsort(sure)[:4]
    np.testing.assert_allclose(narrow[least], logits[1][least], rtol=1e-5, atol=1e-6)
    others = np.setdiff1d(np.arange(23), least)
    np.testing.assert_allclose(narrow[others], logits[0][others], rtol=1e-5, atol=1e-6)


def test_the_large_model_runs_on_the_unsure_ones_alone():
    params, inputs = task()
    seen = []

    def large(params, inputs):
        jax.debug.callback(lambda x: seen.append(len(x)), inputs["x"])
        return model(params, inputs)

    sure = np.sort(ensembles.largest_probability(model(params[0], inputs)))
    ensembles.answer((model, large), params, inputs, float(sure[7]), batch_size=4)
    nobody = ensembles.answer((model, large), params, inputs, 0.0)
    jax.jit(ensembles.cascade((model, large), 0.0, capacity=5))(params, inputs).block_until_ready()
    jax.effects_barrier()
    assert seen == [4, 4]
    assert not nobody.asked.any()


def test_answers_keep_the_precision_of_the_more_precise_model():
    params, inputs = task(4)

    def narrow(params, inputs):
        return model(params, inputs).astype(jnp.bfloat16)

    pair, expected = (narrow, model), model(params[1], inputs)
    for threshold in (2.0, jnp.float32(jnp.inf)):
        found = ensembles.answer(pair, params, inputs, threshold)
        np.testing.assert_array_equal(found.logits, expected)
        whole = ensembles.cascade(pair, threshold, capacity=4)(params, inputs)
        np.testing.assert_array_equal(whole, expected)


def test_an_answer_that_is_not_finite_is_unsure_and_keeps_no_one_out():
    params, inputs = task(4)
    inputs["x"] = inputs["x"].at[1].set(jnp.nan)

    def large(params, inputs):
        return model(params, jax.tree.map(jnp.nan_to_num, inputs))

    expected = large(params[1], inputs)
    found = ensembles.answer((model, large), params, inputs, 0.0)
    np.testing.assert_array_equal(found.asked, [False, True, False, False])
    np.testing.assert_array_equal(found.logits[1], expected[1])
    fast = ensembles.cascade((model, large), 0.0, capacity=1)(params, inputs)
    np.testing.assert_array_equal(fast[1], expected[1])


def column(logits):
    return ensembles.margin(logits)[:, None]


def tokens(params, inputs):
    return model(params, inputs)[:, None]


def fewer(params, inputs):
    return model(params, inputs)[:, :1]


SMALL, LABELS = drawn(0)
PARAMS, INPUTS = task()
WRONG = [
    (
        lambda: ensembles.fit_cascade(SMALL, SMALL[:, :2], LABELS),
        ValueError,
        "shapes must be equal",
    ),
    (lambda: ensembles.fit_cascade(SMALL, SMALL, LABELS[:3]), ValueError, r"shapes \(n, classes\)"),
    (lambda: ensembles.fit_cascade(SMALL, SMALL, LABELS * 0.5), TypeError, "integer labels"),
    (lambda: ensembles.fit_cascade(SMALL, SMALL, LABELS, tolerated=-1), ValueError, "tolerated=-1"),
    (
        lambda: ensembles.fit_cascade(SMALL * np.nan, SMALL, LABELS),
        ValueError,
        "is NaN for example 0",
    ),
    (
        lambda: ensembles.fit_cascade(SMALL, SMALL, LABELS, confidence="margin"),
        TypeError,
        "function",
    ),
    (lambda: ensembles.margin(jnp.ones((2, 1))), ValueError, "two classes"),
    (lambda: ensembles.cascade((model, 3), 0.5, capacity=1), TypeError, "pair of models"),
    (lambda: ensembles.cascade((model, model), 0.5, capacity=0), ValueError, "capacity=0"),
    (lambda: ensembles.cascade((model, model), np.nan, capacity=1), ValueError, "threshold=nan"),
    (
        lambda: ensembles.cascade((model, model), 0.5, capacity=99)(PARAMS, INPUTS),
        ValueError,
        "more than the 23 examples",
    ),
    (
        lambda: ensembles.answer((model, model), PARAMS[:1], INPUTS, 0.5),
        ValueError,
        "must be a pair",
    ),
    (lambda: ensembles.answer((model, model), PARAMS, {}, 0.5), TypeError, "tree of arrays"),
    (lambda: ensembles.answer((model, model), PARAMS, INPUTS, np.nan), ValueError, "threshold=nan"),
    (
        lambda: ensembles.fit_cascade(SMALL, SMALL * np.nan, LABELS),
        ValueError,
        r"fit_cascade\(large_logits\) is NaN for example 0",
    ),
    (lambda: ensembles.fit_cascade(SMALL, SMALL, LABELS - 9), ValueError, "is none of 3 classes"),
    (
        lambda: ensembles.fit_cascade(SMALL, SMALL, LABELS, confidence=column),
        TypeError,
        r"confidence\) gives float32\[60, 1\]",
    ),
]
WRONG += [
    (lambda run=run, wrong=wrong: run(**wrong), error, message)
    for run in (
        lambda models=(model, model), **options: ensembles.answer(
            models, PARAMS, INPUTS, 2.0, **options
        ),
        lambda models=(model, model), **options: ensembles.cascade(
            models, 2.0, capacity=2, **options
        )(PARAMS, INPUTS),
    )
    for wrong, error, message in (
        ({"confidence": column}, TypeError, r"must be floating, of shape \(23,\)"),
        ({"models": (tokens, model)}, ValueError, r"of the small model of shape \(23, 1, 3\)"),
        ({"models": (model, fewer)}, ValueError, r"must be of shape \(2?[23], 3\)"),
    )
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
