"""Range estimators, one row each with its own oracle."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.quantize import int8, min_max


class Case(NamedTuple):
    ranges: object
    oracle: object


RANGES = [
    Case(min_max, lambda block, spec: (block.min(), block.max())),
]
every_estimator = pytest.mark.parametrize("case", RANGES, ids=lambda case: case.ranges.__name__)


@every_estimator
def test_against_a_loop(case):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = case.ranges(jnp.asarray(x), (-2, -1), int8())
    for block, low, high in zip(x, found.low, found.high, strict=True):
        np.testing.assert_allclose((low.item(), high.item()), case.oracle(block, int8()), rtol=1e-6)


@every_estimator
def test_shapes_and_dtypes(case):
    found = case.ranges(jnp.ones((2, 3, 4)), (-1,), int8())
    assert found.low.shape == found.high.shape == (2, 3, 1)
    assert found.low.dtype == found.high.dtype == jnp.float32
