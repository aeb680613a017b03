"""`mixed_precision` against every combination of formats, in memory and on disk."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.auto.knapsack import cheapest
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.core.sizes import size_bytes
from jaxcompress.quantize import formats

INT8, INT4, INT2 = formats.int8(), formats.int4(), formats.int2()
SPECS = [INT8, formats.int3(), INT2]
RANDOM = np.random.default_rng(0)
PARAMS = {
    "a": jnp.asarray(RANDOM.normal(size=(64, 64)), jnp.float32),
    "b": {"kernel": jnp.asarray(RANDOM.normal(size=(64, 16)), jnp.float32), "bias": jnp.ones(16)},
    "c[0]": jnp.asarray(RANDOM.normal(size=(16, 80)), jnp.float32),
}
NAMES = ("a", "b/kernel", "c[0]")
CODED = jc.quantize.quantize({"a": PARAMS["a"]}, INT8)[0]["a"]


def on_disk(tree):
    return jc.storage.size(tree).disk


def table(specs=SPECS, *, higher_is_better=False, names=NAMES):
    """Random rises, larger for fewer bits more often than not, some of them below 0."""
    rng = np.random.default_rng(1)
    sign = -1 if higher_is_better else 1
    rows = [
        LeafSensitivity(name, {"m": sign * float(rng.normal(0.5, 0.8)) / spec.bits}, "", str(spec))
        for name in names
        for spec in specs
    ]
    return Sensitivities.ordered(rows, "m", "made up", higher_is_better=higher_is_better)


def costs(rows):
    """By leaf and format the rise that counts: at least that of more bits, and 0."""
    sign = -1 if rows.higher_is_better else 1
    rise = {(row.name, row.choice): sign * row.changes["m"] for row in rows}
    found = {(name, None): 0.0 for name in NAMES}
    for name in NAMES:
        for before, spec in itertools.pairwise([None, *SPECS]):
            found[name, spec] = max(found[name, before], rise[name, str(spec)])
    return found


def combinations(rows, size):
    """By formats of the leaves the bytes of the tree and the sum of costs."""
    cost = costs(rows)
    for chosen in itertools.product([*SPECS, None], repeat=len(NAMES)):
        rules = {f"{name[0]}*": spec for name, spec in zip(NAMES, chosen, strict=True) if spec}
        small = PARAMS
        if rules:
            kernels = jc.matching(
                *(name for name in ("a", "b/kernel", "c*") if name[0] + "*" in rules)
            )
            small, _ = jc.quantize.quantize(PARAMS, jc.Rules(rules), select=kernels)
        total = sum(cost[pair] for pair in zip(NAMES, chosen, strict=True))
        yield size(small), total, chosen


@pytest.mark.parametrize("size", [size_bytes, on_disk])
@pytest.mark.parametrize("higher_is_better", [False, True])
def test_the_choice_is_the_best_of_all_that_fit(size, higher_is_better):
    rows = table(higher_is_better=higher_is_better)
    every, cost = list(combinations(rows, size)), costs(rows)
    for budget in (3_500, 5_000, 6_400, 8_000, 13_000, 40_000):
        found = jc.auto.mixed_precision(rows, PARAMS, [*SPECS, None], budget=budget, size=size)
        best = min(total for taken, total, _ in every if taken <= budget)
        chosen = tuple(leaf.spec for leaf in found.leaves)
        assert sum(cost[pair] for pair in zip(NAMES, chosen, strict=True)) == pytest.approx(best)
        assert (found.size, chosen) in [(taken, specs) for taken, _, specs in every]
        assert found.size <= budget
        change = {(row.name, row.choice): row.changes["m"] for row in rows}
        told = [change.get((leaf.name, str(leaf.spec)), 0.0) for leaf in found.leaves]
        assert found.change == pytest.approx(sum(told))
    assert chosen == (None, None, None)  # all that would fit


def test_bits_that_seem_to_harm_are_not_given_up_for_it():
    rows = [
        LeafSensitivity(name, {"m": rise}, "", str(spec))
        for name in NAMES
        for spec, rise in ((INT8, 0.01), (INT4, -0.02), (INT2, -0.03))
    ]
    noisy = Sensitivities(tuple(rows), "m", "made up")
    for size, budget in ((size_bytes, 7_104), (on_disk, 9_000)):
        found = jc.auto.mixed_precision(noisy, PARAMS, [INT2, INT4, INT8], budget=budget, size=size)
        assert {leaf.spec for leaf in found.leaves} == {INT8}
        assert found.change == pytest.approx(0.03)
    found = jc.auto.mixed_precision(noisy, PARAMS, [INT2, INT4, INT8], budget=5_000)
    assert found.size > 4_000  # the widest that fit
    three = [LeafSensitivity(name, {"m": 0.0}, "", str(formats.int3())) for name in NAMES]
    alike = Sensitivities((*rows, *three), "m", "made up")
    found = jc.auto.mixed_precision(alike, PARAMS, [formats.int3(), INT4], budget=5_000)
    assert {leaf.spec for leaf in found.leaves} == {INT4}  # of equal bytes


def test_rules_make_the_tree_of_the_stated_size():
    found = jc.auto.mixed_precision(table(), PARAMS, SPECS, budget=5_000)
    small, report = jc.quantize.quantize(PARAMS, found.rules)
    assert size_bytes(small) == report.bytes_after == found.size <= 5_000
    assert size_bytes(PARAMS) - sum(leaf.saved_bytes for leaf in found.leaves) == found.size
    for leaf in found.leaves:
        assert found.rules.assign(NAMES)[leaf.name] == leaf.spec


def test_leaves_may_stay_as_they_are():
    specs = [INT8, None]
    found = jc.auto.mixed_precision(table([INT8]), PARAMS, specs, budget=14_000)
    kept = [leaf for leaf in found.leaves if leaf.spec is None]
    assert kept
    assert all(leaf.change == 0 for leaf in kept)
    assert "kept" in str(found)
    whole = jc.auto.mixed_precision(table([INT8]), PARAMS, specs, budget=size_bytes(PARAMS))
    assert whole.change <= 0
    rises = Sensitivities.ordered(
        [LeafSensitivity(name, {"m": 1.0}, "", str(INT8)) for name in NAMES], "m", "made up"
    )
    whole = jc.auto.mixed_precision(rises, PARAMS, specs, budget=size_bytes(PARAMS))
    with pytest.raises(ValueError, match="leaves every leaf as it is"):
        _ = whole.rules


def test_layers_of_a_leaf_count_together():
    rises = {"layers": (1.0, 2.0), "out": (2.9,)}
    rows = [
        LeafSensitivity(name, {"m": rise}, "", str(INT4), (layer,) if len(each) > 1 else ())
        for name, each in rises.items()
        for layer, rise in enumerate(each)
    ]
    rows += [LeafSensitivity(row.name, {"m": 0.0}, "", str(INT8), row.layer) for row in rows]
    params = {"layers": jnp.ones((2, 16, 16)), "out": jnp.ones((32, 16))}
    whole = Sensitivities.ordered(rows, "m", "made up")
    budget = jc.auto.mixed_precision(whole, params, [INT4], budget=10_000).size + 300
    found = jc.auto.mixed_precision(whole, params, [INT8, INT4], budget=budget)
    assert {leaf.name: leaf.spec for leaf in found.leaves} == {"layers": INT8, "out": INT4}
    assert found.change == 2.9


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_formats_in_which_the_model_breaks_are_not_taken(broken):
    rows = [row for row in table([INT8, INT2]) if (row.name, row.choice) != ("a", str(INT2))]
    rows.append(LeafSensitivity("a", {"m": broken}, "", str(INT2)))
    whole = Sensitivities(tuple(rows), "m", "made up")
    found = jc.auto.mixed_precision(whole, PARAMS, [INT8, INT2], budget=6_000)
    assert next(leaf.spec for leaf in found.leaves if leaf.name == "a") == INT8


def test_leaves_of_which_nothing_is_known_stay_as_they_are():
    rows = (*table(names=NAMES[:2]), LeafSensitivity("c[0]", {}, "no data reached it"))
    whole = Sensitivities(rows, "m", "made up")
    found = jc.auto.mixed_precision(whole, PARAMS, SPECS, budget=10_000)
    assert [leaf.name for leaf in found.leaves] == ["a", "b/kernel"]
    assert found.size == size_bytes(jc.quantize.quantize(PARAMS, found.rules)[0])


def test_a_measured_table_of_a_scanned_model_decides():
    def model(params, x):
        x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["layers"])
        return x @ params["out"]

    params = {
        "layers": PARAMS["a"].reshape(4, 16, 4, 16)[:, :, 0],
        "out": PARAMS["b"]["kernel"][:16],
    }
    x = jnp.asarray(RANDOM.normal(size=(32, 16)), jnp.float32)
    examples = jc.validate.Examples(x, np.asarray(model(params, x).argmax(-1)))
    axes = jc.graph.axes(model, params, x)
    rows = jc.auto.sensitivity(model, params, [INT8, INT2], examples, axes=axes)
    found = jc.auto.mixed_precision(rows, params, [INT8, INT2], budget=1_300, axes=axes)
    small, _ = jc.quantize.quantize(params, found.rules, axes=axes)
    assert size_bytes(small) == found.size <= 1_300
    rise = {(row.name, row.choice, row.layer): row.loss_increase for row in rows}
    layers = {leaf.name: leaf for leaf in found.leaves}["layers"]
    expected = sum(rise["layers", str(layers.spec), (at,)] for at in range(4))
    assert layers.change == pytest.approx(expected)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("method", ["measured", "predicted"])
def test_a_table_is_of_the_params_that_it_was_made_of(method, stored):
    def model(params, x):
        return jnp.tanh(x @ params["in"]) @ params["out"].T

    params = {"in": PARAMS["a"][:16, :8], "out": PARAMS["a"][:10, 8:16]}
    x = jnp.asarray(RANDOM.normal(size=(32, 16)), jnp.float32)
    labels = np.asarray(model(params, x).argmax(-1))
    axes = jc.graph.axes(model, params, x)
    if method == "measured":
        examples = jc.validate.Examples(x, labels)
        rows = jc.auto.sensitivity(model, params, INT8, examples, axes=axes)
    else:
        loss, key = jc.validate.cross_entropy, jax.random.key(0)
        found = jc.auto.second_order(model, params, loss, [(x, labels)], key, probes=2)
        rows = jc.auto.predicted_sensitivity(found, params, INT8, axes=axes)
        other = {**params, "in": params["in"] + 1}
        said = r"predicted_sensitivity\(params\): the leaf 'in' is not the one that the curvature"
        with pytest.raises(ValueError, match=said):
            jc.auto.predicted_sensitivity(found, other, INT8, axes=axes)
    if stored:
        rows = Sensitivities.from_json(json.loads(json.dumps(rows.to_json())))

    def choose(params, axes):
        return jc.auto.mixed_precision(rows, params, [INT8, None], budget=700, axes=axes)

    copied = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), params)
    assert choose(copied, axes) == choose(params, axes)
    for other in (params["out"].at[3, 2].add(1e-3), params["out"].astype(jnp.bfloat16)):
        with pytest.raises(
            ValueError, match=r"mixed_precision\(params\): the leaf 'out' is not the"
        ):
            choose({**params, "out": other}, axes)
    said = (
        r"mixed_precision\(axes\): the rows of leaf 'out' were made with axes: contracting 1; "
        r"output 0, and here it has axes: contracting 0; output 1\."
    )
    with pytest.raises(ValueError, match=said):
        choose(params, None)


def test_the_knapsack_is_solved_exactly():
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = [rng.exponential(1e-3, 4).tolist() for _ in range(6)]
        weights = [[0, *rng.integers(1, 5_000, 3).tolist()] for _ in range(6)]
        limit = int(rng.integers(0, 12_000))
        every = (
            sum(cost[at] for cost, at in zip(costs, chosen, strict=True))
            for chosen in itertools.product(range(4), repeat=6)
            if sum(weight[at] for weight, at in zip(weights, chosen, strict=True)) <= limit
        )
        found = cheapest(costs, weights, limit)
        assert sum(weight[at] for weight, at in zip(weights, found, strict=True)) <= limit
        assert math.isclose(
            sum(cost[at] for cost, at in zip(costs, found, strict=True)), min(every)
        )


def test_it_prints_and_is_plain_json():
    found = jc.auto.mixed_precision(table(), PARAMS, [*SPECS, None], budget=5_000)
    lines = str(found).splitlines()
    assert lines[0] == f"mixed precision, {found.size:,} of 5,000 bytes"
    assert [line.split()[0] for line in lines[1:]] == ["leaf", *NAMES, "sum"]
    record = json.loads(json.dumps(found.to_json()))
    assert record["change"] == found.change
    assert {leaf["name"] for leaf in record["leaves"]} == set(NAMES)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"budget": 2_000}, ValueError, r"budget=2000\) is less than the 2\d\d\d bytes"),
        ({"budget": 0}, ValueError, "budget=0"),
        ({"budget": 1e6}, ValueError, "budget"),
        ({"specs": [INT8, INT4]}, ValueError, "no row of int4 per channel; it has rows of: int2"),
        ({"specs": []}, ValueError, "different names, and was given: none"),
        ({"specs": [INT8, INT8]}, ValueError, "int8 per channel, int8 per channel"),
        ({"specs": INT8}, TypeError, "specs="),
        ({"specs": ["int8"]}, TypeError, "specs='int8'"),
        ({"table": [1]}, TypeError, "table="),
        ({"params": {"z": jnp.ones((4, 4))}}, ValueError, "no leaf 'a'"),
        ({"size": 3}, TypeError, "size=3"),
        ({"size": jc.storage.size}, TypeError, r"gave Size and no int\. .*size\(tree\)\.disk"),
        ({"params": {**PARAMS, "a": CODED}}, ValueError, "leaf 'a' has codes already"),
        ({"axes": 3}, TypeError, "axes"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    arguments = {"table": table(), "params": PARAMS, "specs": SPECS, "budget": 9_000} | change
    with pytest.raises(error, match=message) as caught:
        jc.auto.mixed_precision(**arguments)
    assert "mixed_precision" in str(caught.value) or "axes" in change
