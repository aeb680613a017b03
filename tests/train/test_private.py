"""Private steps: a NumPy loop, optax's aggregator, and what one example can do."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcompress.train import SubsampledGaussian, private_fit, private_gradient

N = 7


def mechanism(**change) -> SubsampledGaussian:
    """Every example, no noise, a sum that is not divided, unless changed."""
    given = {
        "clip": 1.0,
        "noise_multiplier": 0.0,
        "batch_size": 1,
        "population": 1,
        "steps": 1,
        "microbatch": 3,
    }
    return SubsampledGaussian(**given | change)


def net_loss(params, example):
    x, y = example
    hidden = jnp.tanh(x @ params["kernel"] + params["bias"])
    return (hidden @ params["out"] - y) ** 2


@pytest.fixture
def net(key):
    kernel, out, x, y = jax.random.split(key, 4)
    params = {
        "kernel": jax.random.normal(kernel, (4, 5)),
        "bias": jnp.zeros(5),
        "out": jax.random.normal(out, (5,)),
    }
    return params, (2 * jax.random.normal(x, (N, 4)), jax.random.normal(y, (N,)))


@functools.cache
def step(loss, **change):
    return jax.jit(private_gradient(loss, mechanism(**change)))


def summed(loss, params, examples, weights, **change):
    return step(loss, **change)(params, examples, weights, jax.random.key(1))


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def example_gradients(params, examples):
    """(n, parameters), in the order of `flat`."""
    gradients = jax.jit(jax.vmap(jax.grad(net_loss), (None, 0)))(params, examples)
    return np.concatenate([leaf.reshape(N, -1) for leaf in jax.tree.leaves(gradients)], 1)


@pytest.mark.parametrize("microbatch", [1, 3, 64])
def test_the_sum_is_that_of_a_loop(net, microbatch):
    params, examples = net
    weights = np.array([1, 0, 1, 1, 0, 1, 1], np.float32)
    gradients = example_gradients(params, examples)
    norms = np.linalg.norm(gradients, axis=1)
    clip = float(np.median(norms))  # clips some
    expected = sum(gradients[i] * min(1, clip / norms[i]) for i in range(N) if weights[i])
    found = summed(net_loss, params, examples, weights, clip=clip, microbatch=microbatch)
    np.testing.assert_allclose(flat(found), expected, atol=N * clip * 1e-6)


def test_the_sum_is_that_of_optaxs_aggregator(net):
    """Which divides by the rows that it sees, and we by the batch size."""
    params, examples = net
    with jax.numpy_dtype_promotion("standard"):
        aggregate = optax.contrib.differentially_private_aggregate(0.7, 0.0, key=0)
        gradients = jax.vmap(jax.grad(net_loss), (None, 0))(params, examples)
        expected, _ = aggregate.update(gradients, aggregate.init(params))
    found = summed(net_loss, params, examples, jnp.ones(N), clip=0.7, batch_size=3, population=3)
    np.testing.assert_allclose(flat(found) * 3, flat(expected) * N, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [1.0, -1e3, 1e18, math.inf, math.nan])
def test_one_example_moves_the_sum_by_at_most_the_clipping_norm(net, value):
    params, (x, y) = net
    x = x.at[2].multiply(value)
    with_it = summed(net_loss, params, (x, y), jnp.ones(N), clip=0.5)
    without = summed(net_loss, params, (x, y), jnp.ones(N).at[2].set(0), clip=0.5)
    # Sums of N vectors no longer than 0.5, in float32.
    assert np.linalg.norm(flat(with_it) - flat(without)) <= 0.5 + N * 0.5 * 1e-6


def test_a_row_of_weight_0_gives_nothing_at_all(net):
    params, (x, y) = net
    weights = jnp.ones(N).at[2].set(0)
    plain = summed(net_loss, params, (x, y), weights)
    for value in (0.0, 1e30, math.nan):
        other = summed(net_loss, params, (x.at[2].set(value), y.at[2].set(value)), weights)
        np.testing.assert_array_equal(flat(other), flat(plain))
    nothing = summed(net_loss, params, (x, y), jnp.zeros(N))
    np.testing.assert_array_equal(flat(nothing), 0)


def one_hot_sums(keys, n, **change):
    """Which of n examples were chosen: each one's gradient is a unit vector."""
    gradient = private_gradient(lambda w, row: w @ row, mechanism(**change))
    return jax.jit(jax.vmap(lambda key: gradient(jnp.zeros(n), jnp.eye(n), jnp.ones(n), key)))(keys)


def test_examples_take_part_by_coins_of_their_own():
    draws, n, q = 2000, 12, 0.25
    chosen = one_hot_sums(jax.random.split(jax.random.key(0), draws), n, batch_size=1, population=4)
    assert set(np.unique(chosen)) == {0.0, 1.0}
    error = 4 * math.sqrt(q * (1 - q) / draws)
    np.testing.assert_allclose(np.mean(chosen, 0), q, atol=error)
    # Independent: correlations of a sample are of size 1 / sqrt(draws).
    correlations = np.corrcoef(np.asarray(chosen).T) - np.eye(n)
    assert np.abs(correlations).max() <= 5 / math.sqrt(draws)
    sizes = np.sum(chosen, 1)
    assert sizes.max() >= 7  # no largest batch: P[Binomial(12, 1/4) >= 7] is 1.4 %
    spread = n * q * (1 - q)
    assert abs(np.var(sizes) - spread) <= 4 * spread * math.sqrt(2 / draws)


def test_noise_has_its_spread_and_does_not_repeat():
    n, draws = 50, 40
    gradient = private_gradient(
        lambda p, row: p["a"].sum() + p["b"].sum() + row,
        mechanism(clip=2.0, noise_multiplier=1.5, batch_size=4, population=8),
    )
    params = {"a": jnp.zeros(n), "b": jnp.zeros(n, jnp.bfloat16)}
    run = jax.jit(jax.vmap(lambda key: gradient(params, jnp.ones(3), jnp.zeros(3), key)))
    noise = run(jax.random.split(jax.random.key(0), draws))
    assert noise["b"].dtype == jnp.bfloat16
    a, b = np.ravel(noise["a"]), np.ravel(noise["b"]).astype(np.float32)
    spread = 2.0 * 1.5 / 4
    for each in (a, b):  # bfloat16 rounds by up to 2^-9, which the second term covers
        error = 4 * spread / math.sqrt(2 * n * draws) + spread * 2**-9
        assert abs(np.std(each) - spread) <= error
    assert abs(np.corrcoef(a, b)[0, 1]) <= 5 / math.sqrt(n * draws)


def test_shadows_in_one_program_equal_separate_runs(net):
    _, examples = net
    fit = private_fit(
        net_loss,
        lambda key: {
            "kernel": jax.random.normal(key, (4, 5)),
            "bias": jnp.zeros(5),
            "out": jnp.ones(5),
        },
        optax.sgd(0.05, momentum=0.9),
        mechanism(noise_multiplier=0.3, batch_size=3, population=N, steps=4),
    )
    keys = jax.random.split(jax.random.key(3), 3)
    weights = jnp.array([[1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1], [1] * 7], jnp.float32)
    together = jax.jit(jax.vmap(fit, in_axes=(None, 0, 0)))(examples, weights, keys)
    alone = jax.jit(fit)
    for index in range(3):
        expected = alone(examples, weights[index], keys[index])
        shadow = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        np.testing.assert_allclose(flat(shadow), flat(expected), rtol=1e-5, atol=1e-5)


def test_it_learns():
    x = jnp.linspace(-1, 1, 64)
    fit = private_fit(
        lambda w, example: (w[0] * example[0] + w[1] - example[1]) ** 2,
        lambda key: jnp.zeros(2),
        optax.adam(0.1),
        mechanism(noise_multiplier=0.5, batch_size=32, population=64, steps=150),
    )
    w = jax.jit(fit)((x, 2 * x - 1), jnp.ones(64), jax.random.key(0))
    # The noise of a gradient is 1 · 0.5 / 32, far below the steps of 0.1.
    np.testing.assert_allclose(w, [2, -1], atol=0.2)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_it_lowers_for_accelerators(net, platform):
    params, examples = net
    gradient = private_gradient(net_loss, mechanism(noise_multiplier=1.0))
    lowered = jax.jit(gradient).trace(params, examples, jnp.ones(N), jax.random.key(0))
    text = lowered.lower(lowering_platforms=(platform,)).as_text()
    # The clipped sums are exact in float32 also where matrix units round to bfloat16.
    assert "HIGHEST" in text


def test_the_mechanism_says_what_an_account_needs():
    each = SubsampledGaussian(1.0, 1.3, 250, 60_000, 3600)
    assert each.sampling_probability == 250 / 60_000
    assert each.to_json()["sampling_probability"] == 250 / 60_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": 0.0}, r"SubsampledGaussian\(clip=0.0\) must be"),
        ({"noise_multiplier": -1.0}, r"noise_multiplier=-1.0\) must be"),
        ({"steps": 0}, r"steps=0\) must be at least 1"),
        ({"batch_size": 2}, r"batch_size=2, population=1\) needs batch_size <= population"),
    ],
)
def test_impossible_mechanisms_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        mechanism(**change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weights": jnp.ones(6)}, ValueError, r"one row per weight, at least one"),
        ({"examples": jnp.ones((0, 2)), "weights": jnp.ones(0)}, ValueError, "at least one"),
        ({"examples": ()}, ValueError, r"examples=...\) holds no array"),
        ({"params": {"w": jnp.ones(2, int)}}, TypeError, "Train real floating leaves"),
        ({"key": 0}, TypeError, "must be one random key"),
    ],
)
def test_what_cannot_be_stepped_is_refused(change, error, message):
    gradient = private_gradient(lambda params, x: jnp.sum(params["w"] * x), mechanism())
    given = {
        "params": {"w": jnp.ones(2)},
        "examples": jnp.ones((5, 2)),
        "weights": jnp.ones(5),
        "key": jax.random.key(0),
    }
    with pytest.raises(error, match=message):
        gradient(*(given | change).values())


def test_a_recipe_names_what_init_gives_that_is_no_array():
    fit = private_fit(
        lambda params, x: jnp.sum(params["w"] * x),
        lambda key: {"w": jnp.zeros(2), "activation": jnp.tanh},
        optax.adam(0.1),  # whose state is made of the params first
        mechanism(),
    )
    rows, weights = jnp.ones((4, 2)), jnp.ones(4)
    with pytest.raises(TypeError, match=r"private_fit\(params=...\): leaf 'activation'"):
        fit(rows, weights, jax.random.key(0))
    with pytest.raises(TypeError, match=r"private_fit\(key=0\)"):
        fit(rows, weights, 0)
