"""Which numbers are numbers, and which are counts: one policy for every callable."""

import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.checks import (
    check_concrete,
    check_count,
    check_inside,
    check_number,
    check_positive,
    check_range,
    check_rate,
    check_share,
    check_size,
    check_whole,
)
from jaxcompress.core.messages import shown

NAN, INFINITY = float("nan"), float("inf")
ONE = [1, 1.0, np.int8(1), np.uint64(1), np.float16(1), jnp.int8(1), jnp.bfloat16(1), np.array(1.0)]
NO_NUMBER = [NAN, INFINITY, np.float32(NAN), jnp.float32(NAN), True, np.bool_(True), 1j, "1", None]
NO_NUMBER += [np.ones(1), ..., [1.0]]

CHECKS = [
    (
        check_count,
        (),
        [1, 7, np.int8(1), np.uint64(9)],
        [0, -1, 1.0, 2.5, -3.5, NAN, INFINITY, True, np.bool_(True), np.float32(1), "1", None],
    ),
    (check_count, (0,), [0, 1, np.int32(0)], [-1, 0.0, NAN, False]),
    (check_whole, (), [0, -3, np.int8(1)], [1.0, NAN, True, np.float32(1), "1", None]),
    (check_number, (), [0, -2.5, *ONE, Fraction(1, 3)], [-INFINITY, *NO_NUMBER]),
    (check_range, (0, 1), [0, 0.0, 0.5], [1, -1e-9, *NO_NUMBER]),
    (check_inside, (0, 1), [1e-9, 0.5], [0, 1, *NO_NUMBER]),
    (check_inside, (1, INFINITY), [1.5, jnp.float32(2)], [1, 0.5, *NO_NUMBER]),
    (check_share, (), [0, 0.5, *ONE], [1 + 1e-9, -1e-9, *NO_NUMBER]),
    (check_positive, (), [1e-30, *ONE], [0, -1, *NO_NUMBER]),
    (check_size, (), [0, *ONE], [-1, jnp.float32(-1), abs, *NO_NUMBER]),
    (check_rate, (), [0, *ONE, abs], [-1, jnp.float32(-1), *NO_NUMBER]),
]


@pytest.mark.parametrize("value", [8, np.uint8(8), np.int8(8), np.uint64(8)], ids=repr)
def test_a_count_is_computed_with_as_an_int(value):
    """Minus `np.uint8(8)` is 248, and 300 is out of bounds for it."""
    count = check_count("thing", "size", value)
    assert type(count) is int
    assert (-count, 300 // count) == (-8, 37)


@pytest.mark.parametrize(("check", "bounds", "right", "wrong"), CHECKS)
def test_what_passes_and_what_is_refused(check, bounds, right, wrong):
    for value in right:
        check("thing", "size", value, *bounds)
    for value in wrong:
        with pytest.raises(ValueError, match=re.escape(f"thing(size={shown(value)}) must be ")):
            check("thing", "size", value, *bounds)


@pytest.mark.parametrize(
    ("check", "bounds"), [row[:2] for row in CHECKS if row[0] not in (check_count, check_whole)]
)
def test_a_traced_scalar_passes_and_a_traced_array_does_not(check, bounds):
    jax.jit(lambda value: check("thing", "size", value, *bounds))(jnp.float32(-7))
    with pytest.raises(ValueError, match=r"thing\(size=a traced float32\[1\]\) must be "):
        jax.jit(lambda value: check("thing", "size", value, *bounds))(jnp.ones(1))


def test_a_shape_has_no_values_to_read():
    shapes = {"kernel": jax.ShapeDtypeStruct((4, 2), jnp.float32)}
    message = (
        "thing(params=...) reads values, and leaf 'kernel' is a shape without them, float32 (4, 2)"
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        check_concrete("thing", params=shapes)
