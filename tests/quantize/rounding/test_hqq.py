"""Half-quadratic quantization against a loop."""

import jax
import numpy as np
import pytest

from jaxcompress.quantize import formats
from jaxcompress.quantize.rounding import hqq


def by_hand(w, levels, zero_point: bool, norm=0.7, penalty=10.0, rounds=20):
    """The values of one block of weights, in float64.

    Args:
      w: (size,).
      levels: of the codes in steps, from the lowest on; with a zero point from 0 on.
      zero_point: whether the format has one.
      norm: as of `hqq`.
      penalty: as of `hqq`.
      rounds: as of `hqq`.
    """
    if zero_point:
        step = (max(w.max(), 0) - min(w.min(), 0)) / levels[-1]
        zero = -np.round(min(w.min(), 0) / step)
    else:
        step, zero = np.abs(w).max() / levels[-1], 0.0
    unit, least, kept = step, np.inf, None
    for turn in range(rounds + 1):
        codes = np.argmin(np.abs(w[:, None] / step + zero - levels), axis=1)
        values = step * (levels[codes] - zero)
        error = (w - values) / unit
        if np.sum(np.abs(error) ** norm) < least:
            least, kept = np.sum(np.abs(error) ** norm), values
        by = penalty * 1.01**turn
        size = np.abs(error) + 1e-300  # whose power is not infinite
        rest = np.sign(error) * np.maximum(size - size ** (norm - 1) / by, 0)
        target = w - rest * unit
        if zero_point:
            zero = np.clip(np.round(np.mean(levels[codes] - target / step)), 0, levels[-1])
        steps = levels[codes] - zero
        step = np.sum(target * steps) / np.sum(steps**2)
    return kept


CASES = {
    "int3": (formats.int3(), np.arange(-3.0, 4), False),
    "uint3": (formats.uint3(), np.arange(8.0), True),
    "nf4": (formats.nf4(), np.asarray(formats.nf4().levels.values), False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_hqq_equals_the_loop(case):
    spec, levels, zero_point = case
    weight = np.random.default_rng(1).standard_t(3, (5, 24)).astype(np.float32)
    solver = hqq().solver(spec)
    found = jax.jit(lambda w: solver.weight(solver.solve(w, np.eye(24))))(weight)
    expected = [by_hand(np.float64(row), levels, zero_point) for row in weight]
    # A sum of 24 float32 numbers is off by at most this share of its terms.
    np.testing.assert_allclose(found, expected, rtol=24 * 2**-23, atol=1e-6)
