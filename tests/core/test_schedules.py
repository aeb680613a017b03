"""Schedules against plain Python, eager, traced and scanned."""

import itertools
import re

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.schedules import cubic, cyclic, every

EPSILON = np.finfo(np.float32).eps


def cubic_by_hand(step, initial, final, begin, end):
    progress = min(max((step - begin) / (end - begin), 0.0), 1.0)
    return final + (initial - final) * (1 - progress) ** 3


@pytest.mark.parametrize(
    ("initial", "final", "begin", "end"),
    [(0.0, 0.9, 0, 10), (0.3, 0.8, 5, 25), (0.9, 0.1, 2, 3), (0.5, 0.5, 0, 4), (0.0, 1.0, 7, 1000)],
)
def test_cubic_against_its_formula(initial, final, begin, end):
    steps = jnp.arange(0, end + 5)
    values = jax.jit(jax.vmap(cubic(initial, final, begin=begin, end=end)))(steps)
    expected = [cubic_by_hand(int(step), initial, final, begin, end) for step in steps]
    # A division, a difference, a cube and a sum of numbers up to 1, each rounded once.
    np.testing.assert_allclose(values, expected, rtol=0, atol=8 * EPSILON)
    assert values.dtype == jnp.float32
    assert np.all(values >= min(initial, final) - EPSILON)
    assert np.all(values <= max(initial, final) + EPSILON)
    assert np.all((values >= 0) & (values <= 1))


def test_cubic_ends_exactly():
    for final in (0.1, 0.8, 0.9, 1.0):
        schedule = cubic(0.0, final, begin=0, end=3)
        for step in (3, 4, 2**31 - 1):
            assert float(schedule(step)) == np.float32(final)
        assert float(cubic(final, 0.0, begin=2, end=3)(0)) == np.float32(final)


def test_cubic_never_turns_back():
    values = jax.vmap(cubic(0.1, 0.9, begin=3, end=50))(jnp.arange(60))
    assert np.all(np.diff(values) >= 0)
    assert np.all(np.diff(values[3:51], 2) <= 2 * EPSILON)


def every_by_hand(step, steps, begin, end):
    counts = itertools.count(begin, steps) if end is None else range(begin, end + 1, steps)
    return step == end or step in itertools.takewhile(lambda count: count <= step, counts)


@hypothesis.given(
    steps=st.integers(1, 7),
    begin=st.integers(0, 9),
    length=st.one_of(st.none(), st.integers(0, 20)),
)
def test_every_against_a_loop(steps, begin, length):
    end = None if length is None else begin + length
    when = every(steps, begin=begin, end=end)
    happens = np.asarray(jax.vmap(when)(jnp.arange(40)))
    assert happens.dtype == bool
    expected = [every_by_hand(step, steps, begin, end) for step in range(40)]
    np.testing.assert_array_equal(happens, expected)


def cyclic_by_hand(sparsity, dense, sparse, begin, end, steps):
    phases = itertools.cycle([sparsity] * sparse + [0.0] * dense)
    return [
        sparsity if step >= end else next(phases) if step >= begin else 0.0 for step in range(steps)
    ]


@pytest.mark.parametrize(
    ("dense", "sparse", "begin", "end"), [(2, 3, 4, 19), (1, 1, 0, 6), (5, 2, 3, 3), (4, 4, 2, 12)]
)
def test_cyclic_against_a_loop(dense, sparse, begin, end):
    schedule = cyclic(0.9, dense=dense, sparse=sparse, begin=begin, end=end)
    values = jax.vmap(schedule)(jnp.arange(30))
    assert values.dtype == jnp.float32
    expected = cyclic_by_hand(0.9, dense, sparse, begin, end, steps=30)
    np.testing.assert_array_equal(values, np.float32(expected))


@pytest.mark.parametrize(
    "schedule",
    [cubic(0.0, 0.9, begin=2, end=8), cyclic(0.5, dense=2, sparse=1, begin=1, end=7), every(3)],
)
def test_one_trace_serves_every_step(schedule):
    traces = []

    def traced(count):
        traces.append(count)
        return schedule(count)

    jitted = jax.jit(traced)
    eager = [schedule(step) for step in range(10)]
    for step, value in enumerate(eager):
        assert jitted(jnp.int32(step)).shape == ()
        np.testing.assert_allclose(jitted(jnp.int32(step)), value, rtol=0, atol=8 * EPSILON)
    assert len(traces) == 1


def test_schedules_run_in_a_scan():
    schedule, when = cubic(0.0, 0.9, begin=0, end=4), every(2)

    def step(count, _):
        return count + 1, (schedule(count), when(count))

    _, (values, happens) = jax.lax.scan(step, jnp.int32(0), length=5)
    np.testing.assert_allclose(values[-1], 0.9, rtol=EPSILON)
    np.testing.assert_array_equal(happens, [True, False, True, False, True])


NAN, INFINITY = float("nan"), float("inf")
SHARE = [-0.1, 1.2, NAN, INFINITY]
BELOW_ONE = [0, -1, 2.5, -3.5, 2.0, NAN, INFINITY, True]
BELOW_ZERO = [-1, 2.5, -3.5, 2.0, NAN, INFINITY, True]

REFUSED = [
    (cubic, {"initial": 0.0, "final": 0.5, "begin": 0, "end": 4}, "initial", SHARE),
    (cubic, {"initial": 0.0, "final": 0.5, "begin": 0, "end": 4}, "final", SHARE),
    (cubic, {"initial": 0.0, "final": 0.5, "begin": 0, "end": 4}, "begin", BELOW_ZERO),
    (cubic, {"initial": 0.0, "final": 0.5, "begin": 0, "end": 4}, "end", BELOW_ONE),
    (cyclic, {"sparsity": 0.5, "dense": 1, "sparse": 1, "end": 4}, "sparsity", SHARE),
    (cyclic, {"sparsity": 0.5, "dense": 1, "sparse": 1, "end": 4}, "dense", BELOW_ONE),
    (cyclic, {"sparsity": 0.5, "dense": 1, "sparse": 1, "end": 4}, "sparse", BELOW_ONE),
    (cyclic, {"sparsity": 0.5, "dense": 1, "sparse": 1, "end": 4}, "begin", BELOW_ZERO),
    (cyclic, {"sparsity": 0.5, "dense": 1, "sparse": 1, "end": 4}, "end", BELOW_ZERO),
    (every, {"steps": 2}, "steps", BELOW_ONE),
    (every, {"steps": 2}, "begin", BELOW_ZERO),
    (every, {"steps": 2}, "end", BELOW_ZERO),
]


@pytest.mark.parametrize(
    ("schedule", "options", "argument", "wrong"),
    REFUSED,
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
)
def test_wrong_numbers_are_refused(schedule, options, argument, wrong):
    for value in wrong:
        message = re.escape(f"{schedule.__name__}({argument}={value}) must be ")
        with pytest.raises(ValueError, match=message):
            schedule(**options | {argument: value})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: cubic(0.0, 0.5, begin=3, end=3),
            "cubic(begin=3, end=3) must satisfy 0 <= begin <",
        ),
        (
            lambda: cyclic(0.5, dense=1, sparse=1, begin=4, end=3),
            "cyclic(begin=4, end=3) must satisfy 0 <= begin <= end",
        ),
        (lambda: every(2, begin=5, end=4), "every(begin=5, end=4) must satisfy 0 <= begin <= end"),
    ],
)
def test_an_end_before_its_begin_is_refused(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        wrong()


def test_numpy_integers_are_counts():
    when = every(np.int64(3), begin=np.uint8(1), end=np.int32(5))
    assert [step for step in range(8) if when(step)] == [1, 4, 5]
