"""Solvers of one matrix against plain NumPy loops."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.grids import grid
from jaxcompress.core.observers import Range
from jaxcompress.prune.patterns import n_of_m, unstructured, within_groups, within_outputs
from jaxcompress.prune.patterns.pattern import Pattern
from jaxcompress.prune.solvers import (
    alps,
    least_squares,
    optimal_brain_surgeon,
    refitted,
    sparsegpt,
)
from jaxcompress.prune.solvers.sparsegpt import block_shares
from tests.prune.by_hand import (
    TOLERANCE,
    alps_by_hand,
    best_for,
    damped,
    in_all,
    in_each_output,
    in_runs,
    normal,
    rise,
    single,
    sparsegpt_by_hand,
)


def moment(inputs: int) -> np.ndarray:
    """E[x xᵀ] of inputs that go together."""
    x = normal(4 * inputs, inputs) @ (np.eye(inputs) + 0.2 * normal(inputs, inputs))
    return x.T @ x / len(x)


def compiled(solver: Callable) -> Callable:
    """One program, which compiles faster than each of its operations by itself."""
    return jax.jit(solver, static_argnums=2)


class Case(NamedTuple):
    """A matrix, how it is cut and pruned, and who goes of a block by hand."""

    shape: tuple[int, int]
    block_size: int
    sparsity: float
    pattern: Pattern
    choose: Callable


CASES = {
    "one block": Case((6, 12), 128, 0.4, unstructured, in_all),
    "whole blocks": Case((5, 16), 8, 0.5, unstructured, in_all),
    "a rest": Case((12, 19), 8, 0.7, unstructured, in_all),
    "each input alone": Case((9, 6), 1, 0.5, unstructured, in_all),
    "each output": Case((7, 19), 8, 0.7, within_outputs, in_each_output),
    "2:4": Case((6, 20), 8, 0.5, n_of_m(2, 4), in_runs(4, 2)),
    "2:4 run by run": Case((6, 16), 4, 0.5, n_of_m(2, 4), in_runs(4, 2)),
    "1 of 4 goes": Case((3, 12), 8, 0.25, within_groups(4), in_runs(4, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_sparsegpt_equals_the_loop(name):
    shape, block_size, sparsity, pattern, choose = CASES[name]
    weight, second_moment = normal(*shape), moment(shape[1])
    solver = compiled(sparsegpt(pattern=pattern, block_size=block_size))
    found, keep = solver(single(weight), single(second_moment), sparsity)
    expected, kept = sparsegpt_by_hand(weight, second_moment, sparsity, block_size, choose)
    np.testing.assert_array_equal(keep, kept)
    np.testing.assert_allclose(found, expected, **TOLERANCE)
    np.testing.assert_array_equal(np.asarray(found)[~kept], 0)


def four_bits(weight: jax.Array) -> Callable:
    """Values of 4-bit codes, whose scales are those of eight inputs of the weight."""
    spec = jc.quantize.int4()
    groups = jnp.max(jnp.abs(weight.reshape(len(weight), -1, 8)), axis=2)  # (outputs, groups)

    def rounded(column, position):
        ends = groups[:, position // 8]
        on = grid(Range(-ends, ends), spec)
        return decode(encode(column, on, spec), on, spec)

    return rounded


@pytest.mark.parametrize(
    ("pattern", "choose"), [(unstructured, in_all), (n_of_m(2, 4), in_runs(4, 2))], ids=["", "2:4"]
)
def test_sparse_and_low_bit_weights_are_found_in_one_pass(pattern, choose):
    weight, second_moment = normal(6, 32), moment(32)
    scale = np.abs(np.float32(weight)).reshape(6, 4, 8).max(axis=2) / 7

    def rounded(column, j):
        return scale[:, j // 8] * np.clip(np.round(column / scale[:, j // 8]), -7, 7)

    expected, kept = sparsegpt_by_hand(weight, second_moment, 0.5, 8, choose, rounded)
    weight, second_moment = single(weight), single(second_moment)
    both = sparsegpt(pattern=pattern, block_size=8, rounding=four_bits)
    found, keep = compiled(both)(weight, second_moment, 0.5)
    np.testing.assert_array_equal(keep, kept)
    np.testing.assert_allclose(found, expected, **TOLERANCE)
    pruned, _ = compiled(sparsegpt(pattern=pattern, block_size=8))(weight, second_moment, 0.5)
    in_turn = np.stack([rounded(np.asarray(pruned)[:, j], j) for j in range(32)], axis=1)
    assert rise(weight, found, second_moment) < rise(weight, in_turn, second_moment)


def test_one_weight_of_an_output_goes_as_surgeons_would():
    """The closed form of the best weights without one: w - w_q / Hinv_qq · Hinv[q]."""

    def pattern(scores, sparsity, leaf_axes):
        return jnp.ones(scores.shape, bool).at[0].set(False)

    weight, second_moment = single(normal(4, 6)), moment(6)
    found, _ = compiled(sparsegpt(pattern=pattern))(weight, single(second_moment), 0.5)
    inverse = np.linalg.inv(damped(second_moment, 0.01))
    expected = weight - np.outer(weight[:, 0], inverse[0] / inverse[0, 0])
    np.testing.assert_allclose(found, expected, **TOLERANCE)


@pytest.mark.parametrize(
    ("outputs", "inputs", "width"),
    [(3, 300, 8), (5, 77, 8), (1, 10, 8), (2, 9, 5), (4, 26, 14), (64, 129, 128), (5, 6, 5)],
)
def test_blocks_share_the_count_of_the_whole(outputs, inputs, width):
    for sparsity in (0.0, 0.05, 0.3, 1 / 3, 3.4 / 9, 0.5, 0.75, 0.77, 0.8, 0.99):
        shares = block_shares(sparsity, outputs, inputs, width)
        assert np.all((shares >= 0) & (shares <= 1))
        lengths = [min(width, inputs - begin) for begin in range(0, inputs, width)]
        exact = Fraction(float(np.float32(sparsity)))
        blocks = list(zip(map(float, shares), lengths, strict=True))
        gone = sum(round(share * length * outputs) for share, length in blocks)
        assert gone == round(exact * outputs * inputs)
        if outputs % 2 == 0 or exact * inputs % 1 != Fraction(1, 2):
            assert sum(round(share * length) for share, length in blocks) == round(exact * inputs)


@pytest.mark.parametrize(("shape", "sparsity"), [((64, 129), 0.8), ((5, 6), 0.3)])
def test_a_last_block_that_is_too_small_for_what_is_missing_leaves_the_count_right(shape, sparsity):
    width = min(128, shape[1] - 1)
    _, keep = compiled(sparsegpt(block_size=width))(
        single(normal(*shape)), single(np.eye(shape[1])), sparsity
    )
    assert np.sum(~np.asarray(keep)) == round(Fraction(float(np.float32(sparsity))) * keep.size)


@pytest.mark.parametrize("solver", [sparsegpt(), alps()], ids=["sparsegpt", "alps"])
def test_the_program_is_no_longer_for_more_inputs(solver):
    def equations(inputs: int) -> int:
        shapes = (jax.ShapeDtypeStruct(each, jnp.float32) for each in ((8, inputs), (inputs,) * 2))
        program = jax.make_jaxpr(lambda w, h: solver(w, h, 0.5))(*shapes)
        return str(program).count(" = ")

    assert equations(256) == equations(1024)


def test_inputs_that_were_never_seen_go_first_and_what_stays_of_them_stays():
    weight, second_moment = single(normal(3, 6)), moment(6)
    second_moment[[1, 4]] = second_moment[:, [1, 4]] = 0
    found, keep = map(np.asarray, compiled(sparsegpt())(weight, single(second_moment), 0.25))
    assert np.sum(~keep) == 4
    assert np.all(~keep[:, 1])
    np.testing.assert_array_equal(found[:, 4][keep[:, 4]], np.asarray(weight)[:, 4][keep[:, 4]])


def surgeon_by_hand(weight, second_moment, sparsity):
    """The least cost of all weights, an inverse for each output, time after time."""
    weight = np.array(weight, np.float64)
    keep = np.ones(weight.shape, bool)
    inverses = [np.linalg.inv(damped(second_moment, 0.01)) for _ in weight]
    for _ in range(round(Fraction(float(np.float32(sparsity))) * weight.size)):
        costs = [
            np.where(stays, row**2 / np.diag(inverse), np.inf)
            for row, stays, inverse in zip(weight, keep, inverses, strict=True)
        ]
        o, q = np.unravel_index(np.argmin(costs), weight.shape)
        column = inverses[o][:, q] / inverses[o][q, q]
        weight[o] -= weight[o, q] * column
        inverses[o] -= np.outer(column, inverses[o][q])
        keep[o, q] = False
        weight[~keep] = 0
        # A removed input's own variance is 0; any positive number keeps it out.
        inverses[o][q, q] = 1.0
        inverses[o][q, :q] = inverses[o][q, q + 1 :] = 0
        inverses[o][:q, q] = inverses[o][q + 1 :, q] = 0
    return weight, keep


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
def test_the_surgeon_equals_the_loop(shape):
    weight, second_moment = normal(*shape), moment(shape[1])
    solver = compiled(optimal_brain_surgeon())
    found, keep = solver(single(weight), single(second_moment), 0.6)
    expected, kept = surgeon_by_hand(weight, second_moment, 0.6)
    np.testing.assert_array_equal(keep, kept)
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_what_the_surgeon_leaves_is_the_best_that_its_mask_allows():
    weight, second_moment = normal(4, 8), moment(8)
    found, keep = compiled(optimal_brain_surgeon())(single(weight), single(second_moment), 0.5)
    second_moment = damped(second_moment, 0.01)
    for row, new, stays in zip(weight, np.asarray(found), np.asarray(keep), strict=True):
        left = second_moment[np.ix_(stays, stays)]
        best = np.linalg.solve(left, second_moment[stays] @ row)
        np.testing.assert_allclose(new[stays], best, **TOLERANCE)


@pytest.mark.parametrize(
    ("pattern", "block_size"), [(unstructured, 16), (n_of_m(2, 4), 4)], ids=["half", "2:4"]
)
@pytest.mark.parametrize("shape", [(6, 16), (20, 12)], ids=str)
def test_refitted_weights_are_the_best_for_the_mask(shape, pattern, block_size):
    weight, second_moment = single(normal(*shape)), moment(shape[1])
    inner = sparsegpt(pattern=pattern, block_size=block_size)
    solved, keep = compiled(refitted(inner, steps=100))(weight, single(second_moment), 0.5)
    begun, mask = compiled(inner)(weight, single(second_moment), 0.5)
    np.testing.assert_array_equal(keep, mask)
    np.testing.assert_array_equal(np.asarray(solved) != 0, keep)
    whole = damped(second_moment, 0.01)
    best = best_for(np.asarray(keep), weight, whole)
    np.testing.assert_allclose(solved, best, **TOLERANCE)
    assert rise(weight, solved, whole) < rise(weight, begun, whole)


GONE = {
    "half": (unstructured, lambda scores, share: in_all(scores, round(share * 72))),
    "half of each output": (
        within_outputs,
        lambda scores, share: in_each_output(scores, 6 * round(share * 12)),
    ),
    "2:4": (n_of_m(2, 4), lambda scores, share: in_runs(4, round(share * 4))(scores, 0)),
}


@pytest.mark.parametrize("name", GONE)
def test_least_squares_equals_the_loop(name):
    pattern, choose = GONE[name]
    weight, second_moment = normal(6, 12), moment(12)
    solver = least_squares(pattern=pattern, rounds=3, steps=100)
    solved, keep = compiled(solver)(single(weight), single(second_moment), 0.5)
    whole, found = damped(second_moment, 0.01), weight
    for share in (0.5 * 19 / 27, 0.5 * 26 / 27, 0.5):
        scores = found**2 / np.diag(np.linalg.inv(whole))
        stays = ~choose(scores.T, share).T
        found = best_for(stays, weight, whole)
    np.testing.assert_array_equal(keep, stays)
    np.testing.assert_allclose(solved, found, **TOLERANCE)


def test_least_squares_leaves_less_error_than_one_pass():
    weight, second_moment = single(normal(24, 32)), single(moment(32))
    errors = [
        rise(weight, compiled(solver)(weight, second_moment, 0.5)[0], second_moment)
        for solver in (
            optimal_brain_surgeon(),
            least_squares(),
            refitted(sparsegpt()),
            sparsegpt(),
        )
    ]
    assert errors[0] < 1.1 * errors[1]
    assert errors[1] < errors[2] < errors[3]


WITH_ALPS = {"half": jax.jit(alps()), "2:4": jax.jit(alps(pattern=n_of_m(2, 4)))}
"""Compiled once for all matrices of a shape, whatever the sparsity."""
SHAPE = (16, 24)


@pytest.mark.parametrize("name", WITH_ALPS)
def test_alps_equals_the_loop(name):
    weight, second_moment = normal(*SHAPE), moment(SHAPE[1])
    solved, keep = WITH_ALPS[name](single(weight), single(second_moment), 0.5)
    choose = GONE[name][1]
    share = 0.5 * weight.size / 72 if name == "half" else 0.5
    expected, kept = alps_by_hand(weight, second_moment, lambda scores: choose(scores, share))
    np.testing.assert_array_equal(keep, kept)
    np.testing.assert_allclose(solved, expected, **TOLERANCE)


@pytest.mark.parametrize(
    ("name", "sparsity", "block_size"), [("half", 0.7, 128), ("2:4", 0.5, 4)], ids=["70 %", "2:4"]
)
def test_alps_leaves_the_least_error_of_ten_layers_and_no_gradient(name, sparsity, block_size):
    pattern = GONE[name][0]
    others = [compiled(refitted(sparsegpt(pattern=pattern, block_size=block_size)))]
    if name == "half":
        others.append(compiled(least_squares()))
    for _ in range(10):
        weight, second_moment = single(normal(*SHAPE)), moment(SHAPE[1])
        arrays = weight, single(second_moment)
        solved, keep = WITH_ALPS[name](*arrays, sparsity)
        whole = damped(second_moment, 0.01)
        error = rise(weight, solved, whole)
        assert all(error < rise(weight, each(*arrays, sparsity)[0], whole) for each in others)
        best = best_for(np.asarray(keep), weight, whole)
        np.testing.assert_allclose(solved, best, **TOLERANCE)


def test_alps_finds_the_same_at_every_scale_and_of_uncorrelated_inputs_the_largest():
    weight, second_moment = single(normal(*SHAPE)), single(moment(SHAPE[1]))
    solved, keep = WITH_ALPS["half"](weight, second_moment, 0.5)
    for scale, energy in ((2.0**-110, 2.0**100), (2.0**100, 2.0**-110), (2.0**-100, 1.0)):
        scaled, kept = WITH_ALPS["half"](scale * weight, energy * second_moment, 0.5)
        np.testing.assert_array_equal(keep, kept)
        np.testing.assert_array_equal(scaled / scale, solved)
    solved, _ = WITH_ALPS["half"](weight, single(np.eye(SHAPE[1])), 0.5)
    largest = np.abs(weight) > np.median(np.abs(weight))
    np.testing.assert_allclose(solved, weight * largest, rtol=2**-20)


FROM_LITTLE = {
    "one row": lambda x: x[:1],
    "fewer rows than inputs": lambda x: x[:9],
    "inputs that are the same": lambda x: np.repeat(x[:, :1], x.shape[1], axis=1),
    "an outlier": lambda x: x * np.where(np.arange(x.shape[1]) == 3, 1e4, 1.0),
}


@pytest.mark.parametrize("name", FROM_LITTLE)
def test_alps_holds_its_promise_on_moments_that_are_almost_singular(name):
    weight, x = single(normal(*SHAPE)), FROM_LITTLE[name](normal(96, SHAPE[1]))
    second_moment = x.T @ x / len(x)
    solved, keep = WITH_ALPS["half"](weight, single(second_moment), 0.5)
    assert int(np.sum(keep)) == weight.size // 2
    whole = damped(second_moment, 0.01)
    best = rise(weight, best_for(np.asarray(keep), weight, whole), whole)
    assert rise(weight, solved, whole) < 1.01 * best + 1e-6 * rise(weight, 0 * weight, whole)


def test_alps_leaves_what_loses_nothing_and_inputs_that_were_never_seen():
    weight, second_moment = np.float32(normal(*SHAPE)), moment(SHAPE[1])
    second_moment[[1, 4]] = second_moment[:, [1, 4]] = 0
    solved, keep = map(np.asarray, WITH_ALPS["half"](weight, single(second_moment), 20 / 384))
    assert np.sum(~keep) == np.sum(~keep[:, [1, 4]]) == 20
    np.testing.assert_allclose(solved[keep], weight[keep], rtol=2**-20)
    weight[:, 7] = 0
    solved, _ = WITH_ALPS["half"](weight, single(second_moment), 0.0)
    np.testing.assert_array_equal(solved, weight)
    nothing = np.zeros(SHAPE, np.float32)
    for constant in (nothing, nothing + 2.0**-140):
        solved, keep = WITH_ALPS["half"](constant, single(second_moment), 0.5)
        assert not np.any(solved)
        assert not np.any(keep)
    second_moment -= 0.1 * np.eye(len(second_moment))
    solved, _ = WITH_ALPS["half"](weight, single(second_moment), 0.5)
    assert np.all(np.isfinite(solved))


def test_refitting_stands_still_where_nothing_is_left_to_fit():
    weight, second_moment = single(normal(3, 4)), single(np.eye(4))
    untouched = lambda weight, second_moment, sparsity: (weight, weight != 0)  # noqa: E731
    solved, _ = compiled(refitted(untouched, steps=200))(weight, second_moment, 0.0)
    np.testing.assert_array_equal(solved, weight)
    tiny = 1e-19 * weight
    solved, _ = compiled(refitted(sparsegpt(pattern=n_of_m(2, 4))))(tiny, single(moment(4)), 0.5)
    assert np.all(np.isfinite(solved))
    dropped = lambda weight, second_moment, sparsity: (0 * weight, weight > 9)  # noqa: E731
    solved, _ = compiled(refitted(dropped))(weight, second_moment, 1.0)
    np.testing.assert_array_equal(solved, 0 * weight)


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [
        (sparsegpt, {"block_size": 0}, "sparsegpt(block_size=0)"),
        (sparsegpt, {"damping": 0.0}, "sparsegpt(damping=0.0)"),
        (optimal_brain_surgeon, {"damping": -1.0}, "optimal_brain_surgeon(damping=-1.0)"),
        (least_squares, {"rounds": 0}, "least_squares(rounds=0)"),
        (least_squares, {"steps": 0}, "least_squares(steps=0)"),
        (refitted, {"solver": sparsegpt(), "damping": 0.0}, "refitted(damping=0.0)"),
        (alps, {"steps": 0}, "alps(steps=0)"),
        (alps, {"damping": 0.0}, "alps(damping=0.0)"),
    ],
)
def test_numbers_out_of_range_are_refused(solver, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        solver(**options)
