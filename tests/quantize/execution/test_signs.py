"""Signs times signs at a site: the fake-quantized model, and the integer form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.observers import Range
from jaxcompress.graph.traversal import programs
from jaxcompress.quantize import fake_quantize_activations, formats, plan_execution, quantize, run
from jaxcompress.quantize.execution import dynamic, static
from tests.quantize.execution.test_run import BY_NAME, Model, normal, prefer

DATA = {
    "binary": static(
        {"w": Range(jnp.float32(-1.0), jnp.float32(1.0))}, formats.binary(per="tensor")
    ),
    "ternary": static({"w": Range(jnp.float32(-0.5), jnp.float32(0.5))}, formats.ternary()),
    "binary rows": dynamic(formats.binary()),
    "ternary rows": dynamic(formats.ternary()),
}
WEIGHTS = {
    "binary": formats.binary(),
    "ternary": formats.ternary(),
    "binary tensor": formats.binary(per="tensor"),
    "powers of two": formats.binary(scales="power_of_two"),
}


def convolved(numbers, **options):
    def fn(params, x):
        return jax.lax.conv_general_dilated(x, params["w"], dimension_numbers=numbers, **options)

    return fn


STRIDED = {"window_strides": (2, 1), "padding": ((1, 2), (0, -1)), "rhs_dilation": (1, 2)}
WIDENED = {"window_strides": (1,), "padding": ((2, 1),), "lhs_dilation": (2,)}
MODELS = [
    *(BY_NAME[name] for name in ("dense", "vector", "weight first", "heads", "heads merged")),
    *(BY_NAME[name] for name in ("experts", "conv")),
    Model(
        "conv with strides and dilation",
        convolved(("NCHW", "OIHW", "NHWC"), **STRIDED),
        {"w": normal(6, 35, 3, 2)},
        normal(2, 35, 7, 6),
    ),
    Model(
        "transposed conv",
        convolved(("NWC", "WIO", "NWC"), **WIDENED),
        {"w": normal(3, 4, 5)},
        normal(2, 5, 4),
    ),
]


def stored(model, spec):
    axes = jc.graph.axes(model.fn, model.params, model.x)
    return quantize(model.params, spec, axes=axes)[0]


def in_form(form, model, params, activations):
    shown = fake_quantize_activations(model.fn, activations)
    plan = plan_execution(shown, params, model.x, activations=activations, probe=prefer(form))
    assert [choice.form for choice in plan.choices] == [form]
    return run(shown, plan)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_bits_agree_with_the_fake_quantized_model(model):
    models = {
        (weights, data): (stored(model, spec), activations)
        for weights, spec in WEIGHTS.items()
        for data, activations in DATA.items()
    }
    running = {key: in_form("bits", model, *pair) for key, pair in models.items()}

    @jax.jit
    def outputs(x):
        return {
            key: (running[key](params, x), fake_quantize_activations(model.fn, data)(params, x))
            for key, (params, data) in models.items()
        }

    for key, (found, expected) in outputs(model.x).items():
        size = float(jnp.max(jnp.abs(expected))) + 1.0
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * size, err_msg=str(key))
        if key == ("powers of two", "binary"):
            # Products are powers of two, whose sums have no rounding.
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("data", ["ternary", "ternary rows"])
@pytest.mark.parametrize("name", ["dense", "heads merged", "experts"])
def test_bits_are_the_integer_form_to_the_bit(name, data):
    model = BY_NAME[name]
    params = stored(model, formats.ternary())
    forms = [in_form(form, model, params, DATA[data]) for form in ("bits", "integer")]
    found, expected = jax.jit(lambda x: [form(params, x) for form in forms])(model.x)
    np.testing.assert_array_equal(found, expected)


def test_where_an_entry_is_not_finite_its_row_is_not():
    model = BY_NAME["dense"]
    params = stored(model, formats.binary())
    x = model.x.at[1, 2].set(jnp.nan).at[2, 0].set(-jnp.inf)
    found = jax.jit(in_form("bits", model, params, DATA["binary"]))(params, x)
    np.testing.assert_array_equal(np.isfinite(found).all(1), [True, False, False])


def test_windows_with_an_entry_that_is_not_finite_are_not():
    model = BY_NAME["conv"]
    params = stored(model, formats.binary())
    x = model.x.at[0, 0, 0, 2].set(jnp.nan).at[1, 4, 4, 0].set(jnp.inf)
    running = jax.jit(in_form("bits", model, params, DATA["binary"]))
    found, expected = running(params, x), running(params, model.x)
    ones = {"w": jnp.ones(model.params["w"].shape)}
    spoiled = np.asarray(model.fn(ones, 1.0 - jnp.isfinite(x))) > 0
    np.testing.assert_array_equal(np.isnan(found), spoiled)
    np.testing.assert_array_equal(found[~spoiled], expected[~spoiled])
    assert 0 < spoiled.mean() < 1


FORMS = [
    (formats.binary(), DATA["binary"], {"bits", "materialized"}),
    (formats.ternary(), DATA["binary"], {"bits", "scaled", "materialized"}),
    (formats.ternary(), DATA["ternary"], {"bits", "integer", "scaled", "materialized"}),
    (formats.ternary(), dynamic(), {"integer", "scaled", "materialized"}),
    (formats.binary(), dynamic(), {"materialized"}),
    (formats.int4(), DATA["ternary"], {"integer", "scaled", "materialized"}),
    (formats.ternary(group_size=4), DATA["ternary"], {"integer", "materialized"}),
]


@pytest.mark.parametrize(("spec", "activations", "forms"), FORMS)
def test_bits_are_timed_where_both_are_signs(spec, activations, forms):
    model = BY_NAME["dense"]
    plan = plan_execution(
        model.fn, stored(model, spec), model.x, activations=activations, probe=prefer("dense")
    )
    assert set(plan.choices[0].seconds) == forms | {"dense"}


def test_words_are_those_that_are_stored():
    """Nothing is unpacked: the program has no array of one code per entry."""
    fn = lambda params, x: x @ params["w"]  # noqa: E731
    params = quantize({"w": normal(64, 96)}, formats.binary())[0]
    plan = plan_execution(
        fn, params, normal(1, 64), activations=DATA["binary"], probe=prefer("bits")
    )
    jaxpr = jax.make_jaxpr(run(fn, plan))(params, normal(1, 64))
    sizes = {
        var.aval.size for each in programs(jaxpr) for eqn in each.jaxpr.eqns for var in eqn.outvars
    }
    assert 64 * 96 not in sizes
