"""Exact counts against whole-number arithmetic, and the one gradient rule."""

from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress.core.numerics import known_extremes, round_to_count, straight_through

LARGEST = 2**31 - 1


def count_by_hand(fraction: np.float32, size: int) -> int:
    """Halves to even, in fractions of whole numbers."""
    product = Fraction(float(fraction)) * size
    below, rest = product.numerator // product.denominator, product % 1
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1)
    return below + up


traced = jax.jit(round_to_count, static_argnums=1)


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    fraction=st.floats(0, 1, width=32), size=st.one_of(st.integers(0, 40), st.integers(0, LARGEST))
)
def test_counts_are_exact(fraction, size):
    expected = count_by_hand(np.float32(fraction), size)
    assert round_to_count(fraction, size) == expected
    array = round_to_count(jnp.float32(fraction), size)
    assert (int(array), array.dtype, array.shape) == (expected, jnp.int32, ())


HALVES = [
    (i / 2**k, 2 ** (k - 1) * odd)
    for k in (1, 3, 20)
    for i in (1, 3)
    if i < 2**k
    for odd in (1, 3, 5)
]
LARGE = [
    (0.5, LARGEST),
    (0.5, 2**24 + 1),
    (0.9, 2**24 + 3),
    (np.nextafter(np.float32(1), np.float32(0)), LARGEST),
    (np.float32(2.0**-31), LARGEST),
    (np.float32(2.0**-32), LARGEST),
    (np.float32(1e-38), LARGEST),
    (0.1, 10),
    (0.25, 2),
    (0.75, 2),
]


@pytest.mark.parametrize(
    ("fraction", "size"), HALVES + LARGE + [(f, n) for f in (0.0, 1.0) for n in (0, 1, LARGEST)]
)
def test_edges_are_exact(fraction, size):
    expected = count_by_hand(np.float32(fraction), size)
    assert round_to_count(float(fraction), size) == expected
    assert int(traced(jnp.float32(fraction), size)) == expected
    assert 0 <= expected <= size


def test_a_traced_bfloat16_counts_as_its_float32():
    fraction = jnp.bfloat16(0.3)
    assert int(traced(fraction, 1000)) == count_by_hand(np.float32(fraction), 1000)


def test_float_arithmetic_would_be_wrong():
    """The oracle can tell: the plain product is off by one here."""
    size = 2**24 + 1
    assert int(np.round(np.float32(1.0) * np.float32(size))) != round_to_count(1.0, size) == size


X = jnp.array([-1.5, 0.25, 2.5], jnp.float32)
PASSES = jnp.array([True, True, False])


def rounded(x):
    return straight_through(jnp.round(x), x, PASSES)


@pytest.mark.parametrize("call", [rounded, jax.jit(rounded)], ids=["eager", "jit"])
def test_forward_is_the_value_bit_for_bit(call):
    np.testing.assert_array_equal(call(X), jnp.round(X))
    np.testing.assert_array_equal(np.signbit(call(-X * 0)), np.signbit(jnp.round(-X * 0)))


def test_backward_is_the_identity_where_it_passes():
    outputs, pull = jax.vjp(rounded, X)
    np.testing.assert_array_equal(pull(2 * jnp.ones_like(outputs))[0], [2.0, 2.0, 0.0])
    np.testing.assert_array_equal(jax.jvp(rounded, (X,), (3 * X,))[1], jnp.where(PASSES, 3 * X, 0))


def test_what_does_not_pass_cannot_spoil_the_gradient():
    _, tangent = jax.jvp(rounded, (X,), (jnp.array([1.0, 2.0, jnp.nan]),))
    np.testing.assert_array_equal(tangent, [1.0, 2.0, 0.0])


def test_no_gradient_goes_through_value_and_range():
    def through(value, passes):
        return straight_through(value * 3, X, passes > 0).sum()

    gradients = jax.grad(through, argnums=(0, 1))(X, X)
    np.testing.assert_array_equal(gradients, np.zeros((2, 3)))


def test_batches_and_second_derivatives():
    np.testing.assert_array_equal(
        jax.vmap(jax.grad(lambda x: rounded(x).sum()))(X[None]), [[1, 1, 0]]
    )
    np.testing.assert_array_equal(jax.hessian(lambda x: rounded(x).sum())(X), np.zeros((3, 3)))
    squares = jax.hessian(lambda x: (rounded(x) ** 2).sum())(X)
    np.testing.assert_array_equal(squares, np.diag(2.0 * PASSES))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_dtype_stays(dtype):
    x = X.astype(dtype)
    assert rounded(x).dtype == dtype
    assert jax.grad(lambda x: rounded(x).sum())(x).dtype == dtype


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf"), 2])
def test_what_is_no_share_is_refused(fraction):
    with pytest.raises(ValueError, match=rf"round_to_count\(fraction={fraction}\) must be in"):
        round_to_count(fraction, 5)


def test_extremes_of_what_is_known(mesh):
    devices = mesh(data=4)
    spread = jax.device_put(jnp.array([0.0, 3.0, np.nan, 1.0]), NamedSharding(devices, P("data")))
    assert np.isnan(known_extremes(spread)).all()
    assert known_extremes(np.arange(-2, 3, dtype=np.int8)) == (-2, 2)
    assert known_extremes(jnp.zeros((0, 3))) is None
    assert jax.jit(lambda x: jnp.zeros(()) if known_extremes(x) is None else x)(1.0) == 0
