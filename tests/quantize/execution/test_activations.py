"""Low-bit data: what each quantizer does to the data at a site, and its gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.observers import Range
from jaxcompress.quantize import (
    fake_quantize_activations,
    fake_quantize_model,
    int4,
    int8,
    plan_execution,
    run,
)
from jaxcompress.quantize.execution import above, dynamic, largest, outliers, static
from jaxcompress.quantize.formats import fp8_e4m3, mxfp4, uint4, uint8
from jaxcompress.quantize.ranges import min_max


def dense(params, x):
    return x @ params["kernel"]


def seen_data(fn, activations, x):
    """What meets the weight: with an identity as the weight the output is the data."""
    return fake_quantize_activations(fn, activations)({"kernel": jnp.eye(x.shape[-1])}, x)


def rows(shape=(3, 4), seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_dynamic_takes_each_row_by_itself():
    x = rows() * jnp.asarray([[1.0], [100.0], [0.0]])
    seen = np.asarray(seen_data(dense, dynamic(), x))
    for row, shown in zip(np.asarray(x), seen, strict=True):
        scale = np.abs(row).max() / 127 or 1.0
        np.testing.assert_allclose(shown, np.round(row / scale) * scale, rtol=1e-6)


def test_two_digits_are_finer_by_254():
    x = rows()
    scale = np.abs(np.asarray(x)).max(1, keepdims=True) / 127
    error = np.abs(np.asarray(seen_data(dense, dynamic(digits=2), x) - x))
    assert np.all(error <= scale / 254 / 2 + np.abs(x) * 1e-6)


@pytest.mark.parametrize("spec", [int8(), uint8(), int4()], ids=str)
def test_static_clips_to_what_was_calibrated(spec):
    batches = [(jnp.asarray([[0.5, -1.0]]),), (jnp.asarray([[2.0, 0.1]]),)]
    readings = jc.graph.calibrate(dense, {"kernel": jnp.eye(2)}, batches, min_max())
    seen = seen_data(dense, static(readings, spec), jnp.asarray([[5.0, 1.0]]))
    step = (4.0 if spec.symmetric else 3.0) / (spec.highest - spec.lowest)
    np.testing.assert_allclose(seen, [[2.0, 1.0]], atol=step / 2 * (1 + 1e-5))


def test_the_gradient_is_that_of_the_data_inside_the_range():
    readings = {"kernel": Range(jnp.float32(-1.0), jnp.float32(1.0))}
    fn = fake_quantize_activations(dense, static(readings))
    x = jnp.asarray([[0.5, 3.0]])
    found = jax.grad(lambda x: fn({"kernel": jnp.eye(2)}, x).sum())(x)
    np.testing.assert_array_equal(found, [[1.0, 0.0]])


def test_convolutions_share_one_range_and_keep_their_layout():
    kernel = jnp.zeros((1, 1, 2, 2)).at[0, 0].set(jnp.eye(2))

    def conv(params, x):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, params["kernel"], (1, 1), "SAME", dimension_numbers=dimensions
        )

    x = rows((2, 3, 3, 2))
    seen = fake_quantize_activations(conv, dynamic())({"kernel": kernel}, x)
    scale = float(jnp.max(jnp.abs(x))) / 127
    np.testing.assert_allclose(seen, np.round(np.asarray(x) / scale) * scale, rtol=1e-5)


def test_scanned_layers_share_the_widest_range():
    def deep(params, x):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, params["kernel"])[0]

    params = {"kernel": jnp.stack([2 * jnp.eye(2), jnp.eye(2)])}
    x = jnp.asarray([[1.0, -1.0]])
    readings = jc.graph.calibrate(deep, params, [(x,)], min_max())
    assert readings["kernel"].value.high.shape == (2,)
    np.testing.assert_allclose(
        fake_quantize_activations(deep, static(readings))(params, x), [[2.0, -2.0]], atol=4 / 127
    )


def test_gathers_are_left_alone_and_rules_choose():
    def fn(params, tokens):
        return params["table"][tokens] @ params["head"]

    params = {"table": rows((5, 4)), "head": rows((4, 2), 1)}
    tokens = jnp.asarray([0, 3])
    only_table = fake_quantize_activations(fn, jc.Rules({"table": dynamic()}))
    np.testing.assert_array_equal(only_table(params, tokens), fn(params, tokens))
    both = fake_quantize_activations(fn, dynamic(int4()))
    assert np.any(np.asarray(both(params, tokens)) != np.asarray(fn(params, tokens)))


def error(fn, activations, x):
    return np.abs(np.asarray(seen_data(fn, activations, x)) - np.asarray(x))


def test_ranges_of_each_feature_are_static_too():
    x = rows((64, 4)) * jnp.asarray([[1.0, 10.0, 100.0, 0.0]])
    readings = jc.graph.calibrate(
        dense, {"kernel": jnp.eye(4)}, [(x[:32],), (x[32:],)], min_max(None, (-2,))
    )
    largest_of = np.abs(np.asarray(x)).max(0)
    assert readings["kernel"].value.high.shape == (1, 4)
    # By format the widest gap between two levels, as a share of the largest magnitude.
    gaps = {int8(): 1 / 127, int4(): 1 / 7, uint4(): 2 / 15, fp8_e4m3(): 1 / 14}
    for spec, gap in gaps.items():
        assert np.all(error(dense, static(readings, spec), x) <= largest_of * gap * 0.501), spec
    whole = static({"kernel": jax.tree.map(jnp.max, readings["kernel"].value)}, int4())
    assert error(dense, static(readings, int4()), x).mean() < error(dense, whole, x).mean()


def test_ranges_of_each_feature_of_layers_and_convolutions():
    def deep(params, x):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, params["kernel"])[0]

    def conv(params, x):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, params["kernel"], (1, 1), "SAME", dimension_numbers=dimensions
        )

    x = rows((5, 4)) * jnp.asarray([[1.0, 30.0, 1.0, 1.0]])
    for fn, kernel, data in (
        (deep, jnp.stack([jnp.eye(4), 2 * jnp.eye(4)]), x),
        (conv, jnp.eye(4)[None, None], x.reshape(1, 5, 1, 4)),
    ):
        params = {"kernel": kernel}
        readings = jc.graph.calibrate(fn, params, [(data,)], min_max(None, (-2,)))
        shown = fake_quantize_activations(fn, static(readings))(params, data)
        steps = np.abs(np.asarray(x)).max(0) / 127
        scanned = fn is deep  # the layers share the widest range, that of the second
        tolerance = steps * (3 if scanned else 0.5) * (1 + 1e-4)
        difference = np.abs(np.asarray(shown - fn(params, data))).reshape(-1, 4)
        assert np.all(difference <= tolerance)


def by_hand(x, kept, highest):
    """Rows of codes beside kept features, the plainest way."""
    shown = np.array(x)
    for row in shown:
        step = np.abs(row[~kept]).max() / highest
        row[~kept] = np.round(row[~kept] / step) * step
    return shown


@pytest.mark.parametrize("which", [above(6.0), largest(2)], ids=["above", "largest"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_outliers_stay_floats(which, calibrated):
    x = jnp.clip(rows((16, 8)), -2, 2).at[:, jnp.asarray([2, 5])].multiply(40.0)
    readings = jc.graph.calibrate(dense, {"kernel": jnp.eye(8)}, [x], min_max(None, (-2,)))
    kept = np.isin(np.arange(8), [2, 5])
    mixed = outliers(dynamic(int4()), which, readings=readings if calibrated else None)
    shown = np.asarray(seen_data(dense, mixed, x))
    np.testing.assert_allclose(shown, by_hand(x, kept, 7), rtol=1e-5, atol=1e-6)
    weights, _ = jc.quantize.quantize({"kernel": rows((8, 3), 1)}, int8())
    plan = plan_execution(dense, weights, x, activations=mixed, probe=integer_first)
    np.testing.assert_allclose(
        run(dense, plan)(weights, x),
        shown @ jc.materialize(weights)["kernel"],
        rtol=1e-4,
        atol=1e-4,
    )


def integer_first(calls):
    return {name: 1.0 + (name != "integer") for name in calls}


@pytest.mark.parametrize("planted", [1.0, 50.0, 1e4])
@pytest.mark.parametrize("spec", [int4(), uint4()], ids=str)
def test_outliers_never_harm(spec, planted):
    x = rows((32, 16)).at[:, 3].multiply(planted)
    readings = jc.graph.calibrate(dense, {"kernel": jnp.eye(16)}, [x], min_max())
    for inner in (dynamic(spec), static(readings, spec)):
        mixed = [outliers(inner, above(6.0)), outliers(inner, largest(1))]
        whole = (error(dense, inner, x) ** 2).mean()
        assert all((error(dense, each, x) ** 2).mean() <= whole * (1 + 1e-5) for each in mixed)


def test_the_kept_have_gradients_and_pass_what_is_not_finite():
    x = jnp.asarray([[100.0, 1.0, jnp.nan], [2.0, jnp.inf, 1.0]])
    fn = fake_quantize_activations(dense, outliers(dynamic()))
    np.testing.assert_array_equal(np.isfinite(fn({"kernel": jnp.eye(3)}, x)).all(1), [False, False])
    slope = jax.grad(lambda x: fn({"kernel": jnp.eye(3)}, x).sum())(jnp.asarray([[100.0, 1, 2]]))
    np.testing.assert_array_equal(slope, [[1.0, 1.0, 1.0]])
    zeros = fn({"kernel": jnp.eye(3)}, jnp.zeros((2, 3)))
    np.testing.assert_array_equal(zeros, jnp.zeros((2, 3)))


def test_rules_give_each_site_its_own_on_integers_and_floats():
    def fn(params, x):
        return jnp.tanh(x @ params["a"]) @ params["b"]

    params = {"a": rows((4, 6)), "b": rows((6, 3), 1)}
    x = rows((5, 4), 2) * 10
    rules = jc.Rules({"a": outliers(dynamic(int4()), largest(1))})
    found = fake_quantize_model(fn, int8(), rules)(params, x)
    stored = jc.materialize(jc.quantize.quantize(params, int8())[0])
    expected = fake_quantize_activations(fn, rules)(stored, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_codes_scaled_by_feature_run_in_floats_and_the_plan_says_so():
    x = rows((5, 4))
    readings = jc.graph.calibrate(dense, {"kernel": jnp.eye(4)}, [x], min_max(None, (-2,)))
    weights, _ = jc.quantize.quantize({"kernel": rows((4, 3), 1)}, int8())
    plan = plan_execution(dense, weights, x, activations=static(readings), probe=integer_first)
    assert plan.choices[0].form == "materialized"
    assert "scale for each input" in plan.choices[0].reason
    rounded = fake_quantize_model(dense, int8(), static(readings))(jc.materialize(weights), x)
    seen = fake_quantize_activations(dense, static(readings))(weights, x)
    np.testing.assert_allclose(rounded, seen, rtol=1e-5, atol=1e-6)


UNCALLED: Any = int8
SPEC: Any = int8()
SPEC_WANTED = r"\(spec=int8\) must be of type QuantSpec, not function. Call a format"
DATA_WANTED = (
    r"\(activations=QuantSpec.*\) must be of type Activations, not QuantSpec. Make them with"
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dynamic(UNCALLED), "dynamic" + SPEC_WANTED),
        (lambda: static({}, UNCALLED), "static" + SPEC_WANTED),
        (lambda: static(SPEC), r"static\(readings=QuantSpec.*\) must be a mapping. Pass what"),
        (lambda: seen_data(dense, SPEC, jnp.ones((1, 2))), "activations" + DATA_WANTED),
        (
            lambda: seen_data(dense, jc.Rules({"kernel": int8()}), jnp.ones((1, 2))),
            "activations" + DATA_WANTED,
        ),
        (lambda: fake_quantize_model(dense, SPEC, SPEC), "model" + DATA_WANTED),
        (lambda: plan_execution(dense, {}, activations=SPEC), "execution" + DATA_WANTED),
        (lambda: outliers(SPEC), "outliers" + r"\(inner=QuantSpec.*\) must be of type Activations"),
        (lambda: run(dense, SPEC), r"run\(plan=QuantSpec.*\) must be of type ExecutionPlan"),
    ],
)
def test_what_is_easily_confused_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("spec", [mxfp4(), int8(group_size=4), int8(block=(2, 4))], ids=str)
def test_parts_of_a_row_of_data_have_no_scale(spec):
    for build in (dynamic, lambda spec: static({}, spec)):
        with pytest.raises(ValueError, match="data have a scale for each row or site, none for"):
            build(spec)


def test_refusals():
    with pytest.raises(ValueError, match=r"digits=2\) needs odd whole numbers"):
        dynamic(uint8(), digits=2)
    with pytest.raises(ValueError, match="digits=0"):
        dynamic(digits=0)
    with pytest.raises(ValueError, match="threshold=0"):
        above(0)
    with pytest.raises(ValueError, match="count=0"):
        largest(0)
    for readings in (None, {"kernel": Range(-jnp.ones(1), jnp.ones(1))}):
        with pytest.raises(ValueError, match=r"site 'kernel': largest\(count=9\) .*of 4 features"):
            seen_data(dense, outliers(dynamic(), largest(9), readings=readings), jnp.ones((1, 4)))
    with pytest.raises(ValueError, match=r"outliers\(inner=.*keeps features already"):
        outliers(outliers(dynamic()))
    wrong = {"kernel": Range(-jnp.ones(3), jnp.ones(3))}
    with pytest.raises(ValueError, match=r"range of 'kernel' has shape \(3,\), and its rows"):
        seen_data(dense, static(wrong), jnp.ones((1, 2)))
    with pytest.raises(ValueError, match=r"outliers\(readings=...\) has no range for site"):
        seen_data(dense, outliers(dynamic(), readings={"b": wrong["kernel"]}), jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="range of 'kernel' is"):
        static({"kernel": min_max().init(jax.ShapeDtypeStruct((1,), jnp.float32))})
    with pytest.raises(ValueError, match=r"no range for site 'kernel'.* has: other"):
        seen_data(dense, static({"other": Range(jnp.float32(0), jnp.float32(1))}), jnp.ones((1, 2)))
