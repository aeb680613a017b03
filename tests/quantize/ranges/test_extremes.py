"""Range estimators, one row each with its own oracle."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import int8
from jaxcompress.quantize.formats import uint8
from jaxcompress.quantize.ranges import min_max


def extremes(block, spec):
    """An odd grid covers the mirror image too, so its range is symmetric at once."""
    largest = np.abs(block).max()
    return (-largest, largest) if spec.odd else (block.min(), block.max())


class Case(NamedTuple):
    ranges: object
    oracle: object


RANGES = [
    Case(min_max, extremes),
]
every_estimator = pytest.mark.parametrize("case", RANGES, ids=lambda case: case.ranges.__name__)
LOPSIDED = QuantSpec("lopsided", 8, -128, 127, symmetric=True)


@every_estimator
@pytest.mark.parametrize("spec", [int8(), uint8(), LOPSIDED], ids=str)
def test_against_a_loop(case, spec):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = case.ranges(jnp.asarray(x), (-2, -1), spec)
    for block, low, high in zip(x, found.low, found.high, strict=True):
        np.testing.assert_allclose((low.item(), high.item()), case.oracle(block, spec), rtol=1e-6)


@every_estimator
def test_shapes_and_dtypes(case):
    found = case.ranges(jnp.ones((2, 3, 4)), (-1,), int8())
    assert found.low.shape == found.high.shape == (2, 3, 1)
    assert found.low.dtype == found.high.dtype == jnp.float32
