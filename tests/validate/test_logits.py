"""What judges logits against a plain NumPy loop, and each refusal by its message."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate import logits as judged


class Case(NamedTuple):
    name: str
    metric: object
    second: str  # what the second argument is: labels or logits
    oracle: object
    dtype: type


def best(row) -> int:
    """The first of the highest entries, by comparing one after another."""
    winner = 0
    for index, value in enumerate(row):
        if value > row[winner]:
            winner = index
    return winner


def cross_entropy_of_row(row, label) -> float:
    row = row.astype(np.float64)
    return np.log(np.exp(row - row.max()).sum()) + row.max() - row[label]


METRICS = [
    Case("correct", judged.correct, "labels", lambda row, label: best(row) == label, np.bool_),
    Case("cross_entropy", judged.cross_entropy, "labels", cross_entropy_of_row, np.float32),
    Case("agreement", judged.agreement, "logits", lambda a, b: best(a) == best(b), np.bool_),
]
ids = [case.name for case in METRICS]
each = pytest.mark.parametrize("case", METRICS, ids=ids)

N, CLASSES, LARGEST = 40, 5, 3


def arguments(case, dtype=np.float32):
    """Logits on a coarse grid: ties occur, and every dtype holds them exactly."""
    rng = np.random.default_rng(0)
    logits = (rng.integers(-LARGEST, LARGEST + 1, (N, CLASSES))).astype(dtype)
    other = (rng.integers(-LARGEST, LARGEST + 1, (N, CLASSES))).astype(dtype)
    return logits, other if case.second == "logits" else rng.integers(0, CLASSES, N)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16, np.float64])
def test_equals_the_loop(case, dtype):
    first, second = arguments(case, dtype)
    expected = [case.oracle(row, other) for row, other in zip(first, second, strict=True)]
    result = case.metric(first, second)
    assert result.dtype == case.dtype
    assert result.shape == (N,)
    # Both logarithm and sum stay below LARGEST + log(CLASSES), a few roundings each.
    tolerance = 4 * np.finfo(np.float32).eps * (2 * LARGEST + np.log(CLASSES))
    np.testing.assert_allclose(
        np.asarray(result, np.float64), np.asarray(expected, np.float64), rtol=0, atol=tolerance
    )


@each
def test_works_under_jit_strict_promotion_and_no_examples(case):
    first, second = arguments(case)
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_array_equal(
            jax.jit(case.metric)(first, second), case.metric(first, second)
        )
    assert case.metric(first[:0], second[:0]).shape == (0,)


@each
def test_constants_of_a_jitted_function_are_judged(case):
    first, second = map(jnp.asarray, arguments(case))
    expected = case.metric(first, second)
    judged = jax.jit(lambda: case.metric(first, second))()
    # Two programs round each of a few sums.
    np.testing.assert_allclose(judged, expected, rtol=8 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64])
def test_labels_of_any_integer_dtype(dtype):
    logits, labels = arguments(METRICS[0])
    expected = judged.correct(logits, labels)
    np.testing.assert_array_equal(judged.correct(logits, labels.astype(dtype)), expected)


def test_cross_entropy_of_uniform_logits_is_the_log_of_the_number_of_classes():
    losses = judged.cross_entropy(jnp.full((3, 8), 5.0), jnp.array([0, 3, 7]))
    np.testing.assert_allclose(losses, np.log(8), rtol=4 * np.finfo(np.float32).eps)


def test_cross_entropy_stays_finite_at_the_largest_float16():
    logits = jnp.array([[65504, -65504]], jnp.float16)
    np.testing.assert_array_equal(judged.cross_entropy(logits, jnp.array([1])), [131008.0])


def test_a_class_at_minus_infinity_is_ruled_out():
    logits = jnp.array([[-jnp.inf, 0.0, 0.0]])
    loss = judged.cross_entropy(logits, jnp.array([1]))
    np.testing.assert_allclose(loss, np.log(2), rtol=4 * np.finfo(np.float32).eps)


GOOD = np.zeros((2, 3), np.float32)
LABELS = np.array([0, 2])
BAD = [
    (TypeError, r"\(logits of dtype int32\) needs floating", GOOD.astype(np.int32), LABELS),
    (ValueError, r"\(logits of shape \(3,\)\) needs the shape \(n, classes\)", GOOD[0], LABELS),
    (ValueError, r"\(logits of shape \(2, 0\)\) needs", GOOD[:, :0], LABELS),
    (
        ValueError,
        r"\(logits\): 1 of 2 rows .* first is row 1",
        np.array([[0, 0], [0, np.nan]]),
        LABELS,
    ),
    (ValueError, r"\(logits\): 2 of 2 rows hold NaN or \+inf", GOOD + np.inf, LABELS),
]
BAD_LABELS = [
    (TypeError, r"\(labels of dtype float32\) needs integer", GOOD, LABELS.astype(np.float32)),
    (ValueError, r"\(labels of shape \(1,\)\) needs the shape \(2,\)", GOOD, LABELS[:1]),
    (
        ValueError,
        r"\(labels\): 1 of 2 labels are outside \[0, 3\), .* labels\[1\] = 3",
        GOOD,
        np.array([0, 3]),
    ),
    (ValueError, r"\(labels\): 1 of 2 .* labels\[0\] = -1", GOOD, LABELS - 1),
]


@each
@pytest.mark.parametrize(("error", "message", "logits", "labels"), BAD)
def test_refuses_bad_logits(case, error, message, logits, labels):
    second = GOOD if case.second == "logits" else labels
    with pytest.raises(error, match=case.name + message):
        case.metric(logits, second)


@pytest.mark.parametrize("metric", [judged.correct, judged.cross_entropy])
@pytest.mark.parametrize(("error", "message", "logits", "labels"), BAD_LABELS)
def test_refuses_bad_labels(metric, error, message, logits, labels):
    with pytest.raises(error, match=metric.__name__ + message):
        metric(logits, labels)


def test_agreement_refuses_two_shapes():
    message = r"agreement\(logits of shape \(2, 3\), other_logits of shape \(2, 2\)\)"
    with pytest.raises(ValueError, match=message):
        judged.agreement(GOOD, GOOD[:, :2])
