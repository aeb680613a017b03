"""Weights that stay within bounds, and units within a norm, after every step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxcompress as jc
from jaxcompress import optimizers

DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def stepped(transform, params, updates) -> Any:
    """Params after one update, as optax applies it."""

    @jax.jit
    def step(params, updates):
        updates, _ = transform.update(updates, transform.init(params), params)
        return optax.apply_updates(params, updates)

    return step(params, updates)


def normal(seed, shape, dtype, scale=1.0):
    return (scale * jax.random.normal(jax.random.key(seed), shape)).astype(dtype)


@each_dtype
@pytest.mark.parametrize("bounds", [(-0.3, 1.0), (0.01, 0.7)])
def test_no_weight_lies_outside(dtype, bounds):
    params, updates = normal(0, (512, 64), dtype), normal(1, (512, 64), dtype, 2.0)
    after = np.asarray(stepped(optimizers.clip_weights(*bounds), params, updates), np.float64)
    assert after.min() >= np.float32(bounds[0])
    assert after.max() <= np.float32(bounds[1])
    reached = np.asarray(optax.apply_updates(params, updates), np.float64)
    inside = (reached > bounds[0]) & (reached < bounds[1])
    np.testing.assert_array_equal(after[inside], reached[inside])
    # A sum is at best the bound, and at worst one rounding of the difference inside it.
    expected = np.clip(reached, *bounds)
    size = np.abs(np.asarray(params, np.float64)) + max(map(abs, bounds))
    coarse = 0 if dtype == jnp.float32 else jnp.finfo(dtype).eps * np.abs(expected)
    assert np.all(np.abs(after - expected) <= 2 * np.finfo(np.float32).eps * size + coarse)


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_narrow_weights_land_on_the_bound(dtype):
    params, updates = normal(0, (256, 64), dtype), normal(1, (256, 64), jnp.float32, 9.0)
    after = stepped(optimizers.clip_weights(-1.0, 1.0), params, updates)
    reached: Any = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(after, jnp.clip(reached, -1, 1))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-8, 8, width=32),
    st.floats(-8, 8, width=32),
    st.floats(-4, 4, width=32),
    st.floats(0.125, 4, width=32),
)
def test_any_weight_any_update_any_bounds(weight, update, low, width):
    high = np.float32(low + width)
    params, updates = jnp.full((1, 1), weight), jnp.full((1, 1), update)
    ends = jnp.float32(low), jnp.float32(high)
    after = _clipped(params, updates, *ends)
    assert low <= after.item() <= high


@jax.jit
def _clipped(params, updates, low, high):
    transform = optimizers.clip_weights(low, high)
    updates, _ = transform.update(updates, optax.EmptyState(), params)
    return optax.apply_updates(params, updates)


def limited(weights, limit):
    """Columns no longer than the limit, one after another."""
    result = np.asarray(weights, np.float64)
    for column in range(result.shape[1]):
        length = np.sqrt(sum(value**2 for value in result[:, column]))
        result[:, column] *= min(1.0, limit / length) if length else 1.0
    return result


@each_dtype
@pytest.mark.parametrize("limit", [0.0, 2.0, 3.0])
def test_no_unit_is_longer_than_the_limit(dtype, limit):
    params, updates = normal(0, (6, 40), dtype), normal(1, (6, 40), dtype)
    after = np.asarray(stepped(optimizers.max_norm(limit), params, updates), np.float64)
    reached = np.asarray(optax.apply_updates(params, updates), np.float64)
    norms = np.sqrt(np.square(after).sum(0))
    # A norm of 6 numbers in float32: 6 squares, 5 sums, a root, a quotient, a product.
    assert np.all(norms <= limit * (1 + 8 * np.finfo(np.float32).eps))
    within = np.sqrt(np.square(reached).sum(0)) < limit * (1 - 1e-6)
    np.testing.assert_array_equal(after[:, within], reached[:, within])
    # The update that is added has the last bit of the larger of param and target.
    wide = 4 * np.finfo(np.float32).eps * (np.abs(reached) + np.abs(np.asarray(params, float)))
    tolerance = jnp.finfo(dtype).eps * np.abs(reached) + wide
    assert np.all(np.abs(after - limited(reached, limit)) <= tolerance)
    assert within.any() != (limit == 0)


def test_units_follow_the_axes_and_the_selector():
    def fn(params, x):
        return jnp.einsum("bi,oi->bo", x, params["transposed"]) + params["bias"][None]

    params: Any = {"transposed": jnp.array([[3.0, 4.0], [0.5, 0.0]]), "bias": jnp.array([9.0, 0.0])}
    axes = jc.graph.axes(fn, params, jnp.ones((1, 2)))
    still = jax.tree.map(jnp.zeros_like, params)
    after = stepped(optimizers.max_norm(2.5, axes=axes), params, still)
    np.testing.assert_array_equal(after["transposed"], [[1.5, 2.0], [0.5, 0.0]])
    np.testing.assert_array_equal(after["bias"], [9.0, 0.0])
    everything = optimizers.max_norm(3.0, axes=axes, select=jc.matching("bias"))
    after = stepped(everything, params, still)
    np.testing.assert_array_equal(after["transposed"], params["transposed"])
    np.testing.assert_array_equal(after["bias"], [3.0, 0.0])


@pytest.mark.parametrize("transform", [optimizers.clip_weights(-1, 1), optimizers.max_norm(1.0)])
def test_what_is_not_finite_is_not_hidden(transform):
    params = jnp.array([[0.5, 0.5], [0.5, 0.5]])
    after = stepped(transform, params, jnp.array([[jnp.nan, 0.0], [0.0, 0.0]]))
    assert np.isnan(after[0, 0])
    assert np.isfinite(after[:, 1]).all()


def test_it_composes_with_pruning_and_schedules_of_the_bound():
    constraint = optax.inject_hyperparams(optimizers.max_norm)(
        limit=optax.linear_schedule(2.0, 1.0, 4)
    )
    optimizer = jc.prune.prune(
        optax.chain(optimizers.adam(0.5), constraint), jc.prune.criteria.magnitude(), 0.5
    )
    params: Any = {"kernel": normal(0, (8, 4), jnp.float32)}
    state = optimizer.init(params)
    for _ in range(6):
        updates, state = jax.jit(optimizer.update)(params, state, params)
        params = optax.apply_updates(params, updates)
    norms = jnp.linalg.norm(params["kernel"], axis=0)
    assert (params["kernel"] == 0).sum() == 16
    assert norms.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.clip_weights(1.0, -1.0), r"^clip_weights\(low=1.0, high=-1.0\) needs"),
        (lambda: optimizers.clip_weights(0, 0), "needs low below high"),
        (lambda: optimizers.clip_weights(-np.inf, 1), r"^clip_weights\(low=-inf\) must be"),
        (lambda: optimizers.max_norm(-1.0), r"^max_norm\(limit=-1.0\) must be"),
    ],
)
def test_bad_bounds(call, message):
    with pytest.raises(ValueError, match=message):
        call()
