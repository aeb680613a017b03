"""Soft and hard targets and their mix: their own laws, and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import distill
from tests.distill.outputs.family import CLASSES, EPS, LARGEST, rounding, uniform


def arguments(dtype=np.float32):
    draw = uniform(dtype=dtype)
    return draw(CLASSES), draw(CLASSES)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_soft_targets_are_exactly_zero_at_equality(dtype):
    logits, _ = arguments(dtype)
    losses = distill.outputs.soft_targets(logits, logits, temperature=4.0)
    np.testing.assert_array_equal(losses, np.zeros(6))


def test_the_cross_entropy_is_least_at_the_label():
    logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]] * 3))
    result = distill.outputs.hard_targets(logits, jnp.arange(3))
    np.testing.assert_allclose(result, -np.log([0.7, 0.2, 0.1]), rtol=8 * EPS)


def test_at_high_temperature_it_matches_centred_logits():
    """Section 2.1 of the paper: T² · KL -> |centred difference|² / (2 · classes)."""
    student, teacher = arguments()
    difference = (student - student.mean(1, keepdims=True)) - (
        teacher - teacher.mean(1, keepdims=True)
    )
    expected = (difference**2).sum(axis=1) / (2 * CLASSES)
    temperature = 200.0
    result = distill.outputs.soft_targets(student, teacher, temperature=temperature)
    # The next term of the series is smaller by about the spread of the logits over T.
    rtol = 4 * LARGEST / temperature
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=rounding(temperature))


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


def test_a_compiled_temperature_keeps_huge_logits_finite():
    """Where a quotient and a softmax are fused, both must round its maximum alike."""
    random = np.random.default_rng(0)
    student, teacher = (1e12 * random.uniform(-1, 1, (2, 64, 7))).astype(np.float32)
    loss = jax.jit(partial(distill.outputs.soft_targets, temperature=3.0))
    gradient = jax.jit(jax.grad(lambda x: loss(x, teacher).sum()))
    assert np.isfinite(loss(student, teacher)).all()
    assert np.isfinite(gradient(student)).all()


def test_a_batch_of_which_nothing_counts_divides_by_nothing():
    def loss(logits):
        nobody = jnp.zeros(2, bool)
        return distill.outputs.intra_class_relation(logits, -logits, where=nobody).sum()

    with jax.debug_nans(True):
        value, gradient = jax.value_and_grad(loss)(jnp.eye(2))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
