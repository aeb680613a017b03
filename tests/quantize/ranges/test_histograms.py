"""Ranges of data over batches: counted by the bits of floats, merged exactly."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.grids import covered, grid
from jaxcompress.quantize import formats, int4, int8
from jaxcompress.quantize.ranges import (
    mean_squared_error,
    percentile,
)
from jaxcompress.quantize.ranges.estimator import estimate
from jaxcompress.quantize.ranges.histograms import MOST, bin_of, edge


def heavy(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_t(4, size=shape), jnp.float32)


def state_of(observer, batches):
    state = observer.init(jax.ShapeDtypeStruct(batches[0].shape, batches[0].dtype))
    update = jax.jit(observer.update)
    for x in batches:
        state = update(x, state)
    return state


def reading(observer, batches):
    return jax.jit(observer.read)(state_of(observer, batches))


def equal(one, other):
    for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize("bits", [4, 7])
def test_every_float_is_in_its_bin(bits):
    largest = np.finfo(np.float32).max
    magnitudes = np.array(
        [0.0, 1e-38, 0.1, 1.0, np.nextafter(np.float32(2), 0), 2.0, 3e38, largest]
    )
    x = jnp.asarray(np.concatenate([-magnitudes[:0:-1], magnitudes]), jnp.float32)
    index = bin_of(x, bits)
    assert np.all((index >= 0) & (index < 512 << bits))
    assert np.all(np.diff(index) >= 0)
    begin = index - (256 << bits)
    lower, upper = edge(begin, bits), edge(begin + 1, bits)
    assert np.all((lower <= x) & (x <= upper))
    assert np.all(upper - lower <= np.abs(x) * 2.0**-bits + 1e-37)


@pytest.mark.parametrize("axis", [None, (0, 1)], ids=str)
def test_halves_and_devices_merge_exactly(axis, mesh):
    data = heavy(4, 8, 6)
    observer = mean_squared_error(int8(), axis)
    halves = [state_of(observer, [half]) for half in (data[:2], data[2:])]
    whole = state_of(observer, [data])
    equal(observer.merge(*halves), whole)
    devices = mesh(rows=4)
    spread = jax.device_put(data, NamedSharding(devices, P("rows")))
    equal(jax.jit(lambda x: state_of(observer, [x]))(spread), whole)
    counted = np.sum(whole.counts, axis=-1)
    np.testing.assert_array_equal(counted, np.full(counted.shape, data.size // counted.size))


def test_counts_stand_still_where_they_are_full():
    observer = percentile(int8())
    state = state_of(observer, [jnp.ones(3)])
    full = state._replace(counts=jnp.where(state.counts > 0, MOST - 1, 0))
    merged = observer.merge(observer.merge(full, state), full)
    assert int(jnp.max(merged.counts)) == MOST
    assert int(jnp.min(merged.counts)) == 0


@pytest.mark.parametrize(
    ("spec", "kept"), [(int8(), 0.99), (formats.uint8(), 0.99), (formats.uint8(), 1.0)], ids=str
)
def test_a_percentile_is_within_its_bin(spec, kept):
    data = heavy(4, 500)
    observer = percentile(spec, kept=kept)
    low, high = reading(observer, list(data))
    x = np.abs(data) if spec.odd else np.asarray(data)
    expected = np.quantile(x, kept if spec.odd else (1 + kept) / 2)
    # A bin is 2**-7 of the numbers in it; a gap between two numbers is no error of it.
    gap = np.diff(np.sort(np.ravel(x)))[-20:].max() if kept == 1.0 else 0.02
    np.testing.assert_allclose(high, expected, rtol=2.0**-7, atol=0.0 if kept == 1 else gap)
    assert low == -high if spec.odd else low < 0


def test_an_enormous_outlier_moves_no_percentile():
    data = heavy(2000).at[7].set(-3e38)
    observer = percentile(int8(), kept=0.99)
    assert float(reading(observer, [data]).high) < 10


def error(x, found, spec):
    cover = covered(found, spec)
    on = grid(cover, spec)
    return float(jnp.sum((decode(encode(x, on, spec), on, spec) - x) ** 2))


def test_counts_tell_nearly_what_the_numbers_tell():
    """The error of the range found is that of the best one, up to what bins hide."""
    data, spec = heavy(4, 2000), formats.uint4()
    observer = mean_squared_error(spec)
    found = reading(observer, list(data))
    best = jax.jit(lambda x: estimate(mean_squared_error, x, None, spec))(data)
    flat = data.reshape(-1)
    ends = [jax.tree.map(lambda end: end[None], each) for each in (found, best)]
    assert error(flat, ends[0], spec) <= 1.02 * error(flat, ends[1], spec)


def test_features_and_layers_read_as_each_alone():
    ranges = mean_squared_error
    data = heavy(3, 400, 2) * jnp.array([1.0, 1e-6])[None, None]  # (layers, rows, features)
    observer = ranges(int4(), (0,))
    states = [state_of(observer, [layer]) for layer in data]
    stacked = jax.jit(observer.read)(jax.tree.map(lambda *each: jnp.stack(each), *states))
    assert stacked.high.shape == (3, 1, 2)
    alone = jax.jit(lambda x: estimate(ranges, x, (0,), int4()))(data[1]).high
    # Candidates lie 1 % of the whole range apart, and neighbours cost nearly the same.
    whole = jnp.max(jnp.abs(data[1]), axis=0, keepdims=True)
    np.testing.assert_allclose(stacked.high[1] / whole, alone / whole, atol=0.1)


def test_rounded_batches_read_as_they_are():
    data = heavy(64).astype(jnp.bfloat16)
    observer = partial(percentile, kept=0.9)(int8())
    equal(state_of(observer, [data]), state_of(observer, [data.astype(jnp.float32)]))
