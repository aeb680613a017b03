"""Laws that every output loss keeps, and each loss against a plain NumPy loop."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcompress import distill

EPS = float(np.finfo(np.float32).eps)
LARGEST = 8.0
CLASSES = 5


def log_softmax(row, temperature=1.0):
    row = np.asarray(row, np.float64) / temperature
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


def divergence(student, teacher, temperature):
    """T² · KL, one class after another."""
    p, q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    return temperature**2 * sum(np.exp(a) * (a - b) for a, b in zip(p, q, strict=True))


def divergence_gradient(student, teacher, temperature):
    q, p = np.exp(log_softmax(student, temperature)), np.exp(log_softmax(teacher, temperature))
    return temperature * (q - p)


def cross_entropy(logits, label):
    return -log_softmax(logits)[label]


def cross_entropy_gradient(logits, label):
    return np.exp(log_softmax(logits)) - np.eye(len(logits))[label]


def rounding(temperature, largest=LARGEST):
    """Most error of T² · sum p · (log p - log q) in float32.

    A log probability is at most `size` and about four roundings off, so p is off by as
    much relative to itself, times a log ratio of `size`; the sum rounds once a class.
    """
    size = 2 * largest / temperature + np.log(CLASSES)
    return temperature**2 * EPS * size * (8 + 4 * size + CLASSES)


class Case(NamedTuple):
    name: str
    loss: Callable
    second: str  # what the second argument is: logits or labels
    oracle: Callable
    gradient: Callable
    temperature: float

    @property
    def tolerance(self):
        return rounding(self.temperature)


def soft(temperature):
    return Case(
        f"soft_targets at {temperature}",
        partial(distill.outputs.soft_targets, temperature=temperature),
        "logits",
        partial(divergence, temperature=temperature),
        partial(divergence_gradient, temperature=temperature),
        temperature,
    )


LOSSES = [
    soft(1.0),
    soft(0.5),
    soft(4),
    soft(20.0),
    Case(
        "hard_targets",
        distill.outputs.hard_targets,
        "labels",
        cross_entropy,
        cross_entropy_gradient,
        1.0,
    ),
]
each = pytest.mark.parametrize("case", LOSSES, ids=[case.name for case in LOSSES])
each_soft = pytest.mark.parametrize("case", LOSSES[:4], ids=[case.name for case in LOSSES[:4]])


def arguments(case, shape=(6,), seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    logits = rng.uniform(-LARGEST, LARGEST, (*shape, CLASSES)).astype(dtype)
    other = rng.uniform(-LARGEST, LARGEST, (*shape, CLASSES)).astype(dtype)
    return logits, other if case.second == "logits" else rng.integers(0, CLASSES, shape)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_equals_the_loop(case, dtype):
    first, second = arguments(case, dtype=dtype)
    expected = [case.oracle(one, other) for one, other in zip(first, second, strict=True)]
    result = case.loss(first, second)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=case.tolerance)


@each
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3)])
def test_gives_one_number_per_example(case, shape):
    first, second = arguments(case, shape)
    result = case.loss(first, second)
    assert result.shape == shape
    if shape == (2, 3):
        rows = case.loss(first.reshape(6, CLASSES), second.reshape(6, *second.shape[2:]))
        np.testing.assert_allclose(result.reshape(6), rows, rtol=0, atol=case.tolerance)


@each
def test_gradient_is_the_closed_form(case):
    first, second = arguments(case)
    gradient = jax.grad(lambda logits: case.loss(logits, second).sum())(first)
    expected = [case.gradient(one, other) for one, other in zip(first, second, strict=True)]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=case.tolerance)


@each
@pytest.mark.parametrize("shift", [-64.0, 64.0])
def test_adding_a_constant_to_the_logits_changes_nothing(case, shift):
    first, second = arguments(case)
    first = np.round(first * 16) / 16  # so that the shift itself does not round
    np.testing.assert_allclose(
        case.loss(first + np.float32(shift), second),
        case.loss(first, second),
        rtol=0,
        atol=rounding(case.temperature, LARGEST + abs(shift)),
    )


@each
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_stays_finite_at_huge_logits(case, dtype):
    huge = 60000.0 if dtype == jnp.float16 else 1e30
    logits = jnp.array([[huge, -huge, 0, 1, 2], [0, 0, huge, huge, -huge]], dtype)
    second = -logits if case.second == "logits" else jnp.array([1, 4])
    value, gradient = jax.value_and_grad(lambda logits: case.loss(logits, second).sum())(logits)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
    assert gradient.dtype == dtype


@each
def test_works_under_jit_vmap_and_strict_promotion(case):
    first, second = arguments(case)
    expected = case.loss(first, second)
    with jax.numpy_dtype_promotion("strict"):
        for transformed in (jax.jit(case.loss), jax.vmap(case.loss)):
            np.testing.assert_allclose(
                transformed(first, second), expected, rtol=0, atol=case.tolerance
            )


@each_soft
@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_is_exactly_zero_at_equality(case, dtype):
    logits, _ = arguments(case, dtype=dtype)
    np.testing.assert_array_equal(case.loss(logits, logits), np.zeros(6))


@each_soft
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([1e-6, 1e-3, 1.0]))
def test_is_never_below_zero_by_more_than_rounding(case, seed, spread):
    logits, other = arguments(case, seed=seed)
    assert case.loss(logits, logits + np.float32(spread) * other / LARGEST).min() >= -case.tolerance


@each_soft
def test_no_gradient_reaches_the_teacher(case):
    student, teacher = arguments(case)
    gradient = jax.grad(lambda logits: case.loss(student, logits).sum())(teacher)
    np.testing.assert_array_equal(gradient, np.zeros_like(teacher))


@each_soft
def test_a_class_ruled_out_by_the_teacher_adds_nothing(case):
    student, teacher = arguments(case)
    teacher[:, 2] = -np.inf
    masked = np.where(np.arange(CLASSES) == 2, -np.inf, student).astype(np.float32)
    kept = [0, 1, 3, 4]
    expected = case.loss(student[:, kept], teacher[:, kept])
    value, gradient = jax.value_and_grad(lambda logits: case.loss(logits, teacher).sum())(masked)
    np.testing.assert_allclose(value, expected.sum(), rtol=0, atol=6 * case.tolerance)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[:, 2], 0)


def test_the_cross_entropy_is_least_at_the_label():
    logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]] * 3))
    result = distill.outputs.hard_targets(logits, jnp.arange(3))
    np.testing.assert_allclose(result, -np.log([0.7, 0.2, 0.1]), rtol=8 * EPS)


def test_at_high_temperature_it_matches_centred_logits():
    """Section 2.1 of the paper: T² · KL -> |centred difference|² / (2 · classes)."""
    student, teacher = arguments(LOSSES[0])
    difference = (student - student.mean(1, keepdims=True)) - (
        teacher - teacher.mean(1, keepdims=True)
    )
    expected = (difference**2).sum(axis=1) / (2 * CLASSES)
    temperature = 200.0
    result = distill.outputs.soft_targets(student, teacher, temperature=temperature)
    # The next term of the series is smaller by about the spread of the logits over T.
    rtol = 4 * LARGEST / temperature
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=rounding(temperature))


def test_a_temperature_may_be_traced():
    student, teacher = arguments(LOSSES[0])
    scheduled = jax.jit(
        lambda value: distill.outputs.soft_targets(student, teacher, temperature=value)
    )
    np.testing.assert_allclose(
        scheduled(jnp.float32(4)),
        distill.outputs.soft_targets(student, teacher, temperature=4.0),
        rtol=0,
        atol=rounding(4),
    )


@pytest.mark.parametrize("weight", [0, 0.25, 1.0])
def test_mix_by_hand(weight):
    hard, soft = np.array([1.0, 2.0], np.float32), np.array([3.0, 8.0], np.float32)
    result = distill.mix(hard, soft, weight=weight)
    np.testing.assert_array_equal(result, (1 - weight) * hard + weight * soft)
    assert result.dtype == jnp.float32
    traced = jax.jit(lambda value: distill.mix(hard, soft, weight=value))(jnp.float32(weight))
    np.testing.assert_array_equal(traced, result)


def test_mix_computes_in_float32():
    hard, soft = jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        assert distill.mix(hard, soft, weight=0.1).dtype == jnp.float32


LOGITS = jnp.zeros((2, 3))
INTEGERS = jnp.zeros((2, 3), jnp.int32)
REFUSED = [
    (
        lambda: distill.outputs.soft_targets(INTEGERS, LOGITS),
        TypeError,
        r"soft_targets\(student_logits of dtype int32\) must be floating",
    ),
    (
        lambda: distill.outputs.soft_targets(LOGITS, INTEGERS),
        TypeError,
        r"soft_targets\(teacher_logits of dtype int32\)",
    ),
    (
        lambda: distill.outputs.soft_targets(LOGITS, LOGITS[:1]),
        ValueError,
        r"student_logits of shape \(2, 3\), teacher_logits of shape \(1, 3\)\): .* equal",
    ),
    (
        lambda: distill.outputs.soft_targets(LOGITS[:, :0], LOGITS[:, :0]),
        ValueError,
        r"\(student_logits of shape \(2, 0\)\) needs the shape \(..., classes\)",
    ),
    (
        lambda: distill.outputs.soft_targets(LOGITS[0, 0], LOGITS[0, 0]),
        ValueError,
        r"\(student_logits of shape \(\)\)",
    ),
    *(
        (
            lambda value=value: distill.outputs.soft_targets(LOGITS, LOGITS, temperature=value),
            ValueError,
            rf"soft_targets\(temperature={value}\) must be above 0, and finite",
        )
        for value in (0, -1.0, np.inf, np.nan)
    ),
    (
        lambda: distill.outputs.hard_targets(INTEGERS, jnp.array([0, 1])),
        TypeError,
        r"hard_targets\(logits of dtype int32\)",
    ),
    (
        lambda: distill.outputs.hard_targets(LOGITS, jnp.zeros(2)),
        TypeError,
        r"hard_targets\(labels of dtype float32\) needs integer",
    ),
    (
        lambda: distill.outputs.hard_targets(LOGITS, jnp.array([0])),
        ValueError,
        r"hard_targets\(labels of shape \(1,\)\) needs the shape \(2,\)",
    ),
    (
        lambda: distill.mix(INTEGERS, LOGITS, weight=0.5),
        TypeError,
        r"mix\(hard of dtype int32\)",
    ),
    (
        lambda: distill.mix(LOGITS, LOGITS[0], weight=0.5),
        ValueError,
        r"mix\(hard of shape \(2, 3\), soft of shape \(3,\)\)",
    ),
    *(
        (
            lambda value=value: distill.mix(LOGITS, LOGITS, weight=value),
            ValueError,
            rf"mix\(weight={value}\) must be in \[0, 1\]",
        )
        for value in (-0.1, 1.1, np.nan)
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
@pytest.mark.parametrize("transform", [lambda call: call, jax.jit])
def test_refuses_bad_arguments_eagerly_and_at_trace(call, error, message, transform):
    with pytest.raises(error, match=message):
        transform(call)()
