"""Offsets and ranges tuned by signs, against a loop with its slopes by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.quantize import formats
from jaxcompress.quantize.ranges import min_max
from jaxcompress.quantize.rounding import sign_round

RANDOM = np.random.default_rng(3)


def by_hand(w, moment, highest, zero_point, steps, travel=0.5, widest=1.0):
    """The best values of each row of a matrix, one block a row, in float64."""
    values = []
    for row in w:
        offsets, a, b = np.zeros_like(row), 1.0, 1.0
        # What the codes cover at first: with a zero point its whole steps.
        step = (max(row.max(), 0) - min(row.min(), 0)) / highest
        below = -np.round(min(row.min(), 0) / step)
        ends = (-below * step, (highest - below) * step)
        least, kept = np.inf, None
        for t in range(steps + 1):
            if zero_point:
                low, high = b * ends[0], a * ends[1]
            else:
                high = max(-b * -np.abs(row).max(), a * np.abs(row).max())
                low = -high
            levels = highest if zero_point else 2 * highest
            step = (high - low) / levels
            zero = -np.round(low / step) if zero_point else highest
            codes = np.clip(np.round(row / step + offsets) + zero, 0, levels)
            found = step * (codes - zero)
            error = found - row
            if error @ moment @ error < least:
                least, kept = error @ moment @ error, found
            slope = 2 * error @ moment
            outside = (row < low * (1 + 1e-6)) | (row > high * (1 + 1e-6))
            free = ~outside & (np.abs(error / step) > 1e-6)
            by_step = np.sum(slope * np.where(outside, found - low, error) / step)
            by_low = np.sum(slope * outside)
            rate = 2 * travel / (steps + 1) * (1 - t / steps)
            offsets = np.clip(offsets - rate * np.sign(slope * free), -0.5, 0.5)
            if zero_point:
                b -= rate * np.sign(ends[0] * (by_low - by_step / levels))
                a -= rate * np.sign(ends[1] * by_step / levels)
            else:
                both = np.sign(2 * by_step / levels - by_low)
                a, b = a - rate * both, b - rate * both
            a, b = np.clip(a, 0, widest), np.clip(b, 0, widest)
        values.append(kept)
    return np.array(values)


@pytest.mark.parametrize("spec", [formats.int3(), formats.uint3()], ids=str)
def test_sign_round_equals_the_loop(spec):
    weight = RANDOM.standard_t(4, (8, 12)).astype(np.float32)
    x = RANDOM.normal(size=(40, 12)) @ (np.eye(12) + 0.3 * RANDOM.normal(size=(12, 12)))
    moment = np.float32(x.T @ x / 40)
    solver = sign_round(steps=6, travel=0.3).solver(spec)
    found = jax.jit(lambda w, h: solver.weight(solver.solve(w, h)))(weight, moment)
    expected = by_hand(
        np.float64(weight), np.float64(moment), spec.highest, not spec.symmetric, 6, 0.3
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_range_that_clips_may_grow():
    """As far as the widest factor allows it."""
    weight = np.float32(RANDOM.uniform(-1, 1, size=(4, 16)))

    def halved(spec, axis):
        whole = min_max(spec, axis)
        return whole._replace(
            read=lambda found: jax.tree.map(lambda end: end / 2, whole.read(found))
        )

    def error(widest):
        solver = sign_round(steps=50, widest=widest, ranges=halved).solver(formats.int4())
        found = jax.jit(lambda w: solver.weight(solver.solve(w, jnp.eye(16))))(weight)
        return np.sum(np.square(found - weight))

    assert error(2.0) < error(1.0) / 2
