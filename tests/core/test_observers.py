"""Observers: one row each with its oracle over all batches, and what all share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.observers import Observer, Range, covariance, second_moment
from jaxcompress.quantize import int8
from jaxcompress.quantize.ranges import min_max, moving_average
from tests.quantize.ranges.test_ranges import RANGES

SHAPE = (2, 5, 3)  # batch, rows, contracting
EPSILON = float(np.finfo(np.float32).eps)


def moving_average_by_hand(batches, decay, axis=None):
    low = high = weight = 0.0
    for batch in batches:
        low = decay * low + (1 - decay) * batch.min(axis, keepdims=axis is not None)
        high = decay * high + (1 - decay) * batch.max(axis, keepdims=axis is not None)
        weight = decay * weight + (1 - decay)
    return [low / weight, high / weight]


def largest_by_row(batches):
    largest = np.abs(batches).max(axis=(0, -1))[..., None]
    return [-largest, largest]


class Case(NamedTuple):
    name: str
    observer: Observer
    oracle: Callable[[list[np.ndarray]], list]
    """Batches, float64, to what `read` gives, leaf by leaf."""
    merges_exactly: bool
    """Merging the states of two halves reads as one pass over both."""


CASES = [
    Case(
        "min_max",
        min_max(),
        lambda batches: [np.min(batches), np.max(batches)],
        merges_exactly=True,
    ),
    Case(
        "min_max of each feature",
        min_max(None, (0, 1)),
        lambda batches: [each(batches, axis=(0, 1, 2))[None, None] for each in (np.min, np.max)],
        merges_exactly=True,
    ),
    Case("min_max of rows, odd", min_max(int8(), (-1,)), largest_by_row, merges_exactly=True),
    Case(
        "moving_average",
        moving_average(decay=0.8),
        lambda batches: moving_average_by_hand(batches, 0.8),
        merges_exactly=False,
    ),
    Case(
        "moving_average of the last",
        moving_average(decay=0.0),
        lambda batches: [batches[-1].min(), batches[-1].max()],
        merges_exactly=False,
    ),
    Case(
        "moving_average of rows",
        moving_average(None, (-1,), decay=0.8),
        lambda batches: moving_average_by_hand(batches, 0.8, axis=-1),
        merges_exactly=False,
    ),
    Case(
        "second_moment",
        second_moment(),
        lambda batches: [np.mean(np.concatenate(batches, axis=1) ** 2, axis=1)],
        merges_exactly=True,
    ),
    Case(
        "covariance",
        covariance(),
        lambda batches: [
            np.mean([np.einsum("bri,brj->bij", x, x) / x.shape[1] for x in batches], axis=0)
        ],
        merges_exactly=True,
    ),
]
# Range estimators have a table of their own; here they keep what every observer keeps.
ESTIMATORS = [
    Case(f"{row.name} as of weights", row.ranges(int8(), (-1,)), lambda batches: [], False)
    for row in RANGES
]
with_oracle = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_observer = pytest.mark.parametrize("case", CASES + ESTIMATORS, ids=lambda case: case.name)


def batches(count: int = 4, dtype=jnp.float32) -> list[jax.Array]:
    random = np.random.default_rng(0)
    return [jnp.asarray((i + 1) * random.standard_normal(SHAPE) + i, dtype) for i in range(count)]


def state_after(observer: Observer, data: list[jax.Array]):
    state = observer.init(jax.ShapeDtypeStruct(data[0].shape, data[0].dtype))
    for x in data:
        state = observer.update(x, state)
    return state


def assert_reads(observer: Observer, state, expected: list):
    # Sums of at most 20 float32 terms of one sign each round by at most their count.
    for actual, wanted in zip(jax.tree.leaves(observer.read(state)), expected, strict=True):
        assert (actual.dtype, actual.shape) == (jnp.float32, np.shape(wanted))
        np.testing.assert_allclose(actual, wanted, rtol=20 * EPSILON)


@with_oracle
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=str)
def test_against_numpy(case, dtype):
    data = batches(dtype=dtype)
    expected = case.oracle([np.asarray(x, np.float64) for x in data])
    assert_reads(case.observer, state_after(case.observer, data), expected)


@every_observer
def test_the_state_keeps_its_shape_and_dtype(case):
    x = batches()[0]
    before = case.observer.init(jax.ShapeDtypeStruct(x.shape, x.dtype))
    after = case.observer.update(x, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for first, second in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (first.shape, first.dtype) == (second.shape, second.dtype)


@every_observer
def test_a_scan_over_batches_gives_the_state_of_a_loop(case):
    data = batches()
    start = case.observer.init(jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    scanned, _ = jax.jit(
        lambda data: jax.lax.scan(
            lambda state, x: (case.observer.update(x, state), None), start, data
        )
    )(jnp.stack(data))
    looped = state_after(case.observer, data)
    for first, second in zip(jax.tree.leaves(scanned), jax.tree.leaves(looped), strict=True):
        np.testing.assert_allclose(first, second, rtol=20 * EPSILON)


@every_observer
def test_merging_is_associative_and_keeps_the_form(case):
    states = [state_after(case.observer, [x]) for x in batches(3)]
    merge = case.observer.merge
    left = merge(merge(states[0], states[1]), states[2])
    right = merge(states[0], merge(states[1], states[2]))
    assert jax.tree.structure(left) == jax.tree.structure(states[0])
    for first, second in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(first, second, rtol=4 * EPSILON)


@every_observer
def test_a_fresh_state_changes_nothing_when_merged(case):
    state = state_after(case.observer, batches())
    fresh = case.observer.init(jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    for merged in (case.observer.merge(state, fresh), case.observer.merge(fresh, state)):
        for first, second in zip(jax.tree.leaves(merged), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.merges_exactly], ids=lambda case: case.name
)
def test_shards_read_as_the_whole(case):
    data = batches()
    halves = [state_after(case.observer, half) for half in (data[:2], data[2:])]
    expected = case.oracle([np.asarray(x, np.float64) for x in data])
    assert_reads(case.observer, case.observer.merge(*halves), expected)


def test_two_shards_of_a_moving_average_count_alike():
    observer = moving_average(decay=0.8)
    low, high = (state_after(observer, [jnp.full(SHAPE, value)] * 3) for value in (1.0, 3.0))
    assert_reads(observer, observer.merge(low, high), [2.0, 2.0])


@pytest.mark.parametrize("observer", [min_max(), moving_average(), second_moment(), covariance()])
def test_no_rows_change_no_reading(observer):
    data = batches(1)
    state = state_after(observer, data)
    more = observer.update(data[0][:, :0], state)
    before, after = (jax.tree.leaves(observer.read(each)) for each in (state, more))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@every_observer
def test_stacked_layers_are_observed_by_vmap(case):
    data = jnp.stack(batches(3))
    start = case.observer.init(jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    states = jax.vmap(case.observer.update, in_axes=(0, None))(data, start)
    alone = [case.observer.update(x, start) for x in data]
    for first, second in zip(
        jax.tree.leaves(states),
        jax.tree.leaves(jax.tree.map(lambda *x: jnp.stack(x), *alone)),
        strict=True,
    ):
        np.testing.assert_allclose(first, second, rtol=4 * EPSILON)


@every_observer
def test_a_stack_of_states_reads_as_each_alone(case):
    states = [state_after(case.observer, [x]) for x in batches(2)]
    read = jax.jit(case.observer.read)
    stacked = read(jax.tree.map(lambda *x: jnp.stack(x), *states))
    for i, state in enumerate(states):
        alone = jax.tree.leaves(read(state))
        for first, second in zip(jax.tree.leaves(stacked), alone, strict=True):
            np.testing.assert_array_equal(first[i], second)


def test_before_any_data():
    struct = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    read = [observer.read(observer.init(struct)) for observer in (min_max(), moving_average())]
    assert read == [Range(jnp.array(jnp.inf), jnp.array(-jnp.inf))] * 2
    np.testing.assert_array_equal(
        second_moment().read(second_moment().init(struct)), np.zeros((2, 3))
    )


def test_second_moment_keeps_counting_past_float16():
    observer = second_moment()
    x = jnp.full((1, 3000, 1), 10.0, jnp.float16)
    assert_reads(observer, state_after(observer, [x]), [[[100.0]]])


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_wrong_decay_is_refused(decay):
    with pytest.raises(ValueError, match=rf"moving_average\(decay={decay}\) must be in \[0, 1\)"):
        moving_average(decay=decay)
