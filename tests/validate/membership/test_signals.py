"""Signals against plain NumPy in float64, and where a stable form is needed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate import membership

LOGITS = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32) * 4
LABELS = np.array([0, 4, 2, 2, 1, 3])
TOKENS = np.random.default_rng(1).normal(size=(3, 7, 4)).astype(np.float32)
WORDS = np.random.default_rng(2).integers(0, 4, (3, 7))
WORDS[1, 4:] = -100  # padding
# Of float32 sums over few terms.
CLOSE = {"rtol": 2e-6, "atol": 2e-6}


def probabilities(logits):
    exps = np.exp(logits.astype(np.float64))
    return exps / exps.sum(-1, keepdims=True)


def of_labels(logits, labels):
    return probabilities(logits)[np.arange(len(labels)), labels]


def odds(p):
    return np.log(p / (1 - p))


SIGNALS = [
    (membership.log_probability, lambda p: np.log(p)),
    (membership.label_probability, lambda p: p),
    (membership.scaled_confidence, odds),
]


@pytest.mark.parametrize(("signal", "oracle"), SIGNALS)
def test_a_signal_is_its_formula(signal, oracle):
    expected = oracle(of_labels(LOGITS, LABELS))
    np.testing.assert_allclose(jax.jit(signal)(LOGITS, LABELS), expected, **CLOSE)


def test_correctness_takes_the_first_of_equal_logits():
    logits = jnp.array([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]])
    found = membership.correctness(logits, jnp.array([0, 1, 1]))
    assert found.tolist() == [1, 0, 1]


def test_scaled_confidence_is_exact_where_the_probability_rounds_to_one():
    # log(1 - p) would be -inf: p is 1 in float32 and in float64.
    logits = jnp.array([[90.0, 0.0, 0.0]])
    found = membership.scaled_confidence(logits, jnp.array([0]))
    np.testing.assert_allclose(found, [90 - np.log(2)], rtol=1e-6)


def test_under_jit_a_label_that_is_no_class_gives_nan():
    for signal, _ in SIGNALS:
        assert np.isnan(jax.jit(signal)(LOGITS, np.array([0, 4, 5, -1, 1, 3]))[2:4]).all()


def test_signals_of_sequences_are_loops_over_tokens():
    mean, lowest = [], []
    for logits, labels in zip(TOKENS, WORDS, strict=True):
        kept = [
            np.log(probabilities(row)[label])
            for row, label in zip(logits, labels, strict=True)
            if label != -100
        ]
        mean.append(np.mean(kept))
        lowest.append(np.mean(sorted(kept)[: max(1, int(0.4 * len(kept)))]))
    found = membership.token_log_likelihood(TOKENS, WORDS, ignore=-100)
    np.testing.assert_allclose(found, mean, **CLOSE)
    found = membership.min_k(TOKENS, WORDS, share=0.4, ignore=-100)
    np.testing.assert_allclose(found, lowest, **CLOSE)


def test_min_k_of_all_tokens_is_the_mean():
    np.testing.assert_allclose(
        membership.min_k(TOKENS, WORDS, share=1, ignore=-100),
        membership.token_log_likelihood(TOKENS, WORDS, ignore=-100),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (LOGITS[:, :1], LABELS, "two classes or more"),
        (LOGITS, LABELS[:3], r"labels of shape \(3,\)\) needs the shape \(6,\)"),
        (LOGITS, LABELS + 1, r"1 of 6 are no class in \[0, 5\), the first is 5"),
        (np.where(LOGITS > 5, np.nan, LOGITS), LABELS, "not all finite"),
    ],
)
def test_bad_outputs_are_refused(logits, labels, message):
    with pytest.raises(ValueError, match=rf"scaled_confidence\(.*{message}"):
        membership.scaled_confidence(logits, labels)
