"""Positions among floats, which rounding at random needs: a count with a fraction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.formats.floats import FP4, FP8_E4M3, FP8_E5M2

every_format = pytest.mark.parametrize(
    "levels", [FP4, FP8_E4M3, FP8_E5M2], ids=lambda levels: levels.name
)


@every_format
def test_between_two_floats_a_position_is_their_share(levels):
    """So that rounding at random is right in the mean."""
    magnitudes = np.asarray(levels.value(jnp.arange(levels.highest + 1)), np.float64)
    shares = np.random.default_rng(0).uniform(size=levels.highest)
    between = jnp.asarray(magnitudes[:-1] + shares * np.diff(magnitudes), jnp.float32)
    expected = np.interp(np.asarray(between, np.float64), magnitudes, np.arange(len(magnitudes)))
    found = jax.jit(levels.position)(between)
    np.testing.assert_allclose(found, expected, rtol=2**-23, atol=1e-9)
    np.testing.assert_array_equal(levels.position(-between), -found)


@every_format
def test_the_position_of_a_float_is_its_code(levels):
    codes = jnp.arange(levels.lowest, levels.highest + 1)
    np.testing.assert_array_equal(levels.position(levels.value(codes)), codes)
