"""Hard-concrete gates against the formulas, and their chances against draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.prune.companions import hard_concrete as gates

LOG_ALPHA = np.array([-30.0, -4.0, -1.0, -0.2, 0.0, 0.7, 2.0, 5.0, 30.0], np.float32)
EPSILON = float(np.finfo(np.float32).eps)
DTYPES = [jnp.float32, jnp.bfloat16, jnp.float16]
FUNCTIONS = {
    "sample": lambda x: gates.sample(x, jax.random.key(1)),
    "at_test": gates.at_test,
    "open_probability": gates.open_probability,
}


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def test_the_constants_of_the_paper():
    assert (gates.TEMPERATURE, gates.LOW, gates.HIGH) == (2 / 3, -0.1, 1.1)


def test_at_test_is_the_stretched_sigmoid():
    expected = np.clip(sigmoid(LOG_ALPHA) * 1.2 - 0.1, 0, 1)
    np.testing.assert_allclose(gates.at_test(jnp.asarray(LOG_ALPHA)), expected, atol=4 * EPSILON)
    assert gates.at_test(jnp.array([-2.4, 2.4])).tolist() == [0.0, 1.0]


def test_open_probability_by_formula():
    expected = sigmoid(LOG_ALPHA - 2 / 3 * np.log(0.1 / 1.1))
    # The logit rounds at a size of up to 32; a chance moves by a quarter of that.
    actual = gates.open_probability(jnp.asarray(LOG_ALPHA))
    np.testing.assert_allclose(actual, expected, atol=16 * EPSILON)


def test_draws_are_the_formula_of_their_noise(key):
    log_alpha = jnp.asarray(LOG_ALPHA)
    noise = np.asarray(jax.random.logistic(key, log_alpha.shape), np.float64)
    expected = np.clip(sigmoid((noise + LOG_ALPHA) / (2 / 3)) * 1.2 - 0.1, 0, 1)
    np.testing.assert_allclose(gates.sample(log_alpha, key), expected, atol=64 * EPSILON)


DRAWS = 20_000
FIVE_SIGMA = 5 * 0.5 / DRAWS**0.5


def test_the_penalty_is_the_chance_of_a_draw_that_is_not_zero(key):
    log_alpha = jnp.asarray(LOG_ALPHA)
    draws = gates.sample(jnp.broadcast_to(log_alpha, (DRAWS, len(LOG_ALPHA))), key)
    share = np.mean(np.asarray(draws) != 0, axis=0)
    np.testing.assert_allclose(share, gates.open_probability(log_alpha), rtol=0, atol=FIVE_SIGMA)
    # Some are exactly 0 and some exactly 1, for gates that are not decided.
    middle = np.asarray(draws)[:, 4]
    assert 0 < np.mean(middle == 0) < 1
    assert 0 < np.mean(middle == 1) < 1


def test_the_penalty_counts_the_weights_behind_each_gate():
    log_alpha = jnp.array([0.0, 1.0])
    chances = gates.open_probability(log_alpha)
    np.testing.assert_allclose(gates.penalty(log_alpha), jnp.sum(chances), rtol=2 * EPSILON)
    sizes = np.array([10, 3])
    np.testing.assert_allclose(
        gates.penalty(log_alpha, sizes), 10 * chances[0] + 3 * chances[1], rtol=4 * EPSILON
    )
    assert gates.penalty(log_alpha).shape == ()
    assert jnp.all(jax.grad(gates.penalty)(log_alpha) > 0)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_finite_with_gradients_in_every_dtype(name, dtype):
    largest = float(jnp.finfo(jnp.float16).max)
    log_alpha = jnp.asarray([-largest, *LOG_ALPHA, largest], dtype)
    function = FUNCTIONS[name]
    value = function(log_alpha)
    assert value.dtype == (jnp.float32 if name == "open_probability" else dtype)
    assert value.shape == log_alpha.shape
    assert bool(jnp.all((value >= 0) & (value <= 1)))
    grads = jax.grad(lambda x: jnp.sum(function(x).astype(jnp.float32)))(log_alpha)
    assert grads.dtype == dtype
    assert bool(jnp.all(jnp.isfinite(grads)))
    assert bool(jnp.all(grads >= 0))


def test_a_gate_per_unit_broadcasts(key):
    kernel = jnp.ones((3, 2))
    gated = kernel * gates.at_test(jnp.array([-9.0, 9.0]))[None]
    np.testing.assert_array_equal(gated, [[0, 1]] * 3)
    same = gates.sample(jnp.zeros(4), key)
    np.testing.assert_array_equal(same, gates.sample(jnp.zeros(4), key))
