"""GPTQ against plain loops, its bound, its guarantees, and bad input."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import formats, int4
from jaxcompress.quantize.ranges import min_max
from jaxcompress.quantize.rounding import gptq, nearest
from jaxcompress.quantize.rounding.columns import columns_of
from jaxcompress.quantize.rounding.gptq import nearest_plane
from jaxcompress.quantize.rounding.matrices import grid_of
from jaxcompress.quantize.rounding.orders import natural
from jaxcompress.quantize.rounding.rounding import Rounding
from tests.quantize.rounding.by_hand import at, damped, gptq_by_hand, rise, swept_by_hand

CLOSE = 1e-3
"""Of a step: nearer calls may fall otherwise in float32, hundreds of roundings on."""


def layer(outputs: int, inputs: int, dead: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the second moment of inputs; those that are `dead` are always 0."""
    random = np.random.default_rng(inputs)
    weight = random.standard_normal((outputs, inputs))
    x = random.standard_normal((3 * inputs, inputs)) * random.uniform(0.3, 2, inputs)
    x = x @ (np.eye(inputs) + 0.5 * random.standard_normal((inputs, inputs)) / inputs**0.5)
    x[:, list(dead)] = 0
    return weight.astype(np.float32), (x.T @ x / len(x)).astype(np.float32)


def solved(rounding: Rounding, spec: QuantSpec, weight, second_moment):
    """(what was found, the weights that the codes stand for)."""
    solver = rounding.solver(spec)
    found = jax.jit(solver.solve)(jnp.asarray(weight), jnp.asarray(second_moment))
    return found, np.asarray(solver.weight(found))


def symmetric(highest: int) -> Callable:
    """What codes of a block (…, size) may stand for, by hand."""

    def values(blocks):
        return np.arange(-highest, highest + 1) * np.abs(blocks).max(-1)[..., None] / highest

    return values


def affine(highest: int) -> Callable:
    def values(blocks):
        low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
        scale = (high - low) / highest
        return (np.arange(highest + 1) + np.round(low / scale)[..., None]) * scale[..., None]

    return values


def nf4(blocks):
    return np.array(formats.nf4().levels.values) * np.abs(blocks).max(-1)[..., None]


class Case(NamedTuple):
    """A layer, its format, what its codes may stand for, and how many share a scale."""

    layer: tuple
    spec: QuantSpec
    values: Callable
    group: int
    block_size: int = 128
    sweeps: int = 1


CASES = {
    "453 inputs": Case((4, 453), formats.int3(), symmetric(3), 453, sweeps=0),
    "one output, groups across blocks, dead inputs": Case(
        (1, 24, (2, 5)), formats.uint4(group_size=6), affine(15), 6, 9
    ),
    "nf4": Case((6, 24), formats.nf4(group_size=8), nf4, 8, 16),
}
WIDTHS = {
    "int2": (formats.int2(), symmetric(1)),
    "uint3": (formats.uint3(), affine(7)),
    "int4": (formats.int4(), symmetric(7)),
    "uint5": (formats.uint5(), affine(31)),
    "int6": (formats.int6(), symmetric(31)),
    "uint7": (formats.uint7(), affine(127)),
    "int8": (formats.int8(), symmetric(127)),
}


def check(case: Case, weight: np.ndarray, second_moment: np.ndarray) -> None:
    """The codes of outputs without a close call are those of the loop."""
    values = case.values(np.float64(weight).reshape(len(weight), -1, case.group))
    values = np.repeat(values, case.group, axis=1)  # (outputs, inputs, levels)
    turns = np.argsort(-np.diag(second_moment), kind="stable")
    indices, margins = gptq_by_hand(weight, second_moment, values, turns)
    closest = np.argmin(np.abs(weight[..., None] - values), axis=2)
    loss, most = (rise(weight, at(values, i), damped(second_moment)) for i in (indices, closest))
    indices = np.where(loss < most, indices.T, closest.T).T
    margins = np.minimum(margins, np.abs(loss - most) / most)
    for _ in range(case.sweeps):
        indices, nearby = swept_by_hand(weight, damped(second_moment), values, indices, turns)
        margins = np.minimum(margins, nearby)
    assert np.mean(margins > CLOSE) >= 0.5
    rounding = gptq(sweeps=case.sweeps, block_size=case.block_size)
    found, _ = solved(rounding, case.spec, weight, second_moment)
    expected = indices + case.spec.lowest
    np.testing.assert_array_equal(found.codes[margins > CLOSE], expected[margins > CLOSE])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_codes_are_those_of_the_loop(case):
    check(case, *layer(*case.layer))


@pytest.mark.parametrize(("spec", "values"), WIDTHS.values(), ids=WIDTHS)
def test_codes_of_every_width_are_those_of_the_loop(spec, values):
    weight, second_moment = layer(5, 10)
    values = np.repeat(values(np.float64(weight[:, None])), 10, axis=1)
    indices, margins = gptq_by_hand(weight, second_moment, values, range(10))
    factor = np.linalg.cholesky(np.linalg.inv(damped(second_moment))).T

    def codes(weight, factor):
        on = grid_of(weight, spec, min_max)
        return nearest_plane(columns_of(weight, on, jnp.arange(10), spec), factor, 4)

    found = jax.jit(codes)(weight, factor.astype(np.float32)).T - spec.lowest
    assert np.mean(margins > CLOSE) >= 0.5
    np.testing.assert_array_equal(found[margins > CLOSE], indices[margins > CLOSE])


def test_the_example_by_hand():
    weight = np.array([[-0.15, -0.41, -0.61, -0.24], [0.18, 0.25, 0.4, -0.49]], np.float32)
    x = np.array([[1, 2, 0, 1], [0, 1, 1, 1], [2, 1, 0, 0], [1, 0, 1, 2]], np.float32)
    found, rounded = solved(gptq(order=natural), int4(), weight, x @ x.T)
    np.testing.assert_array_equal(found.codes, [[-2, -4, -7, -3], [3, 3, 5, -7]])
    assert np.sum(((rounded - weight) @ x) ** 2) == pytest.approx(0.0114, abs=5e-5)
    found, rounded = solved(nearest(), int4(), weight, x @ x.T)
    np.testing.assert_array_equal(found.codes, [[-2, -5, -7, -3], [3, 4, 6, -7]])
    assert np.sum(((rounded - weight) @ x) ** 2) == pytest.approx(0.0400, abs=5e-5)
