"""The dry run: its rows by hand, what is chosen, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import Rules
from jaxcompress.structure import Cut, amounts, importance
from jaxcompress.structure.plan import plan
from jaxcompress.structure.planned import FamilyPlan
from jaxcompress.structure.widths import Totals
from tests.graph.zoo import normal
from tests.inputs import QTENSORS


def perceptron(params, x):
    hidden = jax.nn.relu(x @ params["in"] + params["bias"][None])
    return jnp.tanh(hidden @ params["mid"]) @ params["out"]


PARAMS = {
    "in": normal(1, 3, 4),
    "bias": normal(2, 4),
    "mid": normal(3, 4, 5),
    "out": normal(4, 5, 2),
}
X = normal(5, 2, 3)
SCORES = {"in:1": np.array([3.0, 1.0, 2.0, 4.0]), "mid:1": np.array([5.0, 2.0, 2.0, 9.0, 7.0])}


def stack(params, x):
    def layer(x, each):
        return x + jnp.tanh(x @ each["up"]) @ each["down"], None

    return jax.lax.scan(layer, x, params)[0]


STACK = {"up": normal(1, 2, 3, 5), "down": normal(2, 2, 5, 3)}
LAYERED = {"up:2": np.array([[3.0, 1.0, 2.0, 5.0, 4.0], [1.0, 4.0, 5.0, 3.0, 2.0]])}


def given(scores):
    """The importance that says what it is told to, of the families that are there."""
    return lambda fn, params, found: {name: scores[name] for name in found.units if name in scores}


def planned(amount, scores=SCORES, **options):
    return plan(perceptron, PARAMS, given(scores), X, cut=Cut(amount, **options))


def rows(amount, scores=SCORES, **options):
    return {row.name: row for row in planned(amount, scores, **options).families}


def kept(amount, scores=SCORES, **options):
    return {name: row.kept for name, row in rows(amount, scores, **options).items()}


def test_rows_by_hand():
    found = planned(amounts.count(Rules({"in:1": 1, "mid:1": 2})))
    assert found.families == (
        FamilyPlan(
            name="in:1",
            units=4,
            kept=3,
            layers=0,
            removed=(1,),
            scores=(3.0, 1.0, 2.0, 4.0),
            parameters_saved=3 + 1 + 5,
            macs_saved=2 * (3 + 5),
        ),
        FamilyPlan(
            name="mid:1",
            units=5,
            kept=3,
            layers=0,
            removed=(1, 2),
            scores=(5.0, 2.0, 2.0, 9.0, 7.0),
            parameters_saved=2 * (4 + 2),
            macs_saved=2 * 2 * (4 + 2),
        ),
    )
    assert found.before == Totals(
        parameters=12 + 4 + 20 + 10, size_bytes=4 * 46, macs=2 * (12 + 20 + 10)
    )
    # The matrix between the two is cut on both sides.
    assert found.after == Totals(parameters=9 + 3 + 9 + 6, size_bytes=4 * 27, macs=2 * (9 + 9 + 6))
    assert [(cut.leaf, cut.axis, cut.indices) for cut in found.removal.cuts] == [
        ("bias", 0, (1,)),
        ("in", 1, (1,)),
        ("mid", 0, (1,)),
        ("mid", 1, (1, 2)),
        ("out", 0, (1, 2)),
    ]


def test_the_table_shows_the_rows_and_the_totals():
    found = planned(amounts.count(Rules({"in:1": 1, "mid:1": 2})))
    words = [line.split() for line in str(found).splitlines()]
    assert words[1:] == [
        ["in:1", "4", "3", "1", "…", "4", "1", "9", "16"],
        ["mid:1", "5", "3", "2", "…", "9", "1", "2", "12", "24"],
        ["parameters:", "46", "to", "27", "(58.7%)"],
        ["size_bytes:", "184", "to", "108", "(58.7%)"],
        ["macs:", "84", "to", "48", "(57.1%)"],
    ]


def test_the_table_says_how_many_units_go_where_they_are_many():
    def fn(params, x):
        return jnp.tanh(x @ params["in"]) @ params["out"]

    params = {"in": jnp.ones((2, 20)), "out": jnp.ones((20, 1))}
    scores = {"in:1": np.arange(20.0)}
    table = str(plan(fn, params, given(scores), X[:, :2], cut=amounts.count(9)))
    assert "  0 1 2 3 4 5 6 7 … (9)  " in table


def test_layers_of_a_scan_lose_units_of_their_own():
    found = plan(stack, STACK, given(LAYERED), X, cut=amounts.count(2))
    (row,) = found.families
    assert (row.units, row.kept, row.layers) == (5, 3, 2)
    assert row.removed == ((1, 2), (0, 4))
    assert row.scores == tuple(map(tuple, LAYERED["up:2"].tolist()))
    assert (row.parameters_saved, row.macs_saved) == (2 * 2 * 6, 2 * 2 * 2 * 6)
    table = str(found)
    assert "2 × 5" in table
    assert "2 in each layer" in table


def test_only_shapes_of_params_and_inputs_are_needed():
    shapes = jax.eval_shape(lambda: PARAMS)
    amount = amounts.within_macs(60)
    dry = plan(
        perceptron, shapes, given(SCORES), jax.ShapeDtypeStruct(X.shape, X.dtype), cut=amount
    )
    assert dry == planned(amount)


def test_params_stay_as_they_are():
    params = {name: np.array(leaf) for name, leaf in PARAMS.items()}
    before = {name: leaf.copy() for name, leaf in params.items()}
    leaves = dict(params)
    plan(perceptron, params, importance.magnitude(), X, cut=amounts.fraction(0.5))
    for name, leaf in params.items():
        assert leaf is leaves[name]
        np.testing.assert_array_equal(leaf, before[name])


def test_only_selected_families_are_scored_and_cut():
    seen = []

    def importance(fn, params, found):
        seen.append(list(found.units))
        return given(SCORES)(fn, params, found)

    found = plan(
        perceptron, PARAMS, importance, X, cut=Cut(amounts.fraction(0.5), families=("mid:*", "m*"))
    )
    assert seen == [["mid:1"]]
    assert [row.name for row in found.families] == ["mid:1"]
    assert {cut.leaf for cut in found.removal.cuts} == {"mid", "out"}


def test_several_patterns_select_what_either_matches():
    assert set(rows(amounts.fraction(0.5), families=("mid:1", "in:1"))) == {"in:1", "mid:1"}


def test_floors_by_rule():
    three_quarters = amounts.fraction(0.75)
    assert kept(three_quarters) == {"in:1": 1, "mid:1": 1}
    assert kept(three_quarters, floors=3) == {"in:1": 3, "mid:1": 3}
    assert kept(three_quarters, floors=Rules({"mid:1": 2})) == {"in:1": 1, "mid:1": 2}


def test_a_floor_above_the_width_keeps_all():
    assert kept(amounts.fraction(0.75), floors=9) == {"in:1": 4, "mid:1": 5}


@pytest.mark.parametrize("amount", [amounts.fraction(0.4), amounts.count(2)])
def test_a_family_without_scores_keeps_its_units(amount):
    found = rows(amount, {"mid:1": SCORES["mid:1"]})
    assert (found["in:1"].kept, found["in:1"].removed, found["in:1"].scores) == (4, (), ())
    assert found["mid:1"].kept == 3
    assert "none" in str(planned(amount, {"mid:1": SCORES["mid:1"]}))


def test_scores_may_be_jax_arrays_of_any_real_dtype():
    scores = {name: jnp.asarray(values, jnp.bfloat16) for name, values in SCORES.items()}
    assert planned(amounts.count(2), scores).removal == planned(amounts.count(2)).removal


def rigid():
    return plan(lambda params, x: x @ params, X.T, given({}), X, cut=amounts.count(1))


def said(scores):
    """Scores handed on whatever the families are."""
    return plan(perceptron, PARAMS, lambda *_: scores, X, cut=amounts.count(1))


NAN = SCORES["mid:1"] * np.array([1, 1, np.nan, 1, 1])
LAYERED_INF = {"up:2": np.where(LAYERED["up:2"] == 3, np.inf, LAYERED["up:2"])}

ERRORS = [
    (rigid, r"plan: no family can lose units. The model's couplings:\n"),
    (
        lambda: planned(amounts.count(1), families=("up:*",)),
        r"plan: Cut\(families='up:\*'\) matches no family. Families are: in:1, mid:1",
    ),
    (lambda: planned(amounts.count(1), floors=0), r"Cut\(floors=0\) must be at least 1"),
    (
        lambda: planned(amounts.count(1), multiple_of=Rules({"in:1": 8, "mid:1": 0})),
        r"Cut\(multiple_of=0\) must be at least 1",
    ),
    (
        lambda: planned(amounts.count(1), floors=Rules({"up:1": 2})),
        r"Rules: 'up:1' matches nothing. Names are: in:1, mid:1",
    ),
    (lambda: said({}), r"plan\(importance=...\) scores no family"),
    (
        lambda: said({"up:1": np.ones(4)}),
        r"plan\(importance=...\) scores 'up:1'; families are: in:1, mid:1",
    ),
    (
        lambda: said({"in:1": np.ones((2, 4))}),
        r"scores 'in:1' in shape \(2, 4\); one number per unit has shape \(4,\)",
    ),
    (lambda: said(SCORES | {"mid:1": NAN}), r"scores unit \(2,\) of 'mid:1' as nan"),
    (
        lambda: plan(stack, STACK, given(LAYERED_INF), X, cut=amounts.count(1)),
        r"scores unit \(0, 0\) of 'up:2' as inf",
    ),
    (
        lambda: plan(stack, STACK, given({"up:2": np.ones(5)}), X, cut=amounts.count(1)),
        r"scores 'up:2' in shape \(5,\); one number per unit has shape \(2, 5\)",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_compressed_leaves_are_refused():
    packed = PARAMS | {"mid": QTENSORS["int8 per channel"]()}
    with pytest.raises(TypeError, match=r"plan: leaf 'mid' is compressed. Remove first"):
        plan(perceptron, packed, given(SCORES), X, cut=amounts.count(1))


def test_a_family_that_multiples_and_floors_keep_whole_says_so():
    """Four and five units, of which none or one may go by multiples of 4."""
    found = planned(amounts.fraction(0.5), multiple_of=4)
    assert {row.name: row.kept for row in found.families} == {"in:1": 4, "mid:1": 4}
    whole = "Whole, since the cut's floors and multiples allow no smaller width: {}."
    assert str(found).endswith(whole.format("in:1"))
    both = planned(amounts.fraction(0.5), floors=5)
    assert str(both).endswith(whole.format("in:1, mid:1"))
    assert "Whole" not in str(planned(amounts.fraction(0.5)))
