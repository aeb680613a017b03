"""How scales are stored: each against the type of ml_dtypes whose bytes it has."""

import json
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.formats.choices import from_json, to_json
from jaxcompress.core.formats.cuts import cut
from jaxcompress.core.formats.scales import (
    E4M3,
    SCALES,
    SMALLEST_SCALE,
    BFloat16,
    Codes,
    Fixed,
    Float32,
    PowerOfTwo,
)
from jaxcompress.core.formats.sharing import Group

LAYERS = cut((2, 12, 3), Group(4), LeafAxes((1,), (2,), (0,)))  # (2, 3, 4, 3)


class Case(NamedTuple):
    """A storage, the error that its rounding may have, and the bytes of each scale."""

    scales: object
    error: float
    size: int
    second: tuple[int, ...] | None = None


STORAGES = [
    Case(Float32(), 0, 4),
    Case(BFloat16(), 2**-8, 2),
    Case(PowerOfTwo(), 1, 1),
    Case(E4M3(), 2**-4, 1, second=(2, 1, 1, 1)),
    Case(Codes(), 0.5, 1, second=(2, 1, 1, 3)),
]
every_storage = pytest.mark.parametrize("case", STORAGES, ids=lambda case: case.scales.kind)


def some_scales():
    """One per block of `LAYERS`, within a factor of 100 of one another."""
    return np.random.default_rng(0).uniform(0.01, 1, (2, 3, 1, 3)).astype(np.float32)


@every_storage
def test_what_is_read_back_is_near(case):
    scale = some_scales()
    stored, second = jax.jit(lambda x: case.scales.write(x, LAYERS))(scale)
    assert (stored.dtype, stored.shape) == (case.scales.dtype, scale.shape)
    assert stored.dtype.itemsize == case.size
    assert (second is None) == (not case.scales.two_levels)
    assert second is None or (second.shape, second.dtype) == (case.second, jnp.float32)
    found = np.asarray(jax.jit(case.scales.read)(stored, second))
    # Codes have even steps, 255 up to the largest scale; the others a share of each.
    bound = case.error * (np.max(scale) / 255 if case.scales == Codes() else scale)
    assert np.all(np.abs(found - scale) <= bound * (1 + 1e-6))
    if case.scales == PowerOfTwo():
        assert np.all(found >= scale)


AWKWARD = np.float32([0.0, 1e-40, 1.2e-38, 1e-30, 1.0, 3e30, 3.1e38 / 127])


@every_storage
def test_awkward_scales_stay_finite_and_above_zero(case):
    for scale in (AWKWARD, AWKWARD[:1], AWKWARD[1:2], AWKWARD[-1:], AWKWARD[:3]):
        stored, second = jax.jit(lambda x: case.scales.write(x, None))(scale)
        found = np.asarray(jax.jit(case.scales.read)(stored, second))
        assert np.all(np.isfinite(found))
        assert np.all(found >= SMALLEST_SCALE)


@every_storage
def test_a_scale_that_is_not_a_number_stays_so_and_spoils_no_other(case):
    scale = some_scales()
    scale[1, 0, 0, 2] = np.nan
    stored, second = jax.jit(lambda x: case.scales.write(x, LAYERS))(scale)
    found = np.asarray(jax.jit(case.scales.read)(stored, second))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(scale))


def test_bfloat16_rounds_as_a_cast_does():
    x = np.random.default_rng(0).uniform(1e-3, 1e3, 4000).astype(np.float32)
    ties = (np.arange(0x3F80, 0x3FFF, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    for numbers in (x, ties):
        stored, _ = jax.jit(lambda x: BFloat16().write(x, None))(numbers)
        np.testing.assert_array_equal(stored, numbers.astype(ml_dtypes.bfloat16))


def test_powers_of_two_are_the_bytes_of_e8m0():
    exponents = np.arange(2, 255, dtype=np.uint8)
    powers = exponents.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    stored, _ = jax.jit(lambda x: PowerOfTwo().write(x, None))(powers)
    np.testing.assert_array_equal(stored, exponents)
    np.testing.assert_array_equal(PowerOfTwo().read(stored, None), powers)
    # A scale that is off by rounding is not doubled, one that is larger is.
    for factor, raised in ((1 + 2**-23, 0), (1 + 2**-22, 0), (1.001, 1), (1.999, 1)):
        again, _ = PowerOfTwo().write(powers[:-1] * np.float32(factor), None)
        np.testing.assert_array_equal(again, exponents[:-1] + raised)


def test_the_bytes_of_e4m3_are_those_of_the_type():
    scale = some_scales()
    stored, second = jax.jit(lambda x: E4M3().write(x, LAYERS))(scale)
    numbers = np.asarray(stored).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    np.testing.assert_array_equal(E4M3().read(stored, second), numbers * second)
    np.testing.assert_array_equal(numbers, (scale / second).astype(ml_dtypes.float8_e4m3fn))
    np.testing.assert_allclose(second * 448, scale.max((1, 2, 3), keepdims=True), rtol=1e-6)


def test_fixed_steps_know_no_data():
    stored, second = Fixed(3).write(jnp.array([0.7, 0.0, jnp.nan]), None)
    np.testing.assert_array_equal(stored, [0.125, 0.125, np.nan])
    assert second is None


@pytest.mark.parametrize("scales", [*(case.scales for case in STORAGES), Fixed(-2)], ids=str)
def test_json_gives_the_storage_back(scales):
    again = from_json("scales", json.loads(json.dumps(to_json(scales))), SCALES)
    assert again == scales
    assert hash(again) == hash(scales)


@pytest.mark.parametrize(
    ("bits", "message"),
    [(101, "must be in [-100, 100]"), (1.5, "must be an int"), (True, "must be an int")],
)
def test_fixed_steps_that_no_float_holds_are_refused(bits, message):
    with pytest.raises(ValueError, match=re.escape(f"Fixed(fraction_bits={bits}) {message}")):
        Fixed(bits)
