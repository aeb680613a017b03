"""Gradients rounded at random: the formula, the mean, and noise of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.noise import own_key
from jaxcompress.quantize import int8
from jaxcompress.quantize.formats import fp8_e5m2
from jaxcompress.quantize.training import (
    low_precision,
    precision,
    quantized_gradients,
    round_stochastic,
)
from jaxcompress.quantize.training.gradients import rounded_gradient
from tests.inputs import on_device

STEP = jc.Step(0, jax.random.PRNGKey(0))


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def dense(params, x):
    return x @ params["w"]


@pytest.mark.parametrize("bits", [1, 2, 6])
def test_the_formula_of_the_paper(bits):
    g, key, steps = normal(4, 3, 5), jax.random.key(3), 2**bits - 1
    found = jax.jit(rounded_gradient, static_argnums=1)(g, bits, key)
    noise = np.asarray(jax.random.uniform(own_key(key, g), g.shape, jnp.float32, -0.5, 0.5))
    largest = np.abs(g).max(axis=(1, 2), keepdims=True)
    share = np.clip(g / (2 * largest) + 0.5 + noise / steps, 0, 1)
    expected = 2 * largest * (np.rint(share * steps) / steps - 0.5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * largest.max())
    levels = np.unique(np.round((np.asarray(found / largest) + 1) * steps / 2, 4))
    assert set(levels) <= set(range(steps + 1))


def test_rounded_gradients_are_right_in_the_mean():
    g = normal(2, 6)
    keys = jax.random.split(jax.random.key(0), 4000)
    draws = jax.jit(jax.vmap(lambda key: rounded_gradient(g, 2, key)))(keys)
    step = 2 * np.abs(g).max(axis=1, keepdims=True) / 3
    # A draw of two levels deviates by at most half a step: five deviations of the mean.
    assert (np.abs(draws.mean(0) - g) < 5 * step / 2 / np.sqrt(4000) + 1e-6).all()


def test_every_layer_passes_a_rounded_gradient_on():
    params, x = {"in": normal(4, 3), "out": normal(3, 2, seed=1)}, normal(5, 4, seed=2)
    towards = normal(5, 2, seed=3)

    def fn(params, x):
        return x @ params["in"] @ params["out"]

    model = quantized_gradients(fn, jc.Rules({"out": 2}))

    def loss(params, x):
        return jnp.vdot(model(params, x, step=STEP), towards)

    value, (by_params, by_x) = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)
    np.testing.assert_allclose(value, jnp.vdot(fn(params, x), towards), rtol=1e-5)
    # The weight before it sees the same rounded gradient, of four levels for each row.
    by_hidden = jnp.linalg.lstsq(params["in"], by_x.T)[0].T  # (5, 3) = rounded · outᵀ
    rounded = jnp.linalg.lstsq(params["out"], by_hidden.T)[0].T
    largest = np.abs(towards).max(axis=1, keepdims=True)
    places = np.asarray(rounded / largest + 1) * 1.5
    np.testing.assert_allclose(places, np.round(places), atol=1e-3)
    np.testing.assert_allclose(by_params["out"], (x @ params["in"]).T @ rounded, atol=1e-4)
    np.testing.assert_allclose(by_params["in"], x.T @ by_hidden, atol=1e-4)


@pytest.mark.parametrize("levels", [int8().levels, fp8_e5m2().levels], ids=["int8", "e5m2"])
def test_stochastic_rounding_is_right_in_the_mean(levels):
    x = jnp.asarray([0.3, -2.25, 17.2, 1e-6, 126.9, -0.0001, 3.0, 500.0], jnp.float32)
    keys = jax.random.split(jax.random.key(0), 4000)
    draws = np.asarray(jax.jit(jax.vmap(lambda key: round_stochastic(x, levels, key)))(keys))
    inside = np.clip(x, *levels.ends)
    below = jnp.floor(levels.position(jnp.asarray(inside)))
    gap = np.asarray(levels.value(below + 1) - levels.value(below))
    # A draw deviates by at most half of the gap: five deviations of the mean.
    assert (np.abs(draws.mean(0) - inside) <= 5 * gap / 2 / np.sqrt(4000)).all()
    assert all(len(np.unique(column)) <= 2 for column in draws.T)
    assert (draws[:, 6] == 3).all()


def test_turns_of_a_loop_do_not_share_noise():
    xs = jnp.stack([jnp.full(200, 2.25), jnp.full(200, 2.5)])
    ups = jax.lax.map(lambda x: round_stochastic(x, int8().levels, jax.random.key(0)), xs) > 2
    assert (ups[0] & ~ups[1]).any()
    with pytest.raises(TypeError, match=r"round_stochastic\(key=None\) must be one random key"):
        round_stochastic(xs, int8().levels, None)


def test_products_of_random_gradients_are_right_in_the_mean():
    params, x, towards = {"w": normal(6, 4)}, normal(5, 6, seed=1), 1e-3 * normal(5, 4, seed=2)
    model = low_precision(dense, precision(gradients=round_stochastic)).model

    def gradient(params, x, key):
        step = jc.Step(0, key)
        return jax.vjp(lambda p, x: model(p, {}, x, step=step), params, x)[1](towards)

    keys = jax.random.split(jax.random.PRNGKey(1), 500)
    by_params, by_x = jax.jit(jax.vmap(gradient, (None, None, 0)))(params, x, keys)
    assert len(np.unique(by_x[:, 0, 0])) > 2
    exact = jax.vjp(dense, params, x)[1](towards)
    for found, right in zip((by_params["w"], by_x), (exact[0]["w"], exact[1]), strict=True):
        # Within the error of the other operand, 1 / 254 of its largest entry a row.
        np.testing.assert_allclose(found.mean(0), right, rtol=0, atol=0.02 * np.abs(right).max())


def test_a_gradient_that_is_not_finite_stays_so():
    g = normal(3, 4).at[1, 2].set(jnp.nan)
    found = rounded_gradient(g, 4, jax.random.key(0))
    np.testing.assert_array_equal(np.isfinite(found).all(1), [True, False, True])
    assert (rounded_gradient(jnp.zeros((2, 3)), 4, jax.random.key(0)) == 0).all()


def test_errors_name_the_function():
    for bits in (0, 17, 2.5):
        with pytest.raises(ValueError, match=rf"quantized_gradients\(bits={bits}\) must be"):
            quantized_gradients(dense, bits)
    model = quantized_gradients(dense, 4)
    with pytest.raises(ValueError, match=r"quantized_gradients\(step=...\) draws noise"):
        model({"w": jnp.ones((2, 2))}, jnp.ones((1, 2)), step=jc.Step())


def test_a_model_of_one_example_under_vmap_is_rounded_as_one_of_a_batch():
    model = quantized_gradients(lambda params, x: x @ params["w"], bits=1)
    weights, step = jnp.array([[4.0, 1.0, -1.0], [0.5, 2.0, 0.5]]), jc.Step(key=jax.random.key(0))

    def gradient(x, weights):
        return jax.grad(lambda x: jnp.sum(weights * model({"w": jnp.eye(3)}, x, step=step)))(x)

    found = jax.jit(jax.vmap(gradient))(jnp.ones((2, 3)), weights)
    np.testing.assert_array_equal(jnp.abs(found), [[4.0] * 3, [2.0] * 3])
