"""The integer products against int64 NumPy, and what they lower to elsewhere."""

from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.packing import pack
from jaxcompress.kernels import (
    digits,
    grouped_matmul,
    int8_matmul,
    packed_grouped_matmul,
    packed_matmul,
    two_digit_matmul,
)

EPS = float(np.finfo(np.float32).eps)
LOWEST = -7


class Inputs(NamedTuple):
    """Numbers for one product; `w` holds 4-bit codes, which every kernel can take."""

    x: np.ndarray
    w: np.ndarray
    scale: np.ndarray


def inputs(rows, contracting, outputs, groups=2, seed=0):
    rng = np.random.default_rng(seed)
    return Inputs(
        rng.integers(-127, 128, (rows, contracting)),
        rng.integers(-7, 8, (outputs, contracting)),
        rng.uniform(0.5, 2.0, (outputs, groups)).astype(np.float32),
    )


def packed(w):
    return pack(jnp.asarray(w - LOWEST, jnp.uint8), 4)


def exact(given):
    return given.x.astype(np.int64) @ given.w.astype(np.int64).T


def in_groups(given):
    x, w, scale = (np.asarray(part, np.float64) for part in given)
    spread = np.repeat(scale, x.shape[1] // scale.shape[1], axis=1)
    return x @ (w * spread).T


class Case(NamedTuple):
    name: str
    product: object
    oracle: object


KERNELS = [
    Case("int8", lambda g: int8_matmul(codes(g.x), codes(g.w)), exact),
    Case("packed", lambda g: packed_matmul(codes(g.x), packed(g.w), LOWEST), exact),
    Case("grouped", lambda g: grouped_matmul(codes(g.x), codes(g.w), g.scale), in_groups),
    Case(
        "packed grouped",
        lambda g: packed_grouped_matmul(codes(g.x), packed(g.w), jnp.asarray(g.scale), LOWEST),
        in_groups,
    ),
]


def codes(x):
    return jnp.asarray(x, jnp.int8)


SHAPES = [(1, 8, 3), (1, 4, 1), (2, 8, 5), (5, 12, 600), (3, 16, 512), (4, 8, 1024)]


@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(case, shape):
    given = inputs(*shape)
    found = case.product(given)
    expected = case.oracle(given)
    # Integers are exact; float32 sums of `groups` terms round each.
    size = 0 if found.dtype == jnp.int32 else 127 * 7 * 2 * shape[1] * 4 * EPS
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=0, atol=size)


@pytest.mark.parametrize("length", [1, 3, 7])
def test_packed_weights_of_odd_length(length):
    given = inputs(2, length, 4)
    np.testing.assert_array_equal(
        packed_matmul(codes(given.x), packed(given.w), LOWEST), exact(given)
    )


def test_the_extreme_codes_do_not_overflow():
    x = jnp.full((2, 4096), 127, jnp.int8)
    np.testing.assert_array_equal(int8_matmul(x, -x), np.full((2, 2), -(127**2) * 4096))


@hypothesis.given(st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3), st.integers(1, 2))
def test_digits_are_as_fine_as_they_say(numbers, count):
    x = np.asarray(numbers, np.float32)
    scale = np.float32(10 / 127)
    parts, scales = digits(jnp.asarray(x), jnp.asarray([scale]), count=count)
    value = np.sum(np.asarray(parts, np.float64) * np.asarray(scales, np.float64), axis=0)
    finest = float(scale) / 254 ** (count - 1)
    assert np.all(np.abs(value - x) <= finest / 2 + 10 * 4 * EPS)


@pytest.mark.parametrize("rows", [1, 3])
def test_two_digits_keep_sixteen_bits(rows):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 64)).astype(np.float32)
    w = rng.integers(-127, 128, (9, 64))
    found = np.asarray(two_digit_matmul(jnp.asarray(x), codes(w)), np.float64)
    expected = x.astype(np.float64) @ w.T
    size = np.abs(x).max(1, keepdims=True) * np.abs(w).sum(1)
    assert np.all(np.abs(found - expected) <= size * (1 / 64516 + 4 * EPS))


def test_two_digits_of_zero_rows():
    assert not two_digit_matmul(jnp.zeros((1, 4)), jnp.ones((2, 4), jnp.int8)).any()


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
@pytest.mark.parametrize("rows", [1, 8])
def test_lowers_for(platform, case, rows):
    given = jax.tree.map(jnp.asarray, inputs(rows, 256, 128))
    shapes = (
        jax.ShapeDtypeStruct((rows, 256), jnp.int8),
        jax.ShapeDtypeStruct((128, 256), jnp.int8),
        jax.ShapeDtypeStruct(given.scale.shape, jnp.float32),
    )
    traced = jax.jit(lambda x, w, scale: case.product(Inputs(x, w, scale))).trace(*shapes)
    assert "dot_general" in traced.lower(lowering_platforms=(platform,)).as_text()
