"""Allowed widths, and what models of them hold, against the shrunk models."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.graph.surgery.couplings import couplings_of
from jaxcompress.graph.surgery.walk import couple
from jaxcompress.structure import widths
from tests.graph.zoo import normal

BATCH = 2


def attention(params, x):
    """Heads that are merged, a concatenation, a stream, and scanned layers after it."""
    x = x @ params["embed"]
    query, key, value = (
        (x @ params[name]).reshape(BATCH, -1, 2, 3) for name in ("query", "key", "value")
    )
    weights = jax.nn.softmax(jnp.einsum("bqhk,bshk->bhqs", query, key), axis=-1)
    mixed = jnp.einsum("bhqs,bshk->bqhk", weights, value).reshape(BATCH, -1, 6)
    x = x + jnp.concatenate([mixed, jnp.tanh(x @ params["side"])], axis=-1) @ params["out"]

    def layer(x, each):
        return x + jnp.tanh(x @ each["up"]) @ each["down"], None

    x, _ = jax.lax.scan(layer, x, params["layers"])
    return x @ params["head"]


PARAMS = {
    "embed": normal(1, 3, 5),
    "query": normal(2, 5, 6),
    "key": normal(3, 5, 6),
    "value": normal(4, 5, 6),
    "side": normal(5, 5, 4).astype(jnp.bfloat16),
    "out": normal(6, 10, 5),
    "layers": {"up": normal(7, 2, 5, 4), "down": normal(8, 2, 4, 5)},
    "head": normal(9, 5, 2),
}
X = jnp.ones((BATCH, 3, 3))


@functools.cache
def candidates() -> widths.Candidates:
    found = graph.couplings(attention, PARAMS, X)
    ladders = {family.name: widths.ladder(family, 1, 1) for family in found.families}
    coupled = couple(attention, PARAMS, X)
    return widths.Candidates(attention, PARAMS, (X,), coupled, found, ladders)


def family(size):
    params = {"in": jnp.ones((3, size)), "out": jnp.ones((size, 2))}
    found = graph.couplings(lambda params, x: x @ params["in"] @ params["out"], params, X[0])
    return next(each for each in found.families if each.name == "in:1")


@pytest.mark.parametrize(
    ("size", "floor", "multiple", "expected"),
    [
        (5, 1, 1, (5, 4, 3, 2, 1)),
        (5, 3, 1, (5, 4, 3)),
        (5, 5, 1, (5,)),
        (5, 9, 1, (5,)),
        (16, 1, 8, (16, 8)),
        (17, 1, 8, (17, 16, 8)),
        (13, 3, 4, (13, 12, 8, 4)),
        (13, 5, 4, (13, 12, 8)),
        (8, 1, 8, (8,)),
        (7, 1, 8, (7,)),
        (2, 1, 1, (2, 1)),
    ],
)
def test_ladders(size, floor, multiple, expected):
    assert widths.ladder(family(size), floor, multiple) == expected


def test_the_lowest_scores_rising_the_earlier_of_equal_ones():
    scores = np.array([2.0, 1.0, 2.0, 0.0, 1.0])
    least = [widths.least_worth(scores, count).tolist() for count in range(6)]
    assert least == [[], [3], [1, 3], [1, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3, 4]]
    assert widths.least_worth(-np.ones(4), 2).tolist() == [0, 1]


def test_the_lowest_scores_of_every_layer():
    scores = np.array([[3.0, -1.0, 2.0], [1.0, 1.0, 0.0]])
    assert widths.least_worth(scores, 2).tolist() == [[1, 2], [0, 2]]
    assert widths.least_worth(scores, 0).shape == (2, 0)


def test_widths_are_rounded_up_to_allowed_ones():
    found = dataclasses.replace(candidates(), ladders={"a": (13, 12, 8)})
    rounded = [found.allowed("a", width) for width in (0, 7.5, 8, 8.1, 9, 12, 13)]
    assert rounded == [8, 8, 8, 12, 12, 12, 13]
    assert (found.present, found.narrowest) == ({"a": 13}, {"a": 8})


def test_the_model_has_families_of_every_kind():
    assert {family.name: family.unit_shape for family in candidates().couplings.families} == {
        "embed:1": (5,),
        "query:1": (2,),
        "query:1#2": (3,),
        "value:1": (3,),
        "side:1": (4,),
        "layers/up:2": (2, 4),
    }


def test_a_removal_takes_the_lowest_scores_of_narrower_families_alone():
    found = candidates()
    scores = {
        each.name: np.arange(math.prod(each.unit_shape)).reshape(each.unit_shape)
        for each in found.couplings.families
    }
    scores["layers/up:2"] = np.array([[3, 2, 1, 0], [0, 1, 2, 3]])
    removal = found.removal(found.present | {"side:1": 3, "layers/up:2": 2}, scores)
    assert [(cut.leaf, cut.axis, cut.indices) for cut in removal.cuts] == [
        ("layers/down", 1, ((2, 3), (0, 1))),
        ("layers/up", 2, ((2, 3), (0, 1))),
        ("out", 0, (6,)),
        ("side", 1, (0,)),
    ]
    assert found.removal(found.present, scores).cuts == ()


def sizes(removal):
    """Numbers, bytes and multiply-adds of the model that is left."""
    small = graph.surgery.slice_params(PARAMS, removal)
    program = graph.trace(graph.surgery.shrink(attention, removal), small, X)
    leaves = jax.tree.leaves(small)
    return sum(a.size for a in leaves), sum(a.nbytes for a in leaves), graph.cost(program).macs


def some_widths():
    """The model itself, the narrowest, and a few between."""
    found = candidates()
    random = np.random.default_rng(0)
    between = [
        {name: int(random.choice(ladder)) for name, ladder in found.ladders.items()}
        for _ in range(3)
    ]
    return [found.present, found.narrowest, *between]


@pytest.mark.parametrize("index", range(5))
def test_totals_are_those_of_the_shrunk_model(index):
    found = candidates()
    removal = found.any_removal(some_widths()[index])
    totals = widths.shrunk_totals(found, removal)
    assert (totals.parameters, totals.size_bytes, totals.macs) == sizes(removal)
    assert totals.parameters == widths.shrunk_parameters(found, removal)
    assert totals.size_bytes == widths.shrunk_size_bytes(found, removal)
    assert totals.macs == widths.shrunk_macs(found, removal)


@pytest.mark.parametrize(
    ("prices", "total"),
    [
        (widths.parameter_prices, widths.shrunk_parameters),
        (widths.byte_prices, widths.shrunk_size_bytes),
    ],
)
def test_a_ledger_saves_what_the_shrunk_model_lacks(prices, total):
    found = candidates()
    ledger = widths.Ledger(found.couplings, prices(found))
    for start in some_widths():
        before = total(found, found.any_removal(start))
        for name, width in start.items():
            if width > 1:
                after = total(found, found.any_removal(start | {name: width - 1}))
                assert ledger.saved(start, name, width - 1) == before - after


def test_a_ledger_of_multiply_adds_is_exact_where_units_meet_leaves_alone():
    # Heads are also summed up where queries meet keys, a site without a leaf.
    found = candidates()
    ledger = widths.Ledger(found.couplings, widths.mac_prices(found))
    before = widths.shrunk_macs(found, found.any_removal(found.present))
    for name in ("embed:1", "side:1", "layers/up:2"):
        width = found.present[name] - 1
        after = widths.shrunk_macs(found, found.any_removal(found.present | {name: width}))
        assert ledger.saved(found.present, name, width) == pytest.approx(before - after)


def test_neighbours_share_a_leaf():
    found = candidates()
    ledger = widths.Ledger(found.couplings, widths.parameter_prices(found))
    assert set(ledger.neighbours("embed:1")) == set(found.present)
    assert set(ledger.neighbours("layers/up:2")) == {"embed:1", "layers/up:2"}
    assert set(ledger.neighbours("side:1")) == set(found.present) - {"layers/up:2", "query:1#2"}


def test_prices_of_one_entry():
    def fn(params, x):
        hidden = jnp.tanh(x @ params["in"])
        return hidden @ params["out"] + (hidden[:1] @ params["out"]) + params["bias"][None]

    params = {"in": normal(1, 3, 4), "out": jnp.ones((4, 2), jnp.bfloat16), "bias": jnp.ones(2)}
    params["out"] = params["out"].astype(jnp.float32)
    x = jnp.ones((5, 3))
    coupled = couple(fn, params, x)
    found = widths.Candidates(fn, params, (x,), coupled, couplings_of(coupled), {})
    assert widths.parameter_prices(found) == {"in": 1, "out": 1, "bias": 1}
    assert widths.byte_prices(found) == {"in": 4, "out": 4, "bias": 4}
    # Every entry meets each of five rows once, and "out" one row once more.
    assert widths.mac_prices(found) == {"in": 5, "out": 5 + 1, "bias": 0}
