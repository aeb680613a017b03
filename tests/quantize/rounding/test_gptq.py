"""GPTQ against plain loops, its bound, its guarantees, and bad input."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import formats, int4, reconstruct
from jaxcompress.quantize.ranges import min_max
from jaxcompress.quantize.rounding import Rounded, coded, gptq, nearest
from jaxcompress.quantize.rounding.columns import columns_of
from jaxcompress.quantize.rounding.descent import better, polished
from jaxcompress.quantize.rounding.gptq import nearest_plane
from jaxcompress.quantize.rounding.matrices import encoded, grid_of
from jaxcompress.quantize.rounding.orders import min_pivot, natural
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


TABLE = np.array(formats.nf4().levels.values)


class Case(NamedTuple):
    """A layer, its format, what its codes may stand for, and how many share a scale."""

    layer: tuple
    spec: QuantSpec
    values: Callable
    group: int = 10
    block_size: int = 4


SMALL = (5, 10)
CASES = {
    "int2": Case(SMALL, formats.int2(), symmetric(1)),
    "uint3": Case(SMALL, formats.uint3(), affine(7)),
    "int4": Case(SMALL, formats.int4(), symmetric(7)),
    "uint5": Case(SMALL, formats.uint5(), affine(31)),
    "int6": Case(SMALL, formats.int6(), symmetric(31)),
    "uint7": Case(SMALL, formats.uint7(), affine(127)),
    "int8": Case(SMALL, formats.int8(), symmetric(127)),
    "453 inputs": Case((4, 453), formats.int3(), symmetric(3), 453, 128),
    "one output, groups across blocks, dead inputs": Case(
        (1, 24, (2, 5)), formats.uint4(group_size=6), affine(15), 6, 9
    ),
}


def values_of(weight: np.ndarray, values: Callable, group: int) -> np.ndarray:
    """(outputs, inputs, levels) what each weight may become."""
    blocks = np.float64(weight).reshape(len(weight), -1, group)
    return np.repeat(values(blocks), group, axis=1)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_codes_in_turn_are_those_of_the_loop(case):
    weight, second_moment = layer(*case.layer)
    turns = np.random.default_rng(1).permutation(weight.shape[1])
    values = values_of(weight, case.values, case.group)
    indices, margins = gptq_by_hand(weight, second_moment, values, turns)
    inverse = np.linalg.inv(damped(second_moment)[turns][:, turns])
    factor = np.linalg.cholesky(inverse).T.astype(np.float32)

    def codes(weight, factor):
        columns = columns_of(weight, grid_of(weight, case.spec, min_max), turns, case.spec)
        return nearest_plane(columns, factor, case.block_size)

    found = np.asarray(jax.jit(codes)(weight, factor)).T - case.spec.lowest
    clear = margins > CLOSE
    assert np.mean(clear) >= 0.5
    np.testing.assert_array_equal(found[clear], indices[:, turns][clear])


def test_a_table_is_rounded_in_turn_and_polished_as_by_the_loops():
    weight, second_moment = layer(6, 24, (3,))
    values = values_of(weight, lambda blocks: TABLE * np.abs(blocks).max(-1)[..., None], 8)
    turns = np.argsort(-np.diag(damped(second_moment)), kind="stable")
    indices, margins = gptq_by_hand(weight, second_moment, values, turns)
    closest = np.argmin(np.abs(weight[..., None] - values), axis=2)
    loss, most = (rise(weight, at(values, i), damped(second_moment)) for i in (indices, closest))
    indices = np.where(loss < most, indices.T, closest.T).T
    margins = np.minimum(margins, np.abs(loss - most) / most)
    for _ in range(2):
        indices, nearby = swept_by_hand(weight, damped(second_moment), values, indices, turns)
        margins = np.minimum(margins, nearby)
    loss, most = (rise(weight, at(values, each), second_moment) for each in (indices, closest))
    assert np.all(loss < most)  # else the nearest are taken
    spec = formats.nf4(group_size=8)
    solver = gptq(sweeps=2, block_size=10).solver(spec)
    found = np.asarray(jax.jit(solver.solve)(weight, second_moment).codes) - spec.lowest
    clear = margins > CLOSE
    assert np.mean(clear) >= 0.5
    np.testing.assert_array_equal(found[clear], indices[clear])


def test_the_example_by_hand():
    weight = np.array([[-0.15, -0.41, -0.61, -0.24], [0.18, 0.25, 0.4, -0.49]], np.float32)
    x = np.array([[1, 2, 0, 1], [0, 1, 1, 1], [2, 1, 0, 0], [1, 0, 1, 2]], np.float32)

    def both(weight, second_moment):
        found, closest = (
            each.solver(int4()).solve(weight, second_moment)
            for each in (gptq(order=natural, sweeps=0), nearest())
        )
        return (found.codes, closest.codes, found.on.scale)

    codes, closest, scale = map(np.asarray, jax.jit(both)(weight, x @ x.T))
    np.testing.assert_array_equal(codes, [[-2, -4, -7, -3], [3, 3, 5, -7]])
    np.testing.assert_array_equal(closest, [[-2, -5, -7, -3], [3, 4, 6, -7]])
    errors = [np.sum(((each * scale - weight) @ x) ** 2) for each in (codes, closest)]
    assert errors == pytest.approx([0.0114, 0.0400], abs=5e-5)


def test_without_clipping_no_output_exceeds_the_bound_of_the_nearest_plane():
    """On average it is a third of that: errors are even within half a step."""
    outputs, inputs, spec = 400, 24, formats.int8(per="tensor")
    _, second_moment = layer(1, inputs)
    weight = np.random.default_rng(0).standard_normal((outputs, inputs)).astype(np.float32)
    # Twice the range of the weights: no sum of errors leaves it.
    scale = np.float32(2 * np.abs(weight).max() / 127)
    factor = np.linalg.cholesky(np.linalg.inv(damped(second_moment))).T.astype(np.float32)
    columns = columns_of(weight, Grid(jnp.full((1, 1), scale)), jnp.arange(inputs), spec)
    codes = np.asarray(jax.jit(lambda factor: nearest_plane(columns, factor, 8))(factor)).T
    assert np.abs(codes).max() < 127
    loss = rise(weight, codes * np.float64(scale), damped(second_moment))
    steps = (scale / np.diag(np.float64(factor))) ** 2
    assert np.all(loss <= (1 + inputs * 2**-20) * np.sum(steps) / 4)
    # Each squared error is u², u even in [-1/2, 1/2]: mean 1/12, variance 1/180.
    deviation = 4 * np.sqrt(np.sum(steps**2) / 180 / outputs) / np.sum(steps)
    assert np.mean(loss) / (np.sum(steps) / 4) == pytest.approx(1 / 3, abs=4 * deviation)


@pytest.mark.parametrize("spec", [formats.int2(), formats.binary(group_size=4)], ids=str)
def test_no_sweep_raises_the_loss(spec):
    weight, second_moment = layer(6, 24)
    columns = columns_of(weight, grid_of(weight, spec, min_max), jnp.arange(24), spec)
    polish = jax.jit(lambda codes, moment: polished(columns, codes, moment, 10))
    codes, losses = columns.nearest, []
    for _ in range(4):
        rounded = np.asarray(columns.decode(codes, columns.on)).T
        losses.append(rise(weight, rounded, second_moment))
        codes = polish(codes, second_moment)
    # Of 24 terms of each of 24 sums in float32.
    assert np.all(np.diff(losses, axis=0) <= 24 * 24 * 2**-24 * losses[0])
    assert np.all(losses[-1] < losses[0])


SOLVER = gptq().solver(int4())
SOLVE = jax.jit(SOLVER.solve)
WEIGHT, MOMENT = layer(6, 24)
CLOSEST = np.round(WEIGHT / (np.abs(WEIGHT).max(axis=1, keepdims=True) / 7))


def semidefinite(rows: int) -> np.ndarray:
    x = np.random.default_rng(rows).standard_normal((rows, 24)).astype(np.float32)
    return x.T @ x / max(rows, 1)


@pytest.mark.parametrize("seed", range(3))
def test_no_output_is_worse_than_rounded_to_nearest(seed):
    random = np.random.default_rng(seed)
    weight = random.standard_normal((6, 24)).astype(np.float32)
    for second_moment in (MOMENT, semidefinite(5), np.float32(np.diag(random.uniform(0, 1, 24)))):
        scale = np.abs(weight).max(axis=1, keepdims=True) / 7
        found = SOLVER.weight(SOLVE(weight, second_moment))
        for moment in (second_moment, damped(second_moment)):
            loss = rise(weight, found, moment)
            most = rise(weight, np.round(weight / scale) * scale, moment)
            assert np.all(loss <= most * (1 + 24 * 24 * 2**-24))


def test_each_output_gets_the_better_codes():
    weight = np.array([[1, 0.45], [1, 0.45]], np.float32)
    moment, spec = np.array([[1, 0.9], [0.9, 1]], np.float32), formats.int2()
    columns = columns_of(weight, grid_of(weight, spec, min_max), jnp.arange(2), spec)
    codes = jnp.array([[1.0, 0.0], [1.0, 1.0]])  # (inputs, outputs)
    # Nearest gives (1, 0), off by 0.45 of the second. It is nearer than either.
    found = better(columns, codes, columns.nearest, moment, jnp.zeros(2))
    np.testing.assert_array_equal(found, [[1, 1], [0, 0]])
    # Where the first input counts for nothing, an error of it costs nothing.
    free = np.diag(np.float32([0, 1]))
    found = better(columns, codes.at[1].set(0), jnp.ones((2, 2)), free, jnp.zeros(2))
    np.testing.assert_array_equal(found, [[1, 0], [0, 0]])


def test_permuted_inputs_get_permuted_codes():
    order = np.random.default_rng(0).permutation(24)
    found = SOLVE(WEIGHT[:, order], MOMENT[order][:, order]).codes
    np.testing.assert_array_equal(found, SOLVE(WEIGHT, MOMENT).codes[:, order])


NEAREST = {
    "identity": np.eye(24, dtype=np.float32),
    "apart": np.diag(np.arange(24, dtype=np.float32)),
    "nothing seen": np.zeros((24, 24), np.float32),
    "nothing that can be factored": np.ones((24, 24), np.float32) - 1e30 * np.eye(24)[::-1],
    "not a number": np.full((24, 24), np.nan, np.float32),
}


@pytest.mark.parametrize("second_moment", NEAREST.values(), ids=NEAREST)
def test_inputs_without_common_energy_are_rounded_to_nearest(second_moment):
    found = SOLVE(WEIGHT, np.float32(second_moment))
    np.testing.assert_array_equal(found.codes, CLOSEST)


@pytest.mark.parametrize("size", [2.0**-60, 2.0**60, 2.0**110])
def test_the_size_of_the_data_makes_no_difference(size):
    expected = SOLVE(WEIGHT, MOMENT)
    found = SOLVE(WEIGHT, MOMENT * np.float32(size))
    np.testing.assert_array_equal(found.codes, expected.codes)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-42, 1e38], ids=str)
def test_constant_weights_are_finite(value):
    weight = np.full((6, 24), value, np.float32)
    assert np.all(np.isfinite(SOLVER.weight(SOLVE(weight, MOMENT))))


def test_weights_that_are_zero_stay_so_and_others_make_up_for_it():
    mask = np.random.default_rng(0).random((6, 24)) > 0.3
    mask[:, [0, 1]] = [False, True]
    weight = WEIGHT * mask
    found = SOLVE(weight, MOMENT)
    np.testing.assert_array_equal(np.asarray(found.codes)[~mask], 0)
    closest = np.round(weight / (np.abs(weight).max(axis=1, keepdims=True) / 7))
    scale = np.asarray(found.on.scale)
    assert np.all(rise(weight, found.codes * scale, MOMENT) < rise(weight, closest * scale, MOMENT))


def test_a_moment_that_is_not_positive_definite_is_damped_more_and_that_is_told():
    moment = np.eye(24, dtype=np.float32)
    moment[0, 1] = moment[1, 0] = 1.05
    found = [SOLVE(WEIGHT, each) for each in (MOMENT, moment)]
    assert [float(each.raised) for each in found] == [1, 10]
    solutions = jax.tree.map(lambda *each: jnp.stack(each), *found)
    assert SOLVER.note(solutions) == (
        "1 of its 2 second moments had no Cholesky factor: the damping was raised 10 times"
    )
    lost = SOLVE(WEIGHT, np.float32(NEAREST["nothing that can be factored"]))
    alone = jax.tree.map(lambda each: each[None], lost)
    assert SOLVER.note(alone).endswith("at any damping: all inputs counted alike")
    assert SOLVER.note(jax.tree.map(lambda each: each[None], found[0])) == ""


def test_the_report_says_what_a_solution_notes():
    def round(weight, second_moment, spec):
        on = grid_of(weight, spec, min_max)
        return Rounded(encoded(weight, on, spec), on, jnp.float32(100))

    fn, params = (lambda params, x: x @ params["w"]), {"w": jnp.eye(2)}
    _, report = reconstruct(fn, params, [jnp.eye(2)], int4(), coded(round))
    assert report.leaves[0].reason == (
        "rounded on its inputs; its second moment had no Cholesky factor: the damping was raised "
        "100 times"
    )


def test_the_smallest_pivot_goes_last():
    left, last_first = np.float64(MOMENT), []
    for _ in range(24):
        pivots = np.diag(left) + np.where(np.isin(np.arange(24), last_first), np.inf, 0)
        j = int(np.argmin(pivots))
        left = left - np.outer(left[:, j], left[j]) / left[j, j]
        last_first.append(j)
    np.testing.assert_array_equal(min_pivot(jnp.asarray(MOMENT)), last_first[::-1])


def test_the_program_is_no_longer_for_more_inputs_maps_and_lowers():
    def equations(inputs: int) -> int:
        shapes = (jax.ShapeDtypeStruct(each, jnp.float32) for each in ((8, inputs), (inputs,) * 2))
        return str(jax.make_jaxpr(SOLVER.solve)(*shapes)).count(" = ")

    assert equations(256) == equations(1024)
    shapes = [jax.ShapeDtypeStruct(each, jnp.float32) for each in ((3, 8, 256), (3, 256, 256))]
    traced = jax.jit(jax.vmap(SOLVER.solve)).trace(*shapes)
    assert "while" in traced.lower(lowering_platforms=("tpu", "cuda")).as_text()
