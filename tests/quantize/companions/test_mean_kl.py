"""Deviations from means at a given divergence, against bisection in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.quantize.companions.mean_kl import SERIES, log_variance, posterior

EXCESS = np.concatenate([[0.0], np.logspace(-12, 3, 400), [SERIES**2 / 2]])


def by_bisection(excess: np.ndarray) -> np.ndarray:
    """The root u <= 0 of exp(u) - 1 - u = excess."""
    low, high = -excess - 1 - np.sqrt(2 * excess), np.zeros_like(excess)
    for _ in range(200):
        middle = (low + high) / 2
        above = np.expm1(middle) - middle > excess
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return high


def test_the_root_is_that_of_bisection():
    found = jax.jit(log_variance)(EXCESS.astype(np.float32))
    expected = by_bisection(np.float64(EXCESS.astype(np.float32)))
    # Below 1e-8 bisection itself loses digits: there the root is -sqrt(2 · excess).
    expected = np.where(EXCESS < 1e-8, -np.sqrt(2 * EXCESS) - EXCESS / 3, expected)
    np.testing.assert_allclose(found, expected, rtol=16 * 2**-23)


def test_the_derivative_is_implicit_and_finite():
    slopes = jax.vmap(jax.grad(log_variance))(EXCESS.astype(np.float32))
    assert np.isfinite(slopes).all()
    inside = EXCESS > 1e-6
    step = 1e-4 * EXCESS[inside]
    moved = by_bisection(EXCESS[inside] + step) - by_bisection(EXCESS[inside] - step)
    np.testing.assert_allclose(slopes[inside], moved / (2 * step), rtol=1e-3)
    assert slopes[0] == 0


def divergence(mean, log_variance) -> np.ndarray:
    """Of normal distributions from N(0, 1), in float64."""
    mean, log_variance = np.float64(mean), np.float64(log_variance)
    return (np.exp(log_variance) + mean**2 - 1 - log_variance) / 2


def test_the_divergence_of_each_weight_is_its_budget():
    random = np.random.default_rng(0)
    free, logits = random.normal(size=(2, 300)).astype(np.float32) * np.array([[2], [3]], "f4")
    block = random.integers(0, 7, 300).astype(np.int32)
    q = jax.jit(posterior, static_argnums=(3, 4))(free, logits, block, 7, 10.0)
    shares = np.exp(np.float64(logits))
    budget = 10 * shares / np.bincount(block, shares)[block]
    np.testing.assert_allclose(divergence(*q), budget, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(np.bincount(block, divergence(*q)), 10.0, rtol=1e-5)
    assert np.all(np.abs(q.mean) <= np.sqrt(2 * budget) * (1 + 1e-5))
    np.testing.assert_allclose(q.mean, np.sqrt(2 * budget) * np.tanh(free), rtol=1e-5)


def test_gradients_are_finite_where_budgets_vanish_and_means_end():
    logits = jnp.array([0.0, -30.0, -200.0, 5.0])
    block = jnp.zeros(4, jnp.int32)

    def drawn(free, logits):
        q = posterior(free, logits, block, 1, 3.0)
        return jnp.sum(q.mean * 2.0 + jnp.exp(q.log_variance / 2))

    for free in (0.0, 1.0, 8.0, 1e4):
        grads = jax.grad(drawn, (0, 1))(jnp.full(4, free), logits)
        assert np.isfinite(np.stack(grads)).all()
