"""Execution on codes: every form against plain arithmetic, and how a plan decides."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import (
    ExecutionPlan,
    fake_quantize_activations,
    formats,
    int4,
    int8,
    plan_execution,
    quantize,
    run,
)
from jaxcompress.quantize.execution import dynamic, static
from jaxcompress.quantize.formats import uint8
from tests.inputs import on_device

FORMS = ["integer", "scaled", "materialized"]
EPS = float(np.finfo(np.float32).eps)


def prefer(*names):
    """A probe that times nothing: the named forms are fast, in their order."""
    return lambda functions: {
        name: float(names.index(name) if name in names else len(names)) + 1.0 for name in functions
    }


class Model(NamedTuple):
    """A model whose weights are `params` and that takes `x`."""

    name: str
    fn: Callable
    params: dict
    x: jax.Array
    obstacle: str = ""


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def conv(params, x, layout=("NHWC", "HWIO", "NCHW"), groups=1):
    return jax.lax.conv_general_dilated(
        x, params["w"], (1, 2), "SAME", dimension_numbers=layout, feature_group_count=groups
    )


MODELS = [
    Model("dense", lambda p, x: x @ p["w"], {"w": normal(8, 6)}, normal(3, 8)),
    Model("one row", lambda p, x: x @ p["w"], {"w": normal(8, 6)}, normal(1, 8)),
    Model("vector", lambda p, x: x @ p["w"], {"w": normal(8, 6)}, normal(8)),
    Model("transposed", lambda p, x: x @ p["w"].T, {"w": normal(6, 8)}, normal(3, 8)),
    Model("weight first", lambda p, x: p["w"] @ x, {"w": normal(6, 8)}, normal(8, 3)),
    Model(
        "heads",
        lambda p, x: jnp.einsum("bti,iho->bhto", x, p["w"]),
        {"w": normal(8, 2, 3)},
        normal(2, 3, 8),
    ),
    Model(
        "heads merged",
        lambda p, x: jnp.einsum("btho,hoi->bti", x, p["w"]),
        {"w": normal(2, 4, 6)},
        normal(2, 3, 2, 4),
    ),
    Model(
        "experts",
        lambda p, x: jnp.einsum("etk,ekn->etn", x, p["w"]),
        {"w": normal(2, 8, 3)},
        normal(2, 4, 8),
    ),
    Model(
        "scanned",
        lambda p, x: jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, p["w"])[0],
        {"w": normal(3, 8, 8)},
        normal(2, 8),
    ),
    Model("conv", conv, {"w": normal(3, 3, 4, 6)}, normal(2, 5, 5, 4)),
    Model(
        "grouped conv",
        lambda p, x: conv(p, x, groups=2),
        {"w": normal(3, 3, 2, 6)},
        normal(2, 5, 5, 4),
    ),
    Model(
        "gather",
        lambda p, tokens: p["w"][tokens],
        {"w": normal(7, 4)},
        jnp.asarray([1, 5]),
        "a gather looks rows up",
    ),
]
BY_NAME = {model.name: model for model in MODELS}
OTHER_SPECS = [
    *(int8(per="tensor"), int4(), int8(group_size=2), int4(group_size=2)),
    *(formats.int3(scales="bfloat16"), formats.int6(group_size=2, scales="e4m3")),
]
CASES = [(model, int8()) for model in MODELS]
CASES += [
    (BY_NAME[name], spec)
    for spec in OTHER_SPECS
    for name in ("one row", "heads merged", "experts", "conv")
]


def quantized(model, spec):
    axes = jc.graph.axes(model.fn, model.params, model.x)
    return quantize(model.params, spec, axes=axes)[0]


def planned(model, params, form, activations=dynamic()):
    return plan_execution(model.fn, params, model.x, activations=activations, probe=prefer(form))


def magnitude(model, params):
    """The size of the sums that the outputs are: what rounding is relative to."""
    sizes = jax.tree.map(jnp.abs, (jc.materialize(params), model.x))
    return float(jnp.max(model.fn(*sizes)))


@pytest.mark.parametrize(
    ("model", "spec"), CASES, ids=lambda part: getattr(part, "name", str(part))
)
def test_forms_agree_with_the_fake_quantized_model(model, spec):
    """Integer execution is the model on rounded data; the others are the model."""
    params = quantized(model, spec)
    plans = {form: planned(model, params, form) for form in FORMS}

    @jax.jit
    def outputs(params, x):
        dense = jc.materialize(params)
        plain = model.fn(dense, x)
        rounded = fake_quantize_activations(model.fn, dynamic())(dense, x)
        expected = {"integer": rounded, "scaled": plain, "materialized": plain}
        return expected, {form: run(model.fn, plans[form])(params, x) for form in FORMS}

    expected, found = outputs(params, model.x)
    grouped_conv = "conv" in model.name and spec.sharing.kind == "group"
    impossible = model.obstacle or ("groups inside the window" if grouped_conv else "")
    for form in FORMS:
        (choice,) = plans[form].choices
        assert choice.reason.startswith(impossible)
        assert bool(choice.reason) == bool(impossible)
        if form not in choice.seconds:
            continue
        assert choice.form == form
        assert found[form].dtype == expected[form].dtype
        np.testing.assert_allclose(
            found[form], expected[form], rtol=0, atol=64 * EPS * magnitude(model, params) + 1e-7
        )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("spec", [int8(), formats.binary()], ids=lambda spec: spec.name)
def test_without_activations_no_form_rounds_the_data(model, spec):
    """Whatever is fastest, outputs are those of the arrays that the codes stand for."""
    params = quantized(model, spec)
    for order in (("bits", "integer", "scaled"), ("materialized",)):
        chosen = plan_execution(
            model.fn, params, model.x, activations=None, probe=prefer(*order, "planned")
        )
        (choice,) = chosen.choices
        assert set(choice.seconds) <= {"scaled", "materialized", "dense"}
        found = jax.jit(run(model.fn, chosen))(params, model.x)
        atol = 64 * EPS * magnitude(model, params) + 1e-7
        np.testing.assert_allclose(
            found, model.fn(jc.materialize(params), model.x), rtol=0, atol=atol
        )
    assert chosen.activations is None


def test_integer_products_are_integer():
    """The program that runs multiplies int8 by int8 into int32."""
    model = MODELS[0]
    params = quantized(model, int8())
    text = str(jax.make_jaxpr(run(model.fn, planned(model, params, "integer")))(params, model.x))
    assert "preferred_element_type=int32" in text


def test_two_digits_and_static_ranges():
    model = MODELS[0]
    params = quantized(model, int8())
    exact = model.fn(jc.materialize(params), model.x)

    two = run(model.fn, planned(model, params, "integer", dynamic(digits=2)))
    size = float(jnp.max(jnp.abs(model.x))) * float(jnp.sum(jnp.abs(model.params["w"]), 0).max())
    assert float(jnp.max(jnp.abs(two(params, model.x) - exact))) <= size * (1 / 64516 + 16 * EPS)

    readings = jc.graph.calibrate(
        model.fn, model.params, [(model.x,)], jc.quantize.ranges.min_max()
    )
    fixed = run(model.fn, planned(model, params, "integer", static(readings)))
    shown = fake_quantize_activations(model.fn, static(readings))
    np.testing.assert_allclose(
        fixed(params, model.x), shown(jc.materialize(params), model.x), rtol=0, atol=size * 64 * EPS
    )


def test_bfloat16_models_keep_their_dtype():
    fn = lambda p, x: x @ p["w"]  # noqa: E731
    params, _ = quantize({"w": normal(8, 4).astype(jnp.bfloat16)}, int8())
    x = normal(2, 8).astype(jnp.bfloat16)
    for form in FORMS:
        out = run(fn, plan_execution(fn, params, x, probe=prefer(form)))(params, x)
        assert out.dtype == jnp.bfloat16


def two_layers(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"] + params["bias"][None]


def alone_and_together(alone, together):
    """A probe that knows what each form and each plan takes, and what it was asked.

    Args:
      alone: outputs of a site to the form that is fast there.
      together: how many leaves are held dense to the planned model's speed-up.
    """
    trials = []

    def probe(functions):
        if "planned" in functions:
            (names,) = functions["planned"].args
            trials.append(names)
            return {"dense": 1.0, "planned": 1.0 / together[len(names)]}
        fast = alone[functions["dense"]().shape[1]]
        return {name: 1.0 if name == fast else 2.0 for name in functions}

    return probe, trials


def test_a_plan_holds_dense_what_codes_lose():
    dense = {"a": normal(8, 6), "b": normal(6, 4), "bias": normal(4)}
    params, _ = quantize(dense, int8())
    x = normal(3, 8)
    probe, trials = alone_and_together({6: "integer", 4: "dense"}, {0: 1.2, 1: 1.5})
    chosen = plan_execution(two_layers, params, x, probe=probe)
    assert trials == [(), ("b",)]
    assert chosen.dense_leaves == ("b",)
    assert chosen.speedup == pytest.approx(1.5)
    held = chosen.hold(params)
    assert isinstance(held["a"], jc.QTensor)
    np.testing.assert_array_equal(held["b"], params["b"].materialize())
    assert [choice.speedup for choice in chosen.choices] == [2.0, 0.5]
    np.testing.assert_allclose(run(two_layers, chosen)(held, x), two_layers(dense, x), atol=0.5)
    table = str(chosen)
    for told in ("1.50 x dense", "integer alone 2.00 x dense", "0.50 x dense", "not quantized"):
        assert told in table
    actions = {row.name: (row.action, row.bytes_after) for row in chosen.report.leaves}
    assert actions == {"a": ("integer", 48 + 24), "b": ("dense", 96), "bias": ("kept", 16)}


def deep(params, x):
    for name in sorted(params):
        x = jnp.tanh(x @ params[name])
    return x


@pytest.mark.parametrize(
    ("together", "held"),
    [
        ({0: 2.0}, ""),
        ({0: 0.96}, ""),
        ({0: 0.5, 1: 0.97}, "a"),
        ({0: 0.5, 1: 0.6, 2: 1.1}, "ab"),
        ({0: 0.5, 1: 0.6, 2: 0.7, 4: 0.94}, "abcde"),
    ],
    ids=["wins", "about the same", "one falls back", "two fall back", "all do"],
)
def test_a_model_that_is_slower_than_its_sites_falls_back(together, held):
    """Whatever the sites take alone, those that win least first."""
    params, _ = quantize({name: normal(4, 4) for name in "abcde"}, int8())
    probe, trials = alone_and_together({4: "integer"}, together)
    chosen = plan_execution(deep, params, normal(2, 4), probe=probe)
    assert chosen.dense_leaves == tuple(held)
    assert trials == [tuple("abcde"[:count]) for count in together]
    assert chosen.speedup == pytest.approx(together[len(held)] if len(held) < 5 else 1.0)
    assert chosen.report.title.startswith("plan: ")


def test_shapes_are_enough_to_plan():
    params, _ = quantize({"w": jax.ShapeDtypeStruct((8, 4), jnp.float32)}, int8())
    x = jax.ShapeDtypeStruct((2, 8), jnp.float32)
    chosen = plan_execution(lambda p, x: x @ p["w"], params, x)
    assert chosen.choices[0].seconds["dense"] > 0


def test_a_site_in_its_model_costs_what_it_does_alone():
    """One row, and a bias after it: the widened weight is not written to memory."""

    def layer(params, x):
        return x @ params["w"] + params["b"][None]

    params, _ = quantize({"w": normal(64, 64), "b": normal(64)}, int8())
    x = normal(1, 64)
    chosen = plan_execution(layer, params, x, probe=prefer("materialized"))
    compiled = jax.jit(run(layer, chosen)).lower(params, x).compile()
    assert "optimization_barrier" in jax.jit(run(layer, chosen)).lower(params, x).as_text()
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 64 * 64


def test_sites_of_one_kind_are_timed_once():
    params, _ = quantize({name: normal(4, 4) for name in "abc"}, int8())
    calls = []

    def probe(functions):
        calls.append(functions)
        return prefer("integer")(functions)

    assert len(plan_execution(deep, params, normal(2, 4), probe=probe).choices) == 3
    assert [set(functions) for functions in calls] == [{*FORMS, "dense"}, {"dense", "planned"}]


def test_the_real_probe_times_every_form():
    params, _ = quantize({"w": normal(8, 4)}, int8())
    chosen = plan_execution(lambda p, x: x @ p["w"], params, normal(2, 8))
    (choice,) = chosen.choices
    assert set(choice.seconds) == {*FORMS, "dense"}
    assert all(0 < seconds < math.inf for seconds in choice.seconds.values())
    assert choice.form == min(FORMS, key=choice.seconds.__getitem__)
    assert chosen.speedup >= 0.95
    assert set(chosen.seconds) in ({"dense", "planned"}, set())


def test_sites_that_cannot_are_listed_with_the_reason():
    x = normal(2, 4)
    fn = lambda p, x: x @ p["w"]  # noqa: E731
    asymmetric, _ = quantize({"w": normal(4, 4)}, uint8())
    assert plan_execution(fn, asymmetric, x).choices[0].reason == "asymmetric codes"
    for spec, reason in [
        (formats.nf4(), "nf4 codes are not integers"),
        (formats.int4(block=(2, 2)), "scales in blocks of 2 by 2, which no integer product"),
    ]:
        coded, _ = quantize({"w": normal(4, 4)}, spec)
        assert plan_execution(fn, coded, x).choices[0].reason.startswith(reason)
    heads = BY_NAME["heads merged"]
    rows = planned(heads, quantized(heads, int8(per="row")), "integer")
    assert rows.choices[0].reason.startswith("scales per row, which no integer product")
    long, _ = quantize({"w": jnp.ones((140_000, 1))}, int8())
    chosen = plan_execution(fn, long, jnp.ones((1, 140_000)), probe=prefer("integer"))
    assert chosen.choices[0].reason == "sums of 140000 products overflow int32"
    along = jc.LeafAxes(contracting=(1,), output=(0,))
    other, _ = quantize({"w": normal(4, 4)}, int8(), axes={"w": along})
    chosen = plan_execution(fn, other, x)
    assert "quantized along other axes" in chosen.choices[0].reason
    np.testing.assert_allclose(run(fn, chosen)(other, x), fn(jc.materialize(other), x), rtol=1e-6)


def test_a_leaf_that_meets_no_data_is_in_the_report():
    params, _ = quantize({"w": normal(4, 4)}, int8())
    chosen = plan_execution(lambda params, x: x + jnp.sum(params["w"]), params, normal(2))
    assert (chosen.choices, chosen.speedup) == ((), 1.0)
    assert chosen.report.title == "plan: no leaf runs on codes"
    assert chosen.report.leaves[0].reason == "meets no data as codes"


def test_refusals():
    params, _ = quantize({"w": normal(4, 4)}, int8())
    fn = lambda p, x: x @ p["w"]  # noqa: E731
    x = normal(2, 4)
    with pytest.raises(ValueError, match=r"plan_execution\(params=...\) has no quantized leaf"):
        plan_execution(fn, jc.materialize(params), x)
    with pytest.raises(ValueError, match=r"symmetric codes of whole numbers, which uint8 has"):
        plan_execution(fn, params, x, activations=dynamic(uint8()))
    elsewhere = ExecutionPlan((), (), {}, dynamic(), "Abacus", jc.Report("plan", ()))
    with pytest.raises(ValueError, match="made on Abacus, this is cpu"):
        run(fn, elsewhere)(params, x)
