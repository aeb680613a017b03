"""Up or down, learned: against a loop, and against all ways to round a row."""

import itertools

import jax
import numpy as np

from jaxcompress.quantize import formats
from jaxcompress.quantize.rounding import ada_round

RANDOM = np.random.default_rng(5)
INPUTS = 8
WEIGHT = np.float32(RANDOM.normal(size=(6, INPUTS)))
X = RANDOM.normal(size=(40, INPUTS)) @ (np.eye(INPUTS) + 0.5 * RANDOM.normal(size=(INPUTS, INPUTS)))
MOMENT = np.float32(X.T @ X / 40)
SCALE = np.abs(WEIGHT).max(axis=1, keepdims=True) / 3  # of int3


def found(**options) -> np.ndarray:
    solver = ada_round(**options).solver(formats.int3())
    run = jax.jit(lambda w, h: solver.weight(solver.solve(w, h)))
    return np.float64(run(WEIGHT, MOMENT))


def loss(values) -> np.ndarray:
    error = np.float64(values) - WEIGHT
    return np.sum((error @ MOMENT) * error, axis=1)


def by_hand(steps: int, rate: float, pull: float) -> np.ndarray:
    """The shares of the other level after so many steps of Adam, in float64."""
    w = np.float64(WEIGHT) / SCALE
    nearest = np.round(w)
    gap = np.where(w == nearest, 0, np.sign(w - nearest)) * SCALE
    share = np.abs(w - nearest)
    mean = np.sum(loss(nearest * SCALE)) / w.size
    v = np.log((share + 0.1) / (1.1 - share))
    first, second = np.zeros_like(v), np.zeros_like(v)
    for t in range(steps):
        sigmoid = 1 / (1 + np.exp(-v))
        h = np.clip(1.2 * sigmoid - 0.1, 0, 1)
        errors = nearest * SCALE + h * gap - WEIGHT
        slope = 2 * (errors @ MOMENT) * gap / mean
        if t / steps >= 0.2:
            power = 20 - 18 * (t / steps - 0.2) / 0.8
            apart = 2 * h - 1
            slope -= pull * 2 * power * np.sign(apart) * np.abs(apart) ** (power - 1)
        slope *= 1.2 * sigmoid * (1 - sigmoid) * ((h > 0) & (h < 1))
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        v -= (
            rate
            * (first / (1 - 0.9 ** (t + 1)))
            / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
        )
    h = np.clip(1.2 / (1 + np.exp(-v)) - 0.1, 0, 1)
    return h, nearest * SCALE, gap


def test_ada_round_equals_the_loop():
    share, nearest, gap = by_hand(60, 0.1, 3.0)
    expected = nearest + np.where(share > 0.5, gap, 0)
    better = loss(expected) < loss(nearest)
    assert better.any()
    expected = np.where(better[:, None], expected, nearest)
    values = found(steps=60, learning_rate=0.1, pull=3.0)
    clear = np.all(np.abs(share - 0.5) > 0.05, axis=1)  # 60 steps of Adam in 24 bits
    assert clear.any()
    np.testing.assert_allclose(values[clear], expected[clear], atol=1e-5)


def test_it_lies_between_the_best_and_the_nearest():
    """Of all 2**8 ways to round a row up and down."""
    below = np.floor(WEIGHT / SCALE)
    ways = np.array(list(itertools.product((0, 1), repeat=INPUTS)))
    all_rows = np.clip(below[:, None] + ways[None], -3, 3) * SCALE[:, None]
    errors = all_rows - WEIGHT[:, None]
    best = np.min(np.sum((errors @ MOMENT) * errors, axis=2), axis=1)
    nearest, own = loss(np.round(WEIGHT / SCALE) * SCALE), loss(found())
    assert np.all(own >= best * (1 - 1e-5))
    assert np.sum(own) < 0.8 * np.sum(nearest)
