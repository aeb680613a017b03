"""What rounding may not do: hide data that are not finite, or stop the gradient."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.observers import Range
from jaxcompress.kernels import two_digit_matmul
from jaxcompress.quantize import (
    fake_quantize,
    fake_quantize_activations,
    int4,
    int8,
    plan_execution,
    quantize,
    run,
)
from jaxcompress.quantize.execution import dynamic, static
from jaxcompress.quantize.formats import binary, ternary, uint4, uint8
from tests.inputs import on_device

EVERY = ((jnp.float32, 1), (jnp.float32, 3), (jnp.bfloat16, 3), (jnp.float16, 1))
ONE = ((jnp.float32, 3),)
CALIBRATED = static({"w": Range(jnp.float32(-2.0), jnp.float32(2.0))})


def dense(params, x):
    return x @ params["w"]


def experts(params, x):
    return jnp.einsum("etk,ekn->etn", x, params["w"])


def conv(params, x):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, params["w"], (1, 1), "SAME", dimension_numbers=layout)


class Case(NamedTuple):
    """A form of execution, what runs in it, and at which dtypes and numbers of rows."""

    name: str
    form: str
    fn: object = dense
    weight: tuple = (8, 4)
    data: object = lambda rows: (rows, 8)
    spec: object = int8()
    activations: object = dynamic()
    settings: tuple = ONE


CASES = [
    Case("scaled", "scaled", settings=EVERY),
    Case("materialized", "materialized", settings=EVERY),
    Case("asymmetric", "materialized", spec=uint8()),
    Case("integer", "integer", settings=EVERY),
    Case("two digits", "integer", activations=dynamic(digits=2)),
    Case("calibrated", "integer", activations=CALIBRATED),
    Case("nibbles", "integer", spec=int4()),
    Case("groups", "integer", spec=int8(group_size=4)),
    Case("nibbles in groups", "integer", spec=int4(group_size=4)),
    Case("experts", "integer", experts, (2, 8, 4), lambda rows: (2, rows, 8)),
    Case(
        "convolution", "integer", conv, (2, 2, 3, 4), lambda rows: (rows, 3, 3, 3), settings=EVERY
    ),
    Case("bits", "bits", spec=binary(), activations=dynamic(binary()), settings=EVERY),
    Case("ternary bits", "bits", spec=ternary(), activations=CALIBRATED._replace(spec=binary())),
    Case(
        "bits of experts",
        "bits",
        experts,
        (2, 8, 4),
        lambda rows: (2, rows, 8),
        spec=binary(),
        activations=dynamic(ternary()),
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def normal(shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def spoiled(x):
    """The data with one NaN and one infinity."""
    x = x.reshape(-1)
    return x.at[1].set(jnp.nan).at[-1].set(jnp.inf)


def stored(case, dtype):
    x = jax.ShapeDtypeStruct(case.data(1), dtype)
    params = {"w": normal(case.weight).astype(dtype)}
    return quantize(params, case.spec, axes=jc.graph.axes(case.fn, params, x))[0]


def running(case, params, x):
    prefer = lambda calls: {name: 1.0 + (name != case.form) for name in calls}  # noqa: E731
    chosen = plan_execution(case.fn, params, x, activations=case.activations, probe=prefer)
    assert {choice.form for choice in chosen.choices} == {case.form}
    return run(case.fn, chosen)


def formed(case):
    return lambda params, x: case.fn(jc.materialize(params), x)


def settings(case):
    """Params and data of the case at every dtype and number of rows."""
    return {
        f"{dtype.__name__}, {rows}": (stored(case, dtype), normal(case.data(rows), 1).astype(dtype))
        for dtype, rows in case.settings
    }


@every_case
def test_what_is_not_finite_stays_so(case):
    """In the outputs that have it in the float form, and nowhere else."""
    given = settings(case)
    forms = {key: (running(case, *pair), formed(case)) for key, pair in given.items()}

    @jax.jit
    def outputs(given):
        return {key: [fn(*pair) for fn in forms[key]] for key, pair in given.items()}

    bad = {key: (params, spoiled(x).reshape(x.shape)) for key, (params, x) in given.items()}
    for key, (found, expected) in outputs(bad).items():
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected), key)
        assert not np.all(np.isfinite(found))


@every_case
def test_the_gradient_goes_straight_through_the_rounding(case):
    """By data and scales, forwards, backwards and mapped: that of the float form."""
    given = settings(case)
    forms = {key: (running(case, *pair), formed(case)) for key, pair in given.items()}

    def derivatives(fn, params, x):
        def by_scale_and_data(scale, x):
            return fn({"w": dataclasses.replace(params["w"], scale=scale)}, x)

        at = params["w"].scale, x
        output, pull = jax.vjp(by_scale_and_data, *at)
        tangent = jax.jvp(by_scale_and_data, at, at)[1]
        ones = jnp.ones_like(output)
        mapped = jax.vmap(lambda x: jax.grad(lambda x: fn(params, x).sum())(x))(x[None])
        return tangent, *pull(ones), mapped[0]

    @jax.jit
    def both(given):
        return {key: [derivatives(fn, *pair) for fn in forms[key]] for key, pair in given.items()}

    for key, (found, expected) in both(given).items():
        eps = float(jnp.finfo(given[key][1].dtype).eps)
        for part, whole in zip(found, expected, strict=True):
            assert part.dtype == whole.dtype
            size = float(jnp.max(jnp.abs(whole)))
            np.testing.assert_allclose(
                np.asarray(part, np.float32),
                np.asarray(whole, np.float32),
                rtol=0,
                atol=16 * eps * size,
                err_msg=key,
            )
            assert size > 0


VIEWS = [
    ("weights of 8 bits", fake_quantize(int8())),
    ("weights in groups", fake_quantize(int4(group_size=4))),
    ("asymmetric weights", fake_quantize(uint4(per="tensor"))),
    ("stored weights", lambda params: jc.materialize(quantize(params, int8())[0])),
    ("data by rows", lambda params: shown_data(dynamic(), params)),
    ("calibrated data", lambda params: shown_data(CALIBRATED, params)),
    (
        "calibrated asymmetric data",
        lambda params: shown_data(CALIBRATED._replace(spec=uint8()), params),
    ),
]


def shown_data(activations, params):
    """What meets an identity: the data as they are seen."""
    fn = fake_quantize_activations(dense, activations)
    return {"w": fn({"w": jnp.eye(8)}, params["w"].T).T}


@pytest.mark.parametrize("view", [view for _, view in VIEWS], ids=[name for name, _ in VIEWS])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_views_show_what_is_not_finite(view, value):
    seen = jax.jit(view)({"w": normal((8, 4)).at[2, 1].set(value)})["w"]
    assert not np.isfinite(seen[2, 1])
    assert np.all(np.isfinite(np.delete(seen, 1, axis=1))) or view is VIEWS[2][1]


def test_one_bad_picture_spoils_no_other():
    x = normal((3, 3, 3, 3)).at[1, 0, 0, 0].set(jnp.nan)
    seen = fake_quantize_activations(conv, dynamic())({"w": normal((2, 2, 3, 4))}, x)
    assert np.all(np.isfinite(seen[jnp.array([0, 2])]))
    assert np.any(np.isnan(seen[1]))


def test_the_gradient_of_a_bad_weight_is_not_cut_off():
    """So that what watches gradients sees it."""
    params = {"w": normal((8, 4)).at[2, 1].set(jnp.nan)}
    view = fake_quantize(int8())
    found = jax.grad(lambda params: jnp.sum(view(params)["w"] ** 2))(params)["w"]
    assert np.all(np.isnan(found[:, 1]))


def test_two_digits_of_plain_arrays():
    x, w = normal((3, 8)), jnp.asarray(normal((4, 8), 1) * 50, jnp.int8)
    np.testing.assert_array_equal(
        np.isnan(two_digit_matmul(spoiled(x).reshape(x.shape), w)).all(1), [True, False, True]
    )
    found = jax.grad(lambda x: two_digit_matmul(x, w).sum())(x)
    np.testing.assert_allclose(found, np.broadcast_to(np.sum(w, 0), x.shape), rtol=1e-6)
