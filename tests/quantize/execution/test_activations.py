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
from jaxcompress.quantize.execution import dynamic, static
from jaxcompress.quantize.formats import mxfp4, uint8
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
    with pytest.raises(ValueError, match="range of 'kernel' is"):
        static({"kernel": min_max().init(jax.ShapeDtypeStruct((1,), jnp.float32))})
    with pytest.raises(ValueError, match=r"no range for site 'kernel'.* has: other"):
        seen_data(dense, static({"other": Range(jnp.float32(0), jnp.float32(1))}), jnp.ones((1, 2)))
