"""Generation: with a cache and without one the same tokens, and their probabilities."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import distill

sequences: Any = distill.sequences  # wrong arguments are passed, too
VOCABULARY, WIDTH, ROOM = 5, 8, 9


def initial(seed=7):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = {
        "embedding": (VOCABULARY, WIDTH),
        "qkv": (3, WIDTH, WIDTH),
        "out": (WIDTH, VOCABULARY),
    }
    return {
        name: 0.7 * jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def attended(queries, keys, values, positions):
    scores = jnp.einsum("bqd,bkd->bqk", queries, keys) / WIDTH**0.5
    seen = jnp.arange(keys.shape[1])[None, :] <= positions[:, None]
    weights = jax.nn.softmax(jnp.where(seen[None], scores, -jnp.inf), axis=-1)
    return jnp.einsum("bqk,bkd->bqd", weights, values)


def model(params, tokens):
    """A layer of causal attention, without a cache."""
    x = params["embedding"][tokens]
    q, k, v = (x @ weight for weight in params["qkv"])
    positions = jnp.arange(tokens.shape[1])
    return attended(q, k, v, positions) @ params["out"]


def decoder(params, tokens, cache):
    """The same with a cache of keys and values."""
    x = params["embedding"][tokens]
    q, k, v = (x @ weight for weight in params["qkv"])
    held = [
        jax.lax.dynamic_update_slice_in_dim(old, new, cache["used"], axis=1)
        for old, new in ((cache["k"], k), (cache["v"], v))
    ]
    positions = cache["used"] + jnp.arange(tokens.shape[1])
    logits = attended(q, held[0], held[1], positions) @ params["out"]
    return logits, {"k": held[0], "v": held[1], "used": cache["used"] + tokens.shape[1]}


def empty(batch):
    space = jnp.zeros((batch, ROOM, WIDTH))
    return {"k": space, "v": space, "used": jnp.zeros((), jnp.int32)}


PROMPT = jnp.array([[1, 2, 0], [4, 4, 4]])
PARAMS = initial()


def continued(sample=None, end=None):
    @jax.jit
    def run(params):
        start = decoder(params, PROMPT, empty(2))
        return sequences.generate(decoder, params, start, steps=6, sample=sample, end=end)

    return run(PARAMS)


def by_hand(steps=6):
    """Greedy tokens, the model run anew on all tokens for each of them."""
    tokens = np.zeros((2, ROOM), int)
    tokens[:, :3] = PROMPT
    for at in range(3, 3 + steps):
        tokens[:, at] = np.asarray(jax.jit(model)(PARAMS, tokens))[:, at - 1].argmax(-1)
    return tokens[:, 3:]


def test_greedy_tokens_are_those_of_the_model_run_anew():
    found = continued()
    np.testing.assert_array_equal(found.tokens, by_hand())
    assert found.counts.all()
    assert len(np.unique(found.tokens)) > 2
    whole = jnp.concatenate([PROMPT, found.tokens], axis=1)
    logs = jax.nn.log_softmax(jax.jit(model)(PARAMS, whole))[:, 2:-1]
    expected = np.take_along_axis(np.asarray(logs), np.asarray(found.tokens)[..., None], -1)[..., 0]
    np.testing.assert_allclose(found.log_probabilities, expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_a_cache_gives_the_same():
    slow, nothing = sequences.uncached(model, room=ROOM)
    found = jax.jit(lambda p: sequences.generate(slow, p, slow(p, PROMPT, nothing(2)), steps=6))(
        PARAMS
    )
    np.testing.assert_array_equal(found.tokens, by_hand())


def test_after_the_end_there_is_the_end_alone():
    tokens = by_hand()
    end = int(tokens[0, 1])
    found = continued(end=end)
    for row, counts, whole in zip(
        np.asarray(found.tokens), np.asarray(found.counts), tokens, strict=True
    ):
        length = (list(whole).index(end) if end in whole else len(whole) - 1) + 1
        np.testing.assert_array_equal(row[:length], whole[:length])
        assert (row[length:] == end).all()
        np.testing.assert_array_equal(counts, np.arange(6) < length)


def test_samplers_draw_by_the_probabilities():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    key, steps = jax.random.key(0), jnp.arange(4000)
    expected = {
        sequences.at_temperature(key, 1.0): [0.5, 0.3, 0.15, 0.05],
        sequences.at_temperature(key, 0.5): np.square([0.5, 0.3, 0.15, 0.05]) / 0.365,
        sequences.among_top(key, 2): [0.625, 0.375, 0, 0],
        sequences.among_top(key, 9): [0.5, 0.3, 0.15, 0.05],
        sequences.greedy(): [1, 0, 0, 0],
    }
    for sample, shares in expected.items():
        drawn = jax.jit(jax.vmap(lambda step, sample=sample: sample(step, logits)))(steps)
        found = np.bincount(np.asarray(drawn), minlength=4) / 4000
        # Five standard errors of a share.
        assert np.all(np.abs(found - shares) <= 5 * np.sqrt(np.array(shares) * 0.25 / 1000))


def test_the_key_decides():
    first, again, other = (
        continued(sequences.at_temperature(jax.random.key(seed), 2.0)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.tokens, again.tokens)
    assert (first.tokens != other.tokens).any()


def test_prompts_and_samplers_of_any_integer_dtype():
    slow, nothing = sequences.uncached(model, room=5)

    def sample(step, logits):
        return jnp.argmax(logits, axis=-1).astype(jnp.uint8)

    for dtype in (jnp.int64, jnp.uint8):
        with jax.enable_x64(True):
            start = slow(PARAMS, PROMPT.astype(dtype), nothing(2))
            found = sequences.generate(slow, PARAMS, start, steps=2, sample=sample, end=3)
        assert found.tokens.dtype == jnp.int32
        np.testing.assert_array_equal(found.tokens, by_hand()[:, :2])


def test_no_token_is_written_over_another_where_the_room_ends():
    slow, nothing = sequences.uncached(model, room=4)
    start = slow(PARAMS, PROMPT, nothing(2))
    found = sequences.generate(slow, PARAMS, start, steps=3)
    np.testing.assert_array_equal(found.tokens[:, :2], by_hand()[:, :2])
    assert np.isfinite(found.log_probabilities[:, :2]).all()
    assert np.isnan(found.log_probabilities[:, 2]).all()
    with pytest.raises(ValueError, match=r"uncached\(room=4\) holds no 6 tokens"):
        slow(PARAMS, PROMPT, start[1])
    with pytest.raises(ValueError, match=r"uncached\(room=4\) holds no 6 tokens"):
        jax.jit(slow)(PARAMS, jnp.tile(PROMPT, 2), nothing(2))


START = jnp.zeros((2, 3, VOCABULARY)), empty(2)


def call(**options):
    given = {"decoder": decoder, "params": PARAMS, "start": START, "steps": 1}
    return sequences.generate(**given | options)


WRONG = [
    (lambda: sequences.at_temperature(1.0), TypeError, "key"),
    (lambda: call(start=PROMPT), TypeError, r"must be \(logits, cache\)"),
    (lambda: call(start=(PROMPT, empty(2))), TypeError, "must be floating"),
    (lambda: call(start=(jnp.ones((2, 5)), empty(2))), ValueError, r"shape \(batch, length"),
    (lambda: call(start=(jnp.ones((2, 0, 5)), empty(2))), ValueError, r"shape \(batch, length"),
    (lambda: call(steps=0), ValueError, "steps=0"),
    (lambda: call(sample=sequences.greedy), TypeError, r"^generate\(sample=greedy\)"),
    (lambda: call(end=0.5), ValueError, "end"),
    (lambda: call(end=VOCABULARY), ValueError, r"end=5\) must be a token, below 5"),
    (lambda: call(sample=lambda step, logits: logits), TypeError, "needs integer tokens"),
    (
        lambda: call(sample=lambda step, logits: jnp.zeros((2, 1), int)),
        TypeError,
        r"sample\) gives tokens of shape \(2, 1\), which must be \(2,\)",
    ),
    (lambda: call(decoder=3), TypeError, "decoder=3"),
    (lambda: sequences.at_temperature(jax.random.key(0), 0.0), ValueError, "temperature=0.0"),
    (lambda: sequences.among_top(jax.random.key(0), 0), ValueError, "k=0"),
    (lambda: sequences.uncached(model, room=0), ValueError, "room=0"),
]


@pytest.mark.parametrize(("called", "error", "message"), WRONG)
def test_wrong_arguments(called, error, message):
    with pytest.raises(error, match=message):
        called()
