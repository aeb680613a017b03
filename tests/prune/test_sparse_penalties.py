"""Penalties that end in zeros: proximal steps, gates, and noise that drowns weights."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress import prune
from jaxcompress.core.proximal import ProximalState
from jaxcompress.prune.companions import hard_concrete, l0_gates, variational_dropout
from jaxcompress.prune.companions.variational import divergence as fitted_divergence
from jaxcompress.prune.companions.variational import log_noise_ratio, noisy
from jaxcompress.prune.penalties import soft_threshold

EPSILON = float(np.finfo(np.float32).eps)
PAIRS = prune.views.by_magnitude(prune.Target(0.5, prune.patterns.n_of_m(1, 2)))
DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)


def tree(seed):
    random = np.random.default_rng(seed)
    return {
        np.dtype(dtype).name: {
            "kernel": jnp.asarray(random.standard_normal((4, 6)), dtype),
            "bias": jnp.asarray(random.standard_normal(6), dtype),
        }
        for dtype in DTYPES
    }


def shortened(v, by):
    """One entry after the other."""
    return np.array([[math.copysign(max(abs(x) - by, 0), x) for x in row] for row in v])


def larger_of_pairs(v):
    keep = np.zeros(v.shape, bool)
    for column in range(v.shape[1]):
        for row in range(0, v.shape[0], 2):
            keep[row + int(abs(v[row + 1, column]) > abs(v[row, column])), column] = True
    return keep


PROXIMAL = {
    "l1": (prune.penalties.proximal_l1, lambda v, by: shortened(v, by)),
    "trimmed": (
        lambda rate, weight: prune.penalties.proximal_trimmed(rate, weight, PAIRS),
        lambda v, by: np.where(larger_of_pairs(v), v, shortened(v, by)),
    ),
}


@pytest.mark.parametrize("name", PROXIMAL)
def test_a_step_lands_where_the_oracle_says(name):
    proximal, oracle = PROXIMAL[name]
    optimizer = optax.chain(optax.sgd(0.5), proximal(lambda count: 0.5 + 0 * count, 0.75))
    params, grads = tree(0), tree(1)
    state = optimizer.init(params)
    updates, after = jax.jit(optimizer.update)(grads, state, params)
    moved = optax.apply_updates(params, updates)
    assert int(after[-1].count) == 1
    for key, layer in params.items():
        kernel, bias = moved[key]["kernel"], moved[key]["bias"]
        assert kernel.dtype == layer["kernel"].dtype
        step = np.asarray(-0.5 * grads[key]["kernel"], "f8")
        expected = oracle(np.asarray(layer["kernel"], "f8") + step, 0.375)
        # Rounded as an update and as a param; all numbers are below 4.
        atol = 4 * float(jnp.finfo(kernel.dtype).eps)
        np.testing.assert_allclose(np.asarray(kernel, "f8"), expected, rtol=0, atol=atol)
        zeros = expected == 0
        assert zeros.sum() > 2
        assert not np.any(np.asarray(kernel)[zeros])
        np.testing.assert_array_equal(
            bias, optax.apply_updates(layer["bias"], -0.5 * grads[key]["bias"])
        )


def test_the_soft_threshold_is_the_least_of_its_definition():
    x, grid = np.linspace(-2, 2, 9), np.linspace(-3, 3, 6001)
    for threshold in (0.0, 0.3, 5.0):
        best = [grid[np.argmin((grid - each) ** 2 / 2 + threshold * np.abs(grid))] for each in x]
        # Half a step of the grid.
        np.testing.assert_allclose(soft_threshold(jnp.asarray(x, "f4"), threshold), best, atol=6e-4)


def test_the_trimmed_step_is_the_least_of_its_definition():
    """Over a grid of pairs, whose penalty is the smaller magnitude of the two."""
    grid = np.linspace(-3, 3, 301)
    first, second = np.meshgrid(grid, grid, indexing="ij")
    for pair in ((1.0, 0.3), (-1.0, 0.9), (0.2, -2.0), (-0.1, 0.05)):
        cost = ((first - pair[0]) ** 2 + (second - pair[1]) ** 2) / 2
        cost += 0.4 * np.minimum(abs(first), abs(second))
        least = np.unravel_index(np.argmin(cost), cost.shape)
        optimizer = prune.penalties.proximal_trimmed(1.0, 0.4, PAIRS)
        params = {"kernel": jnp.array([[pair[0]], [pair[1]]])}
        updates, _ = optimizer.update({"kernel": jnp.zeros((2, 1))}, optimizer.init(params), params)
        landed = optax.apply_updates(params, updates)["kernel"][:, 0]
        np.testing.assert_allclose(landed, [grid[least[0]], grid[least[1]]], atol=0.0101)


def test_pairs_come_to_hold_and_the_larger_are_untouched():
    optimizer = prune.penalties.proximal_trimmed(0.5, 0.5, PAIRS)
    params = {"kernel": tree(2)["float32"]["kernel"]}
    larger = larger_of_pairs(np.asarray(params["kernel"]))
    zero, start = jax.tree.map(jnp.zeros_like, params), params
    state = optimizer.init(params)
    for _ in range(12):
        updates, state = optimizer.update(zero, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(params["kernel"], np.where(larger, start["kernel"], 0))


def test_gates_multiply_their_weights_and_are_counted():
    params = {"kernel": jnp.full((3, 4), 2.0), "shared": jnp.ones((5, 2)), "bias": jnp.ones(4)}
    log_alphas = {
        "kernel": jnp.linspace(-4.0, 4.0, 12).reshape(3, 4),
        "shared": jnp.array([[-3.0, 0.5]]),
    }
    technique, step = l0_gates(), jc.Step(key=jax.random.key(0))
    shown, slopes = jax.jit(
        lambda params, log_alphas: (
            technique.view(params, log_alphas, step),
            jax.grad(lambda each: jnp.sum(technique.view(params, each, step)["kernel"]))(
                log_alphas
            ),
        )
    )(params, log_alphas)
    draws = np.asarray(shown["kernel"]) / 2
    assert {0.0, 1.0} < set(draws.ravel().tolist())
    np.testing.assert_array_equal(slopes["kernel"] != 0, (draws > 0) & (draws < 1))
    np.testing.assert_array_equal(shown["shared"], np.repeat(shown["shared"][:1], 5, axis=0))
    np.testing.assert_array_equal(shown["bias"], params["bias"])
    still = technique.freeze(params, log_alphas)
    np.testing.assert_array_equal(still["kernel"], 2 * hard_concrete.at_test(log_alphas["kernel"]))
    chances = {
        name: 1 / (1 + np.exp(-(np.asarray(each, "f8") + 2 / 3 * math.log(11))))
        for name, each in log_alphas.items()
    }
    expected = chances["kernel"].sum() + 5 * chances["shared"].sum()
    np.testing.assert_allclose(technique.penalty(params, log_alphas), expected, rtol=20 * EPSILON)


@pytest.mark.parametrize("opening", [0.1, 0.5, 0.9])
def test_gates_begin_as_open_as_asked(opening):
    params = {"kernel": jnp.ones((2, 3), jnp.bfloat16), "bias": jnp.ones(3)}
    technique = l0_gates(opening)
    opened = technique.init(params)
    assert list(opened) == ["kernel"]
    np.testing.assert_allclose(technique.penalty(params, opened), 6 * opening, rtol=20 * EPSILON)


def divergence(log_alpha):
    """E log |1 + sqrt(alpha) n| - log(alpha) / 2 up to a constant, 0 for large alpha.

    (1 + sqrt(alpha) n)² / alpha has the chi-squared distribution of one degree of
    freedom, not centred: a mixture of 1 + 2j degrees with Poisson weights of mean
    1 / (2 alpha); the mean of its logarithm is that of log 2 + digamma(1/2 + j).
    """
    mean = math.exp(-log_alpha) / 2
    digamma, poisson, total = -0.5772156649015329 - 2 * math.log(2), math.exp(-mean), 0.0
    for j in range(400):
        total += poisson * (math.log(2) + digamma)
        digamma += 1 / (0.5 + j)
        poisson *= mean / (j + 1)
    return total / 2 + (0.5772156649015329 + math.log(2)) / 2


def test_the_divergence_is_that_of_the_distributions():
    for log_alpha in (-5.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0):
        fitted = 0.63576 / (1 + math.exp(1.87320 + 1.48695 * log_alpha))
        fitted += math.log1p(math.exp(-log_alpha)) / 2
        loss = fitted_divergence(jnp.array([log_alpha, log_alpha]))
        np.testing.assert_allclose(loss, 2 * fitted, rtol=16 * EPSILON)
        # The fit is known to be this good.
        assert abs(fitted - divergence(log_alpha)) < 0.01


def test_noise_has_its_mean_its_variance_and_its_ratio():
    mean, log_variance = jnp.full((1, 4000), 0.5), jnp.full((1, 4000), -2.0)
    draw = noisy(mean, log_variance, jax.random.key(0))
    deviation = math.exp(-1)
    # Four standard errors.
    assert abs(float(jnp.mean(draw)) - 0.5) < 4 * deviation / 4000**0.5
    assert abs(float(jnp.std(draw)) / deviation - 1) < 4 / 8000**0.5
    slope = jax.grad(lambda mean: jnp.sum(noisy(mean, log_variance, jax.random.key(0))))
    assert bool(jnp.all(slope(mean) == 1))
    ratio = log_noise_ratio(jnp.array([0.5, 0.0], jnp.bfloat16), jnp.array([-2.0, -2.0]))
    np.testing.assert_allclose(ratio, [-2 - math.log(0.25), -2 - math.log(1e-16)], rtol=1e-6)


def test_what_the_noise_drowns_is_removed_and_the_penalty_adds_up_all_leaves():
    technique = variational_dropout(threshold=2.0)
    params = {"a": jnp.array([[1.0, 0.01]]), "b": jnp.array([[0.1], [3.0]], jnp.bfloat16)}
    learned = {"a": jnp.array([[-5.0, -5.0]]), "b": jnp.array([[-1.0], [-1.0]])}
    shipped = technique.freeze(params, learned)
    np.testing.assert_array_equal(shipped["a"], [[1.0, 0.0]])
    np.testing.assert_array_equal(shipped["b"], jnp.array([[0.0], [3.0]], jnp.bfloat16))
    ratios = [log_noise_ratio(params[name], learned[name]) for name in params]
    expected = sum(float(fitted_divergence(each)) for each in ratios)
    np.testing.assert_allclose(technique.penalty(params, learned), expected, rtol=16 * EPSILON)


KERNEL = {"kernel": jnp.ones((2, 2))}
REFUSED = {
    "l1 weight": (
        lambda: prune.penalties.proximal_l1(0.1, -1.0),
        "proximal_l1(weight=-1.0) must be",
    ),
    "trimmed weight": (
        lambda: prune.penalties.proximal_trimmed(0.1, -1.0, PAIRS),
        "proximal_trimmed(weight=-1.0) must be",
    ),
    "nothing": (
        lambda: prune.penalties.proximal_l1(0.1, 1.0).init({"bias": jnp.ones(2)}),
        "proximal_l1(select=...) selects no leaf. Leaves are: bias.",
    ),
    "params": (
        lambda: prune.penalties.proximal_l1(0.1, 1.0).update(KERNEL, ProximalState(0)),
        "proximal_l1(...).update(updates, state, params) needs the params.",
    ),
    "opening": (lambda: l0_gates(1.0), "l0_gates(opening=1.0) must be in"),
    "closed": (lambda: l0_gates(0.0), "l0_gates(opening=0.0) must be above 0"),
    "no leaf": (
        lambda: l0_gates().freeze(KERNEL, {"head": jnp.ones(2)}),
        "l0_gates(companions=...): there is no leaf 'head'. Leaves are: kernel.",
    ),
    "shape": (
        lambda: l0_gates().penalty(KERNEL, {"kernel": jnp.ones((3, 2))}),
        "l0_gates(companions=...): what stands beside leaf 'kernel' has shape (3, 2)",
    ),
    "no key": (
        lambda: l0_gates().view(KERNEL, l0_gates().init(KERNEL)),
        "l0_gates(step=...) draws noise and was given no key. Pass Step(count, key)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
