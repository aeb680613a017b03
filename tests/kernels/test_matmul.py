"""The integer products against int64 NumPy, and what they lower to elsewhere."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, cast

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
    stack_digits,
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
    product: Callable
    oracle: Callable


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


W, X, P = jnp.ones((3, 8), jnp.int8), jnp.ones((2, 8), jnp.int8), jnp.zeros((3, 4), jnp.uint8)
S = jnp.ones((3, 2))
HALVES = jnp.full((2, 8), 1.7)
PARTS = jnp.ones((2, 2, 8), jnp.int8)
REFUSALS = [
    (
        lambda: int8_matmul(cast(Any, 1.7), W),
        "int8_matmul(x=...) of dtype float must be int8 codes",
    ),
    (lambda: int8_matmul(HALVES, W), "int8_matmul(x=...) of dtype float32 must be int8 codes"),
    (lambda: int8_matmul(X, HALVES), "int8_matmul(w=...) of dtype float32 must be int8 codes"),
    (lambda: int8_matmul(X, P), "int8_matmul(w=...) of dtype uint8 must be int8 codes"),
    (lambda: int8_matmul(X[0], W), "int8_matmul(x=...) of shape (8,) must have 2 axes"),
    (lambda: int8_matmul(X, W.T), "int8_matmul: x (2, 8) and w (8, 3) must share K"),
    (lambda: grouped_matmul(HALVES, W, S), "grouped_matmul(x=...) of dtype float32"),
    (lambda: grouped_matmul(X, W[:, :4], S), "grouped_matmul: x (2, 8) and w (3, 4) must share K"),
    (lambda: grouped_matmul(X, W, X), "grouped_matmul(scale=...) of dtype int8 must be real"),
    (lambda: grouped_matmul(X, W, S[:2]), "w (3, 8) and scale (2, 2) must share N"),
    (lambda: grouped_matmul(X, W, jnp.ones((3, 3))), "scale (3, 3) must have a G that divides K"),
    (lambda: grouped_matmul(X, W, jnp.ones((3, 0))), "scale (3, 0) must have a G that divides K"),
    (lambda: packed_matmul(HALVES, P, -7), "packed_matmul(x=...) of dtype float32"),
    (lambda: packed_matmul(X, W, -7), "packed_matmul(packed=...) of dtype int8 must be uint8"),
    (lambda: packed_matmul(X, P[:, :3], -7), "must share K, two codes in a byte"),
    (lambda: packed_matmul(X, P, cast(Any, -7.5)), "packed_matmul(lowest=-7.5) must be"),
    (lambda: packed_grouped_matmul(X, P, S[:, :1], -7), "scale (3, 1) must have an even G"),
    (lambda: packed_grouped_matmul(X, P, S[:2], -7), "scale (2, 2) must share N"),
    (lambda: packed_grouped_matmul(X, P, S, True), "packed_grouped_matmul(lowest=True) must be"),
    (lambda: digits(X, S, count=2), "digits(x=...) of dtype int8 must be real floating"),
    (lambda: digits(HALVES, X, count=2), "digits(scale=...) of dtype int8 must be real floating"),
    (lambda: digits(HALVES, S[:2, :1], count=0), "digits(count=0) must be at least 1"),
    (
        lambda: digits(HALVES, S[:2, :1], count=cast(Any, 1.5)),
        "digits(count=1.5) must be at least 1",
    ),
    (lambda: digits(HALVES, S[:2, :1], count=1, highest=128), "digits(highest=128) must be in"),
    (lambda: two_digit_matmul(X, W), "two_digit_matmul(x=...) of dtype int8 must be real"),
    (lambda: two_digit_matmul(HALVES, HALVES), "two_digit_matmul(w=...) of dtype float32"),
    (
        lambda: stack_digits(int8_matmul, HALVES[None], S),
        "stack_digits(parts=...) of dtype float32",
    ),
    (lambda: stack_digits(int8_matmul, PARTS, jnp.ones((2, 3, 1))), "must share (digits, M)"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS)
def test_refusals(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()


SHAPES = [(1, 8, 3), (1, 4, 1), (2, 8, 5), (5, 12, 600), (3, 16, 512), (4, 8, 1024)]


@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(case, shape):
    given = inputs(*shape)
    found = jax.jit(case.product)(given)
    expected = case.oracle(given)
    # Integers are exact; float32 sums of `groups` terms round each.
    size = 0 if found.dtype == jnp.int32 else 127 * 7 * 2 * shape[1] * 4 * EPS
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=0, atol=size)


@pytest.mark.parametrize("length", [1, 3, 7])
def test_packed_weights_of_odd_length(length):
    given = inputs(2, length, 4)
    product = jax.jit(lambda given: packed_matmul(codes(given.x), packed(given.w), LOWEST))
    np.testing.assert_array_equal(product(given), exact(given))


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
    found = np.asarray(jax.jit(two_digit_matmul)(x, codes(w)), np.float64)
    expected = x.astype(np.float64) @ w.T
    size = np.abs(x).max(1, keepdims=True) * np.abs(w).sum(1)
    assert np.all(np.abs(found - expected) <= size * (1 / 64516 + 4 * EPS))


def test_two_digits_of_zero_rows():
    found = jax.jit(two_digit_matmul)(jnp.zeros((1, 4)), jnp.ones((2, 4), jnp.int8))
    assert not np.any(found)


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
