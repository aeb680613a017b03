"""The random order of examples: a bijection, uniform, and the same for a traced n."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.train.steps.order import _shuffled

FIRST, SECOND = jax.random.split(jax.random.key(0))


@functools.cache
def of_traced_size(most):
    return jax.jit(lambda key, n: _shuffled(key, jnp.minimum(jnp.arange(most), n - 1), n))


@pytest.mark.parametrize("most", [70, 5000])
def test_every_place_has_another_entry(most):
    # Powers of two and their neighbours are where the table of cells changes shape.
    sizes = range(1, most + 1) if most < 100 else (4095, 4096, 4097, most)
    for n in sizes:
        found = np.asarray(of_traced_size(most)(FIRST, n))[:n]
        assert sorted(found) == list(range(n)), n


def test_all_orders_of_few_are_equally_likely():
    # Five in a table of eight: the walk is at its longest.
    keys = jax.random.split(FIRST, 24_000)
    found = jax.jit(jax.vmap(lambda key: _shuffled(key, jnp.arange(5), jnp.int32(5))))(keys)
    names = np.asarray(found) @ 5 ** np.arange(5)
    counts = [np.sum(names == order @ 5 ** np.arange(5)) for order in _orders(5)]
    statistic = np.sum((np.array(counts) - 200.0) ** 2 / 200)
    assert sum(counts) == 24_000
    assert statistic < 119 + 4 * np.sqrt(2 * 119)  # chi-square: mean 119, variance 238


def test_neighbours_are_met_apart():
    # The mean of |difference| of two entries of a random order of n is (n + 1) / 3.
    n = 10_000
    found = np.asarray(jc.train.steps.shuffled(FIRST, jnp.arange(n), n=n))
    for lag in (1, 64, 100):
        gaps = np.abs(np.diff(found[::lag])).astype(float)
        assert abs(gaps.mean() - (n + 1) / 3) < 4 * n / np.sqrt(18 * gaps.size)
    assert abs(np.mean(found[: n // 2] < n // 2) - 0.5) < 4 * 0.5 / np.sqrt(n)


@functools.partial(jax.jit, static_argnames=("n", "batch_size"))
def order(key, steps, n=10, batch_size=3):
    return jc.train.steps.order(key, steps, n=n, batch_size=batch_size)


def test_an_epoch_meets_each_example_at_most_once_and_epochs_differ():
    found = order(FIRST, jnp.arange(6)).reshape(2, 9)
    assert all(len(set(epoch)) == 9 for epoch in found.tolist())
    assert found[0].tolist() != found[1].tolist()
    assert not np.array_equal(found, order(SECOND, jnp.arange(6)))


def test_steps_and_a_traced_size_change_no_order():
    whole = order(FIRST, jnp.arange(8))
    late = order(FIRST, jnp.array([5, 7]))
    np.testing.assert_array_equal(late, whole[jnp.array([5, 7])])
    traced = jax.jit(lambda n: jc.train.steps.order(FIRST, jnp.arange(8), n=n, batch_size=3))
    np.testing.assert_array_equal(traced(10), whole)
    assert np.asarray(traced(2)).max() < 2


def test_fewer_examples_than_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"order\(n=2, batch_size=3\) needs n >= batch_size"):
        jc.train.steps.order(FIRST, jnp.arange(2), n=2, batch_size=3)


def test_an_accelerator_can_run_it():
    traced = jax.jit(lambda key: jc.train.steps.order(key, jnp.arange(4), n=10, batch_size=2))
    for platform in ("tpu", "cuda"):
        assert traced.trace(FIRST).lower(lowering_platforms=(platform,)).as_text()


def _orders(n):
    return map(np.array, itertools.permutations(range(n)))
