"""Canaries and their exposure: enumerations, laws, and a model that learnt one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxcompress.validate.privacy import (
    exposure,
    extrapolated_exposure,
    insert_canaries,
    log_perplexities,
    random_canaries,
    sampled_exposure,
)

VOCABULARY = 6


def bigram(params, tokens):
    """A table of logits by the token before."""
    return params[tokens]


@pytest.fixture
def table(key):
    return jax.random.normal(key, (VOCABULARY, VOCABULARY))


def test_canaries_are_different_and_repeat_by_seed():
    canaries = random_canaries([4, 5], range(4), 3, count=60, seed=3)
    again = random_canaries([4, 5], range(4), 3, count=60, seed=3)
    assert canaries.candidates == 64
    assert len(np.unique(canaries.tokens, axis=0)) == 60
    np.testing.assert_array_equal(canaries.tokens, again.tokens)
    np.testing.assert_array_equal(canaries.tokens[:, :2], [[4, 5]] * 60)
    other = random_canaries([4, 5], range(4), 3, count=60, seed=4)
    assert (other.tokens != canaries.tokens).any()


def test_few_candidates_are_enumerated_and_many_are_drawn():
    canaries = random_canaries([9], [3, 7], 3, count=1)
    every = canaries.candidate_tokens(8)
    assert len(np.unique(every, axis=0)) == 8
    assert set(every[:, 1:].ravel()) == {3, 7}
    assert canaries.candidate_tokens(5, seed=1).shape == (5, 4)


def test_canaries_are_not_ranked_among_themselves(table):
    """By one seed, from few enough candidates that some are drawn again."""
    canaries = random_canaries([5], range(5), 4, count=20, seed=7)
    drawn = canaries.candidate_tokens(130, seed=7)
    assert not np.array_equal(drawn[:20], canaries.tokens)
    known = (drawn[:, None] == canaries.tokens).all(-1).any(1)
    assert known.any()
    found = exposure(bigram, table, canaries, samples=110, seed=7)
    others = log_perplexities(bigram, table, drawn[~known][:110], start=1)
    own = log_perplexities(bigram, table, canaries.tokens, start=1)
    np.testing.assert_allclose(found.sampled, sampled_exposure(own, others), atol=1e-3)


def test_a_text_with_canaries_is_the_text_and_the_canaries():
    text = np.arange(100, 160)
    canaries = random_canaries([9], range(5), 4, count=3)
    found = insert_canaries(text, canaries, [0, 1, 3], seed=5)
    assert found.dtype == text.dtype
    np.testing.assert_array_equal(found[found >= 100], text)
    inserted = found[found < 100].reshape(4, 5)
    rows = sorted(map(tuple, inserted))
    assert rows == sorted([tuple(canaries.tokens[1]), *[tuple(canaries.tokens[2])] * 3])
    np.testing.assert_array_equal(found, insert_canaries(text, canaries, [0, 1, 3], seed=5))


def test_log_perplexities_are_those_of_a_loop(table):
    tokens = np.random.default_rng(0).integers(VOCABULARY, size=(5, 4))
    chances = np.asarray(jax.nn.softmax(table.astype(jnp.float32)), np.float64)
    expected = [-sum(np.log2(chances[row[t - 1], row[t]]) for t in range(2, 4)) for row in tokens]
    found = log_perplexities(bigram, table, tokens, start=2, batch_size=2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("wrong", [-1, VOCABULARY, 2**32])
def test_a_token_outside_the_vocabulary_is_refused(table, wrong):
    tokens = np.zeros((3, 4), np.int64)
    tokens[1, 2] = wrong
    with pytest.raises(
        ValueError, match=rf"log_perplexities\(tokens\): label {wrong} of example 1"
    ):
        log_perplexities(bigram, table, tokens, start=1)


def test_exposure_by_rank_is_that_of_an_enumeration(table):
    canaries = random_canaries([5], range(5), 3, count=4)  # 125 candidates
    found = exposure(bigram, table, canaries, samples=200)
    every = canaries.candidate_tokens(125)
    bits = log_perplexities(bigram, table, every, start=1)
    own = log_perplexities(bigram, table, canaries.tokens, start=1)
    # A bigram model has few ties: sequences that share all pairs in another order.
    for index, value in enumerate(own):
        lower = int((bits < value - 1e-4).sum())
        equal = int((np.abs(bits - value) <= 1e-4).sum()) - 1
        low, high = np.log2(125) - np.log2([1 + lower + equal, 1 + lower])
        assert low - 1e-6 <= found.sampled[index] <= high + 1e-6
    assert found.samples == 125
    assert found.limit == pytest.approx(np.log2(125))
    assert found.to_json()["samples"] == 125


def test_a_model_without_preference_gives_one_bit():
    canaries = random_canaries([5], range(5), 3, count=3)
    found = exposure(bigram, jnp.zeros((6, 6)), canaries)
    np.testing.assert_allclose(found.sampled, np.log2(125 / 63))  # the middle rank
    np.testing.assert_array_equal(found.extrapolated, found.sampled)
    with pytest.raises(ValueError, match="not all equal"):
        exposure(bigram, jnp.zeros((6, 6)), canaries, samples=100)
    np.testing.assert_allclose(sampled_exposure([1.0], np.ones(999)), np.log2(1000 / 500.5))


def test_a_canary_that_was_never_inserted_has_the_exposure_of_chance():
    rng = np.random.default_rng(0)
    values, samples = rng.normal(size=400), rng.normal(size=4000)
    # -log2 of a uniform number: mean and deviation 1 / log 2.
    error = 4 / np.log(2) / np.sqrt(400)
    assert abs(sampled_exposure(values, samples).mean() - 1 / np.log(2)) <= error
    assert abs(extrapolated_exposure(values, samples).mean() - 1 / np.log(2)) <= error


def test_extrapolation_finds_the_tail_of_a_skew_normal():
    true = stats.skewnorm(2.0, 40.0, 5.0)
    samples = true.rvs(20_000, random_state=np.random.default_rng(0))
    values = true.ppf([0.3, 1e-2, 1e-6])
    found = extrapolated_exposure(values, samples)
    np.testing.assert_allclose(found, -np.log2([0.3, 1e-2, 1e-6]), rtol=0.1)
    assert np.all(extrapolated_exposure(values, samples, limit=3.0) <= 3)
    # Where samples reach, both say the same: 4 deviations of a count of 200 of 20 000.
    ranked = sampled_exposure(values[1:2], samples)
    assert abs(ranked[0] - found[1]) <= 4 / np.sqrt(200) / np.log(2) + 0.1


def test_what_a_model_learnt_by_heart_is_exposed(table):
    """A bigram table fitted to text in which one canary is repeated."""
    canaries = random_canaries([5], range(5), 4, count=2, seed=1)
    text = np.random.default_rng(0).integers(5, size=2000)
    seen = insert_canaries(text, canaries, [300, 0])

    def loss(params):
        logits = params[seen[:-1]]
        return optax.softmax_cross_entropy_with_integer_labels(logits, seen[1:]).mean()

    @jax.jit
    def fitted(params):
        return jax.lax.fori_loop(0, 60, lambda _, p: p - 20 * jax.grad(loss)(p), params)

    found = exposure(bigram, fitted(jnp.zeros((6, 6))), canaries, samples=625)
    assert found.sampled[0] > 6 > found.sampled[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix": []}, "is empty"),
        ({"alphabet": [1]}, "at least two tokens"),
        ({"alphabet": [1, 1]}, "none twice"),
        ({"alphabet": [0.5, 1.5]}, r"random_canaries\(alphabet\) must be a list of tokens"),
        ({"prefix": [-1]}, r"random_canaries\(prefix\) must be a list of tokens"),
        ({"count": 9}, r"count=9\) is more than the 2 \*\* 3"),
        ({"length": 0}, r"length=0\) must be at least 1"),
    ],
)
def test_impossible_canaries_are_refused(change, message):
    given = {"prefix": [0], "alphabet": [1, 2], "length": 3, "count": 2} | change
    with pytest.raises(ValueError, match=message):
        random_canaries(**given)


@pytest.mark.parametrize(
    ("tokens", "repetitions", "message"),
    [
        (np.zeros((2, 2), int), [1, 1], "one row of integers"),
        (np.zeros(3), [1, 1], "one row of integers"),
        (np.zeros(3, int), [1], "for each of 2 canaries"),
        (np.zeros(3, int), [1, -1], "at least 0"),
        (np.zeros(3, int), [1, 0.5], "needs an integer"),
    ],
)
def test_impossible_insertions_are_refused(tokens, repetitions, message):
    canaries = random_canaries([0], [1, 2], 3, count=2)
    with pytest.raises(ValueError, match=message):
        insert_canaries(tokens, canaries, repetitions)


def test_what_is_no_sequence_model_is_refused(table):
    canaries = random_canaries([5], range(5), 3, count=2)
    with pytest.raises(TypeError, match=r"must give \(n, length, vocabulary\)"):
        exposure(lambda params, tokens: params[0], table, canaries)
    with pytest.raises(ValueError, match=r"not finite\. Check the model's logits"):
        exposure(bigram, jnp.full((6, 6), jnp.nan), canaries)
    with pytest.raises(ValueError, match=r"start=3\) must be below the length, 3"):
        log_perplexities(bigram, table, np.zeros((2, 3), int), start=3)
    with pytest.raises(ValueError, match="it takes 100"):
        extrapolated_exposure([0.0], np.arange(99.0))
