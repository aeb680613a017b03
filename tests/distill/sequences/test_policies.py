"""Losses of sequences: masks, mixes, and a policy gradient against enumeration."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import distill

sequences: Any = distill.sequences  # wrong arguments are passed, too
policy: Any = jax.jit(sequences.reverse_kl_policy)


def test_the_mean_is_that_of_the_tokens_that_count():
    random = np.random.default_rng(0)
    losses, counts = random.normal(size=(4, 6)).astype(np.float32), random.random((4, 6)) < 0.5
    counts[2] = False
    hidden = np.where(counts, losses, np.nan)
    expected = [
        np.mean(row[kept]) if kept.any() else 0.0 for row, kept in zip(losses, counts, strict=True)
    ]
    np.testing.assert_allclose(
        sequences.over_tokens(hidden, counts), expected, rtol=1e-6, atol=1e-6
    )
    gradient = jax.grad(lambda x: sequences.over_tokens(x, counts).sum())(jnp.asarray(hidden))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    np.testing.assert_allclose(gradient, shares, rtol=1e-6)


def test_rows_are_mixed_by_their_share_and_together():
    own, given = jnp.zeros((1000, 2), jnp.int32), jnp.ones((1000, 2), jnp.int32)
    key = jax.random.key(0)
    mixed = sequences.student_share(key, own, given, share=0.3)
    assert abs(float(mixed.mean()) - 0.7) <= 5 * np.sqrt(0.21 / 1000)
    np.testing.assert_array_equal(mixed[:, 0], mixed[:, 1])
    flags = sequences.student_share(key, own[:, 0] > 1, given[:, 0] > 0, share=0.3)
    np.testing.assert_array_equal(flags, mixed[:, 0] > 0)
    np.testing.assert_array_equal(sequences.student_share(key, own, given, share=0.0), given)


def test_mixed_logits_are_the_log_of_the_mean():
    random = np.random.default_rng(0)
    student, teacher = random.normal(0, 3, (2, 5, 4)).astype(np.float32)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (teacher, student))
    found = sequences.mixed_logits(student, teacher, share=0.2)
    np.testing.assert_allclose(np.exp(found), 0.2 * p + 0.8 * q, rtol=2e-5)


SIZE = 3
RANDOM = np.random.default_rng(0)
TABLES = [
    {"first": RANDOM.normal(size=SIZE), "second": RANDOM.normal(size=(SIZE, SIZE))} for _ in "qp"
]
STUDENT, TEACHER = (jax.tree.map(jnp.float32, table) for table in TABLES)


def logits(table, tokens):
    """Of a sequence of two tokens, the second drawn after the first."""
    return jnp.stack([table["first"], table["second"][tokens[0]]])


def log_probability(table, tokens):
    logs = jax.nn.log_softmax(logits(table, tokens))
    return logs[0, tokens[0]] + logs[1, tokens[1]]


PAIRS = jnp.array(list(itertools.product(range(SIZE), repeat=2)))


@jax.jit
def exact(student):
    """KL over all sequences of two tokens."""
    own, other = (
        jax.vmap(lambda y, table=table: log_probability(table, y))(PAIRS)
        for table in (student, TEACHER)
    )
    return jnp.sum(jnp.exp(own) * (own - other))


@jax.jit
def expected(student):
    """The mean of the loss over the sequences that the student draws."""
    loss = jax.vmap(lambda y: policy(logits(student, y), logits(TEACHER, y), y, jnp.ones(2, bool)))(
        PAIRS
    )
    own = jax.vmap(lambda y: log_probability(STUDENT, y))(PAIRS)
    return jnp.sum(jnp.exp(own) * loss)


def test_its_mean_gradient_is_that_of_the_divergence_of_sequences():
    for ours, true in zip(
        jax.tree.leaves(jax.grad(expected)(STUDENT)),
        jax.tree.leaves(jax.grad(exact)(STUDENT)),
        strict=True,
    ):
        np.testing.assert_allclose(2 * ours, true, rtol=1e-4, atol=1e-6)  # divided by the length


def test_no_gradient_where_the_models_are_equal_and_none_into_the_teacher():
    y, counts = jnp.array([0, 2]), jnp.ones(2, bool)
    equal = jax.grad(lambda s: policy(s, logits(STUDENT, y), y, counts))
    np.testing.assert_allclose(equal(logits(STUDENT, y)), 0, atol=1e-6)
    into = jax.grad(lambda t: policy(logits(STUDENT, y), t, y, counts))
    np.testing.assert_array_equal(into(logits(TEACHER, y)), 0)


def test_weights_make_up_for_another_way_of_drawing():
    def loss(student, token, weighted):
        one = jnp.array([token]), jnp.ones(1, bool)
        drawn_with = jnp.log(jnp.full(1, 1 / SIZE)) if weighted else None
        return policy(student[None], TEACHER["first"][None], *one, drawn_with)

    of_uniform = sum(jax.grad(loss)(STUDENT["first"], token, True) / SIZE for token in range(SIZE))
    kl = jax.grad(
        lambda s: jnp.sum(
            jax.nn.softmax(s) * (jax.nn.log_softmax(s) - jax.nn.log_softmax(TEACHER["first"]))
        )
    )
    # With one token there is no later reward: weights of mean 1 are all it takes.
    np.testing.assert_allclose(of_uniform, kl(STUDENT["first"]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_huge_logits_and_hidden_tokens(dtype):
    big = jnp.array([[[1e4, -1e4, 0.0]] * 3] * 2, dtype)
    tokens, counts = jnp.zeros((2, 3), int), jnp.array([[True, True, False]] * 2)
    loss, gradient = jax.value_and_grad(lambda s: policy(s, -big, tokens, counts).sum())(big)
    assert np.isfinite(loss)
    assert np.isfinite(gradient.astype(jnp.float32)).all()
    assert (gradient[:, 2] == 0).all()


def test_what_does_not_count_may_hold_anything_and_a_wrong_token_is_not_silent():
    random = np.random.default_rng(0)
    student, teacher = random.normal(size=(2, 4, 3)).astype(np.float32)
    tokens, drawn = np.array([0, 2, 1, 1]), np.full(4, -1.0, np.float32)
    counts = jnp.array([True, True, False, False])
    grads = jax.jit(jax.value_and_grad(sequences.reverse_kl_policy))
    expected = grads(student, teacher, tokens, counts, drawn)
    for each in (student, teacher, drawn):
        each[2:] = [[np.nan], [np.inf]] if each.ndim > 1 else [np.nan, -np.inf]
    tokens[2:] = -100, 3
    for ours, wanted in zip(grads(student, teacher, tokens, counts, drawn), expected, strict=True):
        np.testing.assert_array_equal(ours, wanted)
    for wrong in (-1, 3):
        tokens[0] = wrong
        loss, gradient = grads(student, teacher, tokens, counts, drawn)
        assert np.isnan(loss)
        assert np.isnan(gradient[0]).all()


LOGITS, TOKENS, COUNTS = jnp.zeros((2, 3, 4)), jnp.zeros((2, 3), int), jnp.ones((2, 3), bool)
WRONG = [
    (lambda: sequences.over_tokens(TOKENS, COUNTS), TypeError, "must be floating"),
    (lambda: sequences.over_tokens(LOGITS[0], COUNTS), ValueError, "counts of shape"),
    (lambda: sequences.over_tokens(LOGITS[:, :, 0], COUNTS * 1), TypeError, "must be bool"),
    (lambda: sequences.over_tokens(LOGITS[:, :, 0], ~COUNTS), ValueError, "hides every token"),
    (
        lambda: sequences.reverse_kl_policy(LOGITS, LOGITS[..., :3], TOKENS, COUNTS),
        ValueError,
        "4 classes and",
    ),
    (
        lambda: sequences.reverse_kl_policy(LOGITS, LOGITS, TOKENS[0], COUNTS),
        ValueError,
        "tokens of",
    ),
    (
        lambda: sequences.reverse_kl_policy(LOGITS, LOGITS, LOGITS[..., 0], COUNTS),
        TypeError,
        "integer",
    ),
    (lambda: sequences.mixed_logits(LOGITS, LOGITS, share=2.0), ValueError, r"share=2.0"),
    (
        lambda: sequences.student_share(jax.random.key(0), TOKENS, TOKENS, share=-1.0),
        ValueError,
        "share=-1.0",
    ),
]


@pytest.mark.parametrize(("called", "error", "message"), WRONG)
def test_wrong_arguments(called, error, message):
    with pytest.raises(error, match=message):
        called()
