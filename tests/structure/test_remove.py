"""Removal: smaller arrays, the numbers it reports, and models it must work on."""

import functools
import json
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import graph
from jaxcompress.core.names import named_leaves
from jaxcompress.graph import surgery
from jaxcompress.graph.surgery.check import checked_difference, difference
from jaxcompress.structure import Cut, amounts, importance
from jaxcompress.structure.remove import remove
from jaxcompress.structure.smaller import SmallerModel
from tests.graph.zoo import normal

EPS = float(jnp.finfo(jnp.float32).eps)
ROUNDING = 100 * EPS
"""Of outputs behind a few sums of some ten terms, relative to the largest."""

HALF = amounts.fraction(0.5)


class Case(NamedTuple):
    """A model, and the shapes of leaves without half of its units."""

    fn: Callable
    params: dict | tuple
    x: jax.Array
    shapes: dict
    zeroes: bool = True
    """Zeros for what was removed are the same model."""


def linen() -> Case:
    """Variables as Linen holds them; names leave "params" out."""

    def dense(x, layer):
        return x @ layer["kernel"] + layer["bias"][None]

    def fn(variables, x):
        layers = variables["params"]
        return dense(jax.nn.relu(dense(x, layers["Dense_0"])), layers["Dense_1"])

    variables = {
        "params": {
            "Dense_0": {"kernel": normal(1, 3, 8), "bias": normal(2, 8)},
            "Dense_1": {"kernel": normal(3, 8, 2), "bias": normal(4, 2)},
        }
    }
    shapes = {
        "Dense_0/bias": (4,),
        "Dense_0/kernel": (3, 4),
        "Dense_1/bias": (2,),
        "Dense_1/kernel": (4, 2),
    }
    return Case(fn, variables, normal(5, 5, 3), shapes)


def tuples() -> Case:
    def fn(params, x):
        (kernel, bias), output = params
        return jnp.maximum(x @ kernel + bias[None], 0) @ output

    params = ((normal(1, 3, 6), normal(2, 6)), normal(3, 6, 2))
    return Case(fn, params, normal(4, 5, 3), {"0/0": (3, 3), "0/1": (3,), "1": (3, 2)})


def scanned() -> Case:
    """Two layers that are wider inside, on a stream that is left alone."""

    def fn(params, x):
        def layer(x, each):
            return x + jnp.tanh(x @ each["up"]) @ each["down"], None

        return jax.lax.scan(layer, x, params)[0]

    params = {"up": normal(1, 2, 3, 6), "down": normal(2, 2, 6, 3)}
    return Case(fn, params, normal(3, 5, 3), {"down": (2, 3, 3), "up": (2, 3, 3)})


def routed() -> Case:
    """A softmax over units: zeros are not the same as nothing."""

    def fn(params, x):
        return jax.nn.softmax(x @ params["router"]) @ params["out"]

    params = {"router": normal(1, 3, 6), "out": normal(2, 6, 2)}
    return Case(fn, params, normal(3, 5, 3), {"out": (3, 2), "router": (3, 3)}, zeroes=False)


def grouped() -> Case:
    """Two key heads, each read by two query heads, their widths, and the values'."""

    def fn(params, x):
        query = jnp.einsum("btd,dgqk->btgqk", x, params["query"])
        key = jnp.einsum("btd,dgk->btgk", x, params["key"])
        value = jnp.einsum("btd,dgv->btgv", x, params["value"])
        weights = jax.nn.softmax(jnp.einsum("btgqk,bsgk->bgqts", query, key), axis=-1)
        return jnp.einsum("bgqts,bsgv,gqvd->btd", weights, value, params["out"])

    params = {
        "query": normal(1, 3, 2, 2, 4),
        "key": normal(2, 3, 2, 4),
        "value": normal(3, 3, 2, 6),
        "out": normal(4, 2, 2, 6, 3),
    }
    shapes = {
        "key": (3, 1, 2),
        "out": (1, 1, 3, 3),
        "query": (3, 1, 1, 2),
        "value": (3, 1, 3),
    }
    return Case(fn, params, normal(5, 2, 3, 3), shapes)


def recurrent() -> Case:
    """Linear recurrences of every length up to nine, as Mamba and S5 compute them."""

    def joined(one, other):
        return one[0] * other[0], other[0] * one[1] + other[1]

    def fn(params, x):
        inner = x @ params["in"]
        gates = jax.nn.sigmoid(inner), inner
        sums = [
            jax.lax.associative_scan(joined, (gates[0][:, :length], gates[1][:, :length]), axis=1)
            for length in range(1, 10)
        ]
        return jnp.concatenate([values for _, values in sums], axis=1) @ params["out"]

    params = {"in": normal(1, 3, 4), "out": normal(2, 4, 2)}
    return Case(fn, params, normal(3, 2, 9, 3), {"in": (3, 2), "out": (2, 2)})


CASES = {case.__name__: case for case in (linen, tuples, scanned, routed, grouped, recurrent)}
cases = pytest.mark.parametrize("name", CASES)


@functools.cache
def halved(name: str) -> tuple[Case, SmallerModel]:
    """A case without half of the units of every family."""
    case = CASES[name]()
    return case, remove(case.fn, case.params, importance.magnitude(), case.x, cut=HALF)


def small_of(removed: SmallerModel, x):
    return jax.jit(removed.fn)(removed.params, x)


@cases
def test_arrays_are_smaller_and_the_model_is_one_of_their_sizes(name):
    case, removed = halved(name)
    assert {key: leaf.shape for key, leaf in named_leaves(removed.params).items()} == case.shapes
    assert jax.tree.structure(removed.params) == jax.tree.structure(case.params)
    assert removed.removal == removed.report.plan.removal
    # The functions fit params of any width. Another batch than it was removed on:
    x = jnp.concatenate([case.x, 2 * case.x])
    assert difference(small_of(removed, x), jax.jit(case.fn)(removed.params, x)) <= ROUNDING


@cases
def test_zeros_are_another_model_where_a_softmax_runs_over_units(name):
    case, removed = halved(name)
    report = removed.report
    assert report.to_masked <= ROUNDING
    assert report.to_zeroed <= ROUNDING if case.zeroes else report.to_zeroed > 1e-2
    if not case.zeroes:
        zeroed = case.fn(surgery.zero_params(case.params, removed.removal), case.x)
        apart = difference(zeroed, surgery.masked(case.fn, removed.removal)(case.params, case.x))
        assert report.to_zeroed == pytest.approx(apart, abs=ROUNDING)


@cases
def test_the_report_counts_the_bytes_of_every_leaf(name):
    case, removed = halved(name)
    plan, leaves = removed.report.plan, removed.report.leaves
    after = named_leaves(removed.params)
    for row in leaves.leaves:
        before = named_leaves(case.params)[row.name]
        assert row.shape == before.shape
        assert (row.bytes_before, row.bytes_after) == (before.nbytes, after[row.name].nbytes)
        assert row.changed == (before.shape != after[row.name].shape)
    assert leaves.bytes_after == plan.after.size_bytes
    assert plan.after.parameters == sum(leaf.size for leaf in after.values())


def test_the_report_in_words():
    _, removed = halved("linen")
    text = str(removed.report)
    assert "axis 0: 8 to 4" in text
    assert "Relative difference of the outputs: " in text
    assert text.startswith(str(removed.report.plan))
    json.dumps(removed.report.to_json())


@pytest.mark.parametrize("name", ["linen", "tuples"])
def test_nothing_given_is_changed(name):
    case = CASES[name]()
    params = jax.tree.map(np.array, case.params)
    leaves = jax.tree.leaves(params)
    before = [leaf.copy() for leaf in leaves]
    removed = remove(case.fn, params, importance.magnitude(), np.array(case.x), cut=HALF)
    for leaf, same, copy in zip(jax.tree.leaves(params), leaves, before, strict=True):
        assert leaf is same
        np.testing.assert_array_equal(leaf, copy)
    _, expected = halved(name)
    assert removed.removal == expected.removal


def test_layers_lose_different_units():
    case, removed = halved("scanned")
    (row,) = removed.report.plan.families
    first, second = (np.setdiff1d(np.arange(6), gone) for gone in row.removed)
    assert row.removed[0] != row.removed[1]
    up, down = case.params["up"], case.params["down"]
    by_hand = {
        "up": jnp.stack([up[0][:, first], up[1][:, second]]),
        "down": jnp.stack([down[0][first], down[1][second]]),
    }
    jax.tree.map(np.testing.assert_array_equal, removed.params, by_hand)
    assert difference(small_of(removed, case.x), case.fn(by_hand, case.x)) <= ROUNDING


def attention(params, x, grouped: int):
    """Attention of a loop over query heads; `grouped` of them read each key head."""
    heads = []
    for head in range(params["query"].shape[1]):
        query = x @ params["query"][:, head]
        key, value = x @ params["key"][:, head // grouped], x @ params["value"][:, head // grouped]
        weights = jax.nn.softmax(query @ key.T, axis=-1)
        heads.append(weights @ value @ params["out"][head])
    return sum(heads)


def test_key_heads_go_with_the_query_heads_that_read_them():
    """Query heads lie along one axis, as in models that repeat their key heads."""

    def fn(params, x):
        query, key, value = (
            jnp.einsum("td,dhk->thk", x, params[name]) for name in ("query", "key", "value")
        )
        key, value = (jnp.repeat(each, 2, axis=1) for each in (key, value))
        weights = jax.nn.softmax(jnp.einsum("qhk,shk->hqs", query, key), axis=-1)
        return jnp.einsum("hqs,shk,hkd->qd", weights, value, params["out"])

    params = {
        "query": normal(1, 3, 4, 2),
        "key": normal(2, 3, 2, 2),
        "value": normal(3, 3, 2, 2),
        "out": normal(4, 4, 2, 3),
    }
    x = normal(5, 3, 3)
    name = next(
        family.name
        for family in graph.couplings(fn, params, x).families
        if len(family.places) == 4 and all(place.axis != 2 for place in family.places)
    )

    def first_head(fn, params, found):
        return {name: np.array([0.0, 1.0])}

    one = amounts.count(1)
    removed = remove(fn, params, first_head, x, cut=Cut(one, families=(name,)))
    by_hand = {
        "query": params["query"][:, 2:],
        "key": params["key"][:, 1:],
        "value": params["value"][:, 1:],
        "out": params["out"][2:],
    }
    jax.tree.map(np.testing.assert_array_equal, removed.params, by_hand)
    assert difference(small_of(removed, x), attention(by_hand, x, grouped=2)) <= ROUNDING


def test_the_removed_model_is_a_model():
    """It is jitted, differentiated and mapped as one written at the smaller size."""
    case, removed = halved("linen")
    x = normal(9, 7, 3)

    def loss(fn):
        return lambda params: (fn(params, x) ** 2).sum()

    outputs = case.fn(removed.params, x)  # the function fits any width
    slopes = jax.grad(loss(case.fn))(removed.params)
    assert difference(small_of(removed, x), outputs) <= ROUNDING
    found = jax.jit(jax.grad(loss(removed.fn)))(removed.params)
    assert difference(found, slopes) <= ROUNDING
    rows = jax.vmap(lambda row: removed.fn(removed.params, row[None])[0])(x)
    assert difference(rows, outputs) <= ROUNDING


def test_the_removal_makes_the_model_and_its_params_again():
    case, removed = halved("tuples")
    small = surgery.slice_params(case.params, removed.removal)
    jax.tree.map(np.testing.assert_array_equal, small, removed.params)
    outputs = jax.jit(surgery.shrink(case.fn, removed.removal))(small, case.x)
    np.testing.assert_array_equal(outputs, small_of(removed, case.x))


def test_a_batch_of_what_is_not_finite_is_told():
    params = {"in": normal(0, 3, 4), "out": normal(1, 4, 2)}
    said = (
        r"^remove: on this batch outputs are not finite, .* Look for NaN or infinity in the inputs"
    )
    with pytest.raises(ArithmeticError, match=said):
        remove(
            lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"],
            params,
            importance.magnitude(),
            jnp.full((2, 3), jnp.nan),
            cut=amounts.fraction(0.5),
        )


def test_dtypes_stay():
    case = linen()
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), case.params)
    x = case.x.astype(jnp.bfloat16)
    removed = remove(case.fn, params, importance.magnitude(), x, cut=HALF)
    assert {leaf.dtype for leaf in jax.tree.leaves(removed.params)} == {jnp.dtype("bfloat16")}
    assert removed.report.to_masked <= 10 * float(jnp.finfo(jnp.bfloat16).eps)


def test_inputs_and_outputs_may_be_trees():
    def fn(params, x, scale):
        hidden = jnp.tanh(x["a"] @ params["in"])
        return {"sum": hidden @ params["out"] * scale, "count": jnp.sum(x["a"] > 0)}

    params = {"in": normal(1, 3, 6), "out": normal(2, 6, 2)}
    inputs = {"a": normal(3, 4, 3)}, jnp.float32(2)
    removed = remove(fn, params, importance.magnitude(), *inputs, cut=HALF)
    outputs = removed.fn(removed.params, *inputs)
    expected = fn(removed.params, *inputs)
    assert outputs["count"] == expected["count"]
    assert difference(outputs, expected) <= ROUNDING


def test_nothing_to_remove_leaves_the_same_leaves():
    case = linen()
    removed = remove(case.fn, case.params, importance.magnitude(), case.x, cut=amounts.count(0))
    assert removed.removal.cuts == ()
    for leaf, same in zip(
        jax.tree.leaves(removed.params), jax.tree.leaves(case.params), strict=True
    ):
        assert leaf is same
    assert removed.report.to_masked == removed.report.to_zeroed == 0.0
    assert not any(row.changed for row in removed.report.leaves.leaves)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharded_params_stay_sharded(mesh, axis_type):
    devices = mesh(data=2, model=4, axis_type=axis_type)
    layout = {"in": P(None, "model"), "bias": P("model"), "out": P("model", None)}
    plain = {"in": normal(1, 3, 12), "bias": normal(2, 12), "out": normal(3, 12, 2)}

    def fn(params, x):
        hidden = jax.nn.relu(x @ params["in"] + params["bias"][None])
        if axis_type == AxisType.Auto:
            return hidden @ params["out"]
        return jnp.einsum("bh,ho->bo", hidden, params["out"], out_sharding=P("data", None))

    with jax.set_mesh(devices):
        params = {
            name: jax.device_put(leaf, NamedSharding(devices, layout[name]))
            for name, leaf in plain.items()
        }
        x = jax.device_put(normal(4, 4, 3), NamedSharding(devices, P("data", None)))
        # 45 % of 12 is 5 after rounding: 7 would stay, in fours 8.
        amount = amounts.fraction(0.45)
        removed = remove(fn, params, importance.magnitude(), x, cut=Cut(amount, multiple_of=4))
        assert {name: leaf.sharding.spec for name, leaf in removed.params.items()} == layout
        outputs = small_of(removed, x)
        with pytest.raises(ValueError, match=r"keeps 7 of 12 indices .* over 4 devices"):
            remove(fn, params, importance.magnitude(), x, cut=amount)
    assert removed.params["in"].shape == (3, 8)
    whole = jax.tree.map(np.asarray, removed.params)
    by_hand = np.maximum(np.asarray(x) @ whole["in"] + whole["bias"], 0) @ whole["out"]
    assert difference(outputs, by_hand) <= ROUNDING


def pinned():
    """The caller sees the outputs: nothing of them may go."""
    case = linen()
    return remove(
        case.fn,
        case.params,
        importance.magnitude(),
        case.x,
        cut=Cut(HALF, families=("Dense_1/*",)),
    )


def test_an_output_axis_is_refused_with_the_reason():
    case = linen()
    found = graph.couplings(case.fn, case.params, case.x)
    with pytest.raises(ValueError, match=r"must stay: .*output"):
        found.removal({"Dense_1/kernel:1": [0]})
    with pytest.raises(ValueError, match=r"matches no family. Families are: Dense_0/kernel:1"):
        pinned()

    def linear(params, x):
        return x @ params["kernel"]

    with pytest.raises(ValueError, match=r"(?s)no family can lose units.*kernel.*output"):
        remove(linear, {"kernel": normal(1, 3, 4)}, importance.magnitude(), case.x, cut=HALF)


def test_differences_are_relative_to_the_largest_entry():
    one = {"a": jnp.array([1.0, 8.0]), "b": jnp.array([3.0])}
    other = {"a": jnp.array([2.0, 8.0]), "b": jnp.array([3.5])}
    assert difference(one, other) == 1 / 8
    assert difference(one, one) == 0.0
    assert difference({"a": jnp.array([0.5])}, {"a": jnp.array([0.0])}) == 0.5
    assert difference({"a": jnp.zeros((0, 2))}, {"a": jnp.zeros((0, 2))}) == 0.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_no_other_output_hides_what_is_not_finite(wrong):
    one = [jnp.array([2.0]), jnp.array([1.0, wrong])]
    assert not difference(one, [jnp.array([1.0]), jnp.array([1.0, 1.0])]) < np.inf
    assert np.isnan(difference(one, one))


@pytest.mark.parametrize("wrong", [1.001, np.nan])
def test_a_smaller_program_that_computes_something_else_is_refused(wrong):
    right = jnp.array([1.0, 2.0])
    assert checked_difference("remove", right * (1 + 4 * EPS), right) <= 4 * EPS
    with pytest.raises(ArithmeticError, match=r"remove: on this batch the smaller program differs"):
        checked_difference("remove", right * wrong, right)


def test_a_training_step_loses_units_with_its_statistics():
    def step(params, x):
        x = jax.nn.relu(x @ params["in"])
        mean = 0.9 * params["mean"] + 0.1 * x.mean(0)
        return (x - params["mean"][None]) @ params["out"], params | {"mean": mean}

    params = {"in": jnp.eye(4, 6), "mean": jnp.zeros(6), "out": jnp.ones((6, 2))}
    x = jnp.ones((3, 4))
    removed = remove(step, params, importance.magnitude(), x, cut=amounts.fraction(0.5))
    outputs, new = removed.fn(removed.params, x)
    assert outputs.shape == (3, 2)
    assert new["mean"].shape == (3,)
    assert removed.report.to_masked <= 1e-6


def test_a_removal_traces_the_model_three_times_and_compiles_what_is_returned():
    traced, case = [], linen()

    def counted(params, x):
        traced.append(x.shape)
        return case.fn(params, x)

    removed = remove(counted, case.params, importance.magnitude(), case.x, cut=HALF)
    assert len(traced) == 3  # to couple it, as the returned model, and with zeroed params
    jax.block_until_ready(jax.jit(removed.fn)(removed.params, case.x))
    assert len(traced) == 3
