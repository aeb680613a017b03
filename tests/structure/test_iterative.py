"""Removal in rounds: what they add up to, and what each round sees."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.graph import Removal
from jaxcompress.graph.surgery.check import difference
from jaxcompress.graph.surgery.divisors import Divisors
from jaxcompress.graph.surgery.removal import LeafCut
from jaxcompress.structure import Cut, amounts, importance
from jaxcompress.structure.iterative import Rounds, after_one_another, iterative
from jaxcompress.structure.remove import remove
from tests.graph.zoo import normal

ROUNDING = 100 * float(jnp.finfo(jnp.float32).eps)
"""Of outputs behind a few sums of some ten terms, relative to the largest."""


def untrained(fn, params, turn):
    del fn, turn
    return params


def perceptron(params, x):
    return jax.nn.relu(x @ params["in"] + params["bias"][None]) @ params["out"]


PARAMS = {"in": normal(1, 3, 6), "bias": normal(2, 6), "out": normal(3, 6, 2)}
X = normal(4, 5, 3)


def stack(params, x):
    def layer(x, each):
        return x + jnp.tanh(x @ each["up"]) @ each["down"], None

    return jax.lax.scan(layer, x, params)[0]


STACK = {"up": normal(2, 2, 3, 10), "down": normal(3, 2, 10, 3)}
HALF = amounts.fraction(0.5)


def without(leaf, cut):
    """The entries that a cut leaves, by the plainest loop."""
    if np.ndim(cut.indices) == 1:
        return np.delete(leaf, cut.indices, cut.axis)
    layers = zip(leaf, cut.indices, strict=True)
    return np.stack([np.delete(layer, gone, cut.axis - 1) for layer, gone in layers])


def cut(random, size, count, layers):
    rows = [
        tuple(sorted(random.choice(size, count, replace=False).tolist()))
        for _ in range(layers or 1)
    ]
    return LeafCut("leaf", 1, size, tuple(rows) if layers else rows[0])


@pytest.mark.parametrize("first_layers", [0, 3])
@pytest.mark.parametrize("second_layers", [0, 3])
def test_two_cuts_of_an_axis_are_one(first_layers, second_layers):
    random = np.random.default_rng(first_layers + second_layers)
    leaf = np.arange(3 * 7 * 2).reshape(3, 7, 2)
    for counts in ((1, 1), (2, 3), (5, 1), (1, 5)):
        first = cut(random, 7, counts[0], first_layers)
        second = cut(random, 7 - counts[0], counts[1], second_layers)
        both = after_one_another(Removal((first,)), Removal((second,)), ["leaf"])
        (one,) = both.cuts
        assert (one.leaf, one.axis, one.size, one.count) == ("leaf", 1, 7, sum(counts))
        np.testing.assert_array_equal(without(leaf, one), without(without(leaf, first), second))


def test_cuts_of_different_axes_stand_in_the_order_of_the_tree():
    first = Removal((LeafCut("b", 1, 4, (0,)),))
    second = Removal((LeafCut("a", 0, 3, (1,)), LeafCut("b", 0, 5, (2,)), LeafCut("c", 2, 2, (0,))))
    assert after_one_another(first, second, ["c", "b", "a"]).cuts == (
        LeafCut("c", 2, 2, (0,)),
        LeafCut("b", 0, 5, (2,)),
        LeafCut("b", 1, 4, (0,)),
        LeafCut("a", 0, 3, (1,)),
    )
    assert after_one_another(Removal(()), first, ["b"]) == first
    assert after_one_another(first, Removal(()), ["b"]) == first


SCORE = importance.magnitude()


@functools.cache
def two_rounds() -> Rounds:
    """Half of the units twice, in even numbers."""
    return iterative(
        stack,
        STACK,
        SCORE,
        X,
        cuts=[Cut(HALF, multiple_of=2)] * 2,
        fine_tune=untrained,
    )


def test_rounds_are_one_removal_of_the_original_model():
    rounds = two_rounds()
    at_once = graph.surgery.slice_params(STACK, rounds.removal)
    jax.tree.map(np.testing.assert_array_equal, rounds.params, at_once)
    (up,) = rounds.removal.of("up")
    assert (up.size, up.count) == (10, 6)
    assert up.indices[0] != up.indices[1]
    outputs = jax.jit(rounds.fn)(rounds.params, X)
    assert difference(outputs, stack(at_once, X)) <= ROUNDING


def test_rounds_do_what_removals_one_after_another_do():
    rounds = two_rounds()
    first = remove(stack, STACK, SCORE, X, cut=Cut(HALF, multiple_of=2))
    second = remove(first.fn, first.params, SCORE, X, cut=Cut(HALF, multiple_of=2))
    jax.tree.map(np.testing.assert_array_equal, rounds.params, second.params)
    assert [report.plan for report in rounds.reports] == [first.report.plan, second.report.plan]
    outputs = jax.jit(second.fn)(second.params, X)
    assert difference(outputs, stack(rounds.params, X)) <= ROUNDING


def test_reports_are_of_the_model_as_it_then_was():
    first, second = (report.plan for report in two_rounds().reports)
    assert first.after == second.before
    assert [(row.units, row.kept) for row in first.families] == [(10, 6)]
    assert [(row.units, row.kept) for row in second.families] == [(6, 4)]


def test_scores_are_taken_anew_of_what_was_trained():
    """Training after the first round makes the last unit the smallest."""
    params = {"in": jnp.eye(4), "out": jnp.array([[4.0], [1.0], [3.0], [2.0]])}
    seen = []

    def sizes(fn, params, found):
        del fn
        seen.append(params["out"][:, 0].tolist())
        return dict.fromkeys(found.units, params["out"][:, 0])

    def fine_tune(fn, params, turn):
        assert jax.eval_shape(fn, params, jnp.ones((1, 4))).shape == (1, 1)
        return params | {"out": params["out"].at[0].set(-float(turn))}

    rounds = iterative(
        lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"],
        params,
        sizes,
        jnp.ones((1, 4)),
        cuts=[amounts.count(1)] * 2,
        fine_tune=fine_tune,
    )
    # Unit 1 goes first; then unit 0 is set to 0 and goes; then unit 2 is set to -1.
    assert seen == [[4.0, 1.0, 3.0, 2.0], [0.0, 3.0, 2.0]]
    assert [cut.indices for cut in rounds.removal.cuts] == [(0, 1), (0, 1)]
    assert rounds.params["out"][:, 0].tolist() == [-1.0, 2.0]
    assert params["out"][:, 0].tolist() == [4.0, 1.0, 3.0, 2.0]


def test_training_sees_the_smaller_model_after_every_round():
    seen = []

    def fine_tune(fn, params, turn):
        def loss(params):
            return (fn(params, X) ** 2).mean()

        slope = jax.jit(jax.value_and_grad(loss))
        before, slopes = slope(params)
        trained = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, params, slopes)
        seen.append((turn, params["in"].shape, before, slope(trained)[0]))
        return trained

    rounds = iterative(
        perceptron,
        PARAMS,
        SCORE,
        X,
        cuts=[
            Cut(amounts.within_parameters(limit), floors=2, families=("in:*",))
            for limit in (30, 18)
        ],
        fine_tune=fine_tune,
    )
    assert [(turn, shape) for turn, shape, _, _ in seen] == [(0, (3, 5)), (1, (3, 3))]
    for _, _, before, after in seen:
        assert after < before
    outputs = jax.jit(rounds.fn)(rounds.params, X)
    assert (outputs**2).mean() == pytest.approx(float(seen[-1][-1]), rel=ROUNDING)
    assert difference(outputs, perceptron(rounds.params, X)) <= ROUNDING


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ([], r"iterative\(cuts=\[\]\) has no round"),
        ([Cut(HALF), Cut(HALF, divisors=Divisors.NEW)], r"iterative\(cuts=...\) mixes divisors"),
    ],
)
def test_rounds_that_make_no_removal_together_are_refused(cuts, message):
    with pytest.raises(ValueError, match=message):
        iterative(perceptron, PARAMS, SCORE, X, cuts=cuts, fine_tune=untrained)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"count\(removed=4\): family 'in:1' has 6 units, of which 3 can go"),
        ({"families": ("out:*",)}, r"Cut\(families='out:\*'\) matches no family"),
    ],
)
def test_a_round_is_refused_as_by_the_plan(options, message):
    with pytest.raises(ValueError, match=message):
        iterative(
            perceptron,
            PARAMS,
            SCORE,
            X,
            cuts=[Cut(amounts.count(4), floors=3, **options)],
            fine_tune=untrained,
        )
