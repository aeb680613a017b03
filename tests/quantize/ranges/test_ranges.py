"""Range estimators as `quantize` uses them: a block is one batch. One row each.

What they share with every observer is in the table of `tests/core/test_observers.py`.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import fake_quantize, int4, int8, quantize
from jaxcompress.quantize.formats import uint8
from jaxcompress.quantize.ranges import (
    entropy,
    mean_squared_error,
    min_max,
    moving_average,
    p_norm,
    percentile,
    signal_to_noise,
)
from jaxcompress.quantize.ranges.estimator import RangeEstimator, estimate
from jaxcompress.quantize.rounding import nearest
from tests.quantize.ranges import by_hand


class Case(NamedTuple):
    name: str
    ranges: RangeEstimator
    oracle: object


RANGES = [
    Case("min_max", min_max, by_hand.extremes),
    Case("moving_average", moving_average, by_hand.extremes),
    Case(
        "percentile",
        partial(percentile, kept=0.75),
        lambda block, spec: by_hand.quantiles(block, spec, 0.75),
    ),
    Case(
        "mean_squared_error",
        mean_squared_error,
        lambda block, spec: by_hand.searched(block, spec, by_hand.squared),
    ),
    Case(
        "p_norm", p_norm, lambda block, spec: by_hand.searched(block, spec, by_hand.of_power(2.4))
    ),
    Case(
        "signal_to_noise",
        signal_to_noise,
        lambda block, spec: by_hand.searched(block, spec, by_hand.clipping_weighs(3.0)),
    ),
    Case("entropy", entropy, by_hand.least_divergence),
]
every_estimator = pytest.mark.parametrize("case", RANGES, ids=lambda case: case.name)
LOPSIDED = QuantSpec(Integers(8, -128, 127, symmetric=True))


@every_estimator
@pytest.mark.parametrize("spec", [int8(), uint8(), LOPSIDED], ids=str)
def test_against_a_loop(case, spec):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = estimate(case.ranges, jnp.asarray(x), (-2, -1), spec)
    assert found.low.shape == found.high.shape == (2, 1, 1)
    assert found.low.dtype == found.high.dtype == jnp.float32
    for block, low, high in zip(x, found.low, found.high, strict=True):
        np.testing.assert_allclose((low.item(), high.item()), case.oracle(block, spec), rtol=1e-6)


@pytest.mark.parametrize("spec", [int8(), int4(group_size=4), uint8(per="tensor")], ids=str)
def test_weights_take_any_estimator(spec):
    """An average of the last batch alone is its range: bit for bit the same codes."""
    params = {"w": jnp.asarray(np.random.default_rng(1).normal(size=(8, 3)), jnp.float32)}
    last = partial(moving_average, decay=0.0)
    codes, expected = (
        quantize(params, spec, rounding=nearest(each))[0]["w"] for each in (last, min_max)
    )
    np.testing.assert_array_equal(codes.codes, expected.codes)
    np.testing.assert_array_equal(codes.scale, expected.scale)
    seen = fake_quantize(spec, ranges=last)(params)["w"]
    np.testing.assert_allclose(seen, codes.materialize(), rtol=1e-6)
