"""Training on low-bit products: forward and backward against rounded matrices."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxcompress as jc
from jaxcompress.core.types import Model
from jaxcompress.quantize import int4, int8
from jaxcompress.quantize.formats import fp4, fp8_e4m3, fp8_e5m2, nf4, uint8
from jaxcompress.quantize.training import (
    LowPrecision,
    Precision,
    delayed_scaling,
    low_precision,
    precision,
    round_stochastic,
)
from tests.inputs import on_device

FP8 = precision(fp8_e4m3(per="tensor"), fp8_e5m2(per="tensor"), scaling=delayed_scaling(3))
CURRENT = precision(fp8_e4m3(per="tensor"), fp8_e5m2(per="tensor"))


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def dense(params, x):
    return x @ params["w"]


def conv(params, x, **options):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, params["w"], (1, 1), "SAME", dimension_numbers=layout, **options
    )


def in_levels(x: np.ndarray, levels: str) -> np.ndarray:
    """Numbers in steps, rounded by NumPy and by the casts of ml_dtypes."""
    match levels:
        case "int8" | "int4":
            most = {"int8": 127, "int4": 7}[levels]
            return np.clip(np.rint(x), -most, most)
        case _:
            dtype, most = {
                "fp8_e4m3": (ml_dtypes.float8_e4m3fn, 448),
                "fp8_e5m2": (ml_dtypes.float8_e5m2, 57344),
                "fp4_e2m1": (ml_dtypes.float4_e2m1fn, 6),
            }[levels]
            return np.clip(x, -most, most).astype(dtype).astype(np.float32)


MOST = {"int8": 127, "int4": 7, "fp8_e4m3": 448, "fp8_e5m2": 57344, "fp4_e2m1": 6}


def product(a: np.ndarray, b: np.ndarray, first: jc.QuantSpec, second: jc.QuantSpec):
    """a · bᵀ of rounded matrices, (…, M, K) and (…, N, K)."""

    def rounded(x, spec):
        axis = (-2, -1) if "tensor" in str(spec) else -1
        scale = np.abs(x).max(axis=axis, keepdims=True) / np.float32(MOST[spec.name])
        return np.float64(in_levels(x / scale, spec.name)) * scale

    return rounded(a, first) @ rounded(b, second).swapaxes(-1, -2)


class Case(NamedTuple):
    """A model of one weight, and how its operands are matrices."""

    name: str
    fn: Model
    weight: tuple
    x: tuple
    rows: Callable = lambda x: x
    matrix: Callable = lambda w: w.T
    output: Callable = lambda y: y
    how: Precision = precision()
    dtype: object = jnp.float32


HEADS = Case(
    "heads",
    lambda p, x: jnp.einsum("bti,iho->bhto", x, p["w"]),
    (8, 2, 3),
    (2, 3, 8),
    rows=lambda x: x.reshape(6, 8),
    matrix=lambda w: w.reshape(8, 6).T,
    output=lambda y: jnp.transpose(y.reshape(2, 3, 2, 3), (0, 2, 1, 3)),
)
EXPERTS = Case(
    "experts",
    lambda p, x: jnp.einsum("etk,ekn->etn", x, p["w"]),
    (2, 8, 3),
    (2, 4, 8),
    matrix=lambda w: w.mT,
)
FORMATS = {
    "int8 per tensor": precision(int8(per="tensor"), int8(per="tensor")),
    "int4": precision(int4(), int8()),
    "fp8 of rows": precision(fp8_e4m3(), fp8_e5m2()),
    "fp8": CURRENT,
    "fp8, delayed, at first": FP8,
    "fp4": precision(fp4(), fp8_e5m2()),
    "whole numbers and floats": precision(int8(), fp8_e5m2()),
}
CASES = [
    Case("dense", dense, (8, 6), (3, 8)),
    Case("one row", dense, (8, 6), (1, 8)),
    Case("bfloat16", dense, (8, 6), (3, 8), dtype=jnp.bfloat16),
    Case("transposed", lambda p, x: x @ p["w"].T, (6, 8), (3, 8), matrix=lambda w: w),
    Case(
        "weight first",
        lambda p, x: p["w"] @ x,
        (6, 8),
        (8, 3),
        rows=lambda x: x.T,
        matrix=lambda w: w,
        output=lambda y: y.T,
    ),
    HEADS,
    EXPERTS,
    EXPERTS._replace(name="experts in fp8", how=FORMATS["fp8 of rows"]),
    HEADS._replace(name="heads in fp8", how=CURRENT),
    *(Case(name, dense, (8, 6), (3, 8), how=how) for name, how in FORMATS.items()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_and_gradients_are_products_of_rounded_matrices(case):
    params = {"w": normal(*case.weight).astype(case.dtype)}
    x = normal(*case.x, seed=1).astype(case.dtype)
    towards = normal(*jax.eval_shape(case.fn, params, x).shape, seed=2).astype(case.dtype)
    technique = low_precision(case.fn, case.how)
    histories = technique.init(params, x)

    @jax.jit
    def found(params, x):
        y, back = jax.vjp(lambda params, x: technique.model(params, histories, x), params, x)
        return y, *back(towards)

    a, rows_back = jax.vjp(case.rows, x)
    b, matrix_back = jax.vjp(case.matrix, params["w"])
    forward, backward = case.how.first.spec, case.how.gradient.spec
    at = [np.asarray(each, np.float32) for each in (a, b)]
    y, y_back = jax.vjp(case.output, jnp.asarray(product(*at, forward, forward), jnp.float32))
    g = np.asarray(y_back(towards.astype(jnp.float32))[0])
    swapped = [each.swapaxes(-1, -2) for each in (g, *at)]
    by_a = product(g, swapped[2], backward, forward)
    by_b = product(swapped[0], swapped[1], backward, forward)
    expected = (
        y,
        matrix_back(jnp.asarray(by_b, b.dtype))[0],
        rows_back(jnp.asarray(by_a, a.dtype))[0],
    )
    output, by_params, by_x = found(params, x)
    eps = float(jnp.finfo(case.dtype).eps)
    for each, right in zip((output, by_params["w"], by_x), expected, strict=True):
        assert each.dtype == case.dtype
        each, right = np.asarray(each, np.float32), np.asarray(right, np.float32)
        np.testing.assert_allclose(each, right, rtol=0, atol=16 * eps * np.abs(right).max())


@pytest.mark.parametrize("how", [CURRENT, precision()], ids=["fp8", "int8"])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_round_whole_operands(how, groups):
    def fn(params, x):
        return conv(params, x, feature_group_count=groups)

    params, x = {"w": normal(2, 2, 4 // groups, 6)}, normal(2, 3, 3, 4, seed=1)
    towards = normal(2, 3, 3, 6, seed=2)
    technique = low_precision(fn, how)
    y, back = jax.jit(lambda *at: jax.vjp(lambda p, x: technique.model(p, {}, x), *at))(params, x)

    def rounded(x, spec):
        scale = np.abs(x).max() / np.float32(MOST[spec.name])
        return jnp.asarray(in_levels(np.asarray(x) / scale, spec.name) * scale)

    forward, backward = how.first.spec, how.gradient.spec
    right, right_back = jax.vjp(fn, {"w": rounded(params["w"], forward)}, rounded(x, forward))
    np.testing.assert_allclose(y, right, rtol=0, atol=1e-5 * np.abs(right).max())
    pairs = zip(
        jax.tree.leaves(back(towards)),
        jax.tree.leaves(right_back(rounded(towards, backward))),
        strict=True,
    )
    for each, expected in pairs:
        np.testing.assert_allclose(each, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_scales_are_delayed_by_hand():
    """One weight and one number: maxima 4 and 2, then 8 and 2, then 1 and 2."""
    technique = low_precision(
        dense, precision(int4(per="tensor"), int4(per="tensor"), scaling=delayed_scaling(2))
    )
    params = {"w": jnp.float32([[2.0]])}
    histories = technique.init(params, jnp.ones((1, 1)))
    assert histories["w"].data.tolist() == [0, 0]

    @jax.jit
    def step(histories, x, g):
        def loss(params, histories):
            y = technique.model(params, histories, x[None, None])[0, 0]
            return y * g, y

        (_, y), (_, met) = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, histories)
        return y, technique.renew(histories, met)

    # By its own maximum at first.
    y, histories = step(histories, jnp.float32(4), jnp.float32(3))
    assert float(y) == pytest.approx(8)
    assert [each.tolist() for each in histories["w"]] == [[4, 0], [2, 0], [3, 0]]
    # Clipped to what was largest before.
    y, histories = step(histories, jnp.float32(8), jnp.float32(5))
    assert float(y) == pytest.approx(8)
    assert [each.tolist() for each in histories["w"]] == [[8, 4], [2, 2], [5, 3]]
    # 1 is less than one step of 8 / 7, and rounds to it.
    y, histories = step(histories, jnp.float32(1), jnp.float32(0))
    assert float(y) == pytest.approx(8 / 7 * 2)
    # A gradient of 0 is no maximum.
    assert [each.tolist() for each in histories["w"]] == [[1, 8], [2, 2], [5, 3]]
    # Nor is one that is not finite.
    for bad in (jnp.nan, jnp.inf):
        y, histories = step(histories, jnp.float32(bad), jnp.float32(0))
        assert not np.isfinite(y)
        assert [each.tolist() for each in histories["w"]] == [[1, 8], [2, 2], [5, 3]]
    y, histories = step(histories, jnp.float32(1), jnp.float32(jnp.nan))
    assert [each.tolist() for each in histories["w"]] == [[1, 1], [2, 2], [5, 3]]


def layers(params, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["w"])[0]


def over_time(params, xs):
    def turn(state, x):
        return jnp.tanh(state @ params["w"] + x), None

    return jax.lax.scan(jax.checkpoint(turn), jnp.zeros(xs.shape[1:]), xs)[0]


def tied(params, x):
    return jax.nn.relu(x @ params["w"]) @ params["w"].T


def attention(params, x):
    q, k = x @ params["w"], x @ params["v"]
    return jnp.einsum("qd,kd->qk", q, k)


def met(fn, precision, params, *inputs):
    technique = low_precision(fn, precision)
    histories = technique.init(params, *inputs)

    def loss(params, histories):
        return jnp.sum(technique.model(params, histories, *inputs) ** 2)

    grads, found = jax.jit(jax.grad(loss, (0, 1)))(params, histories)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    return technique.renew(histories, found)


def test_histories_go_on_from_a_file(tmp_path):
    technique = low_precision(dense, FP8)
    params, x = {"w": jnp.ones((2, 3))}, jnp.ones((1, 2))
    histories = technique.init(params, x)
    jc.storage.save(tmp_path / "histories.safetensors", histories)
    loaded = jc.storage.load(tmp_path / "histories.safetensors")

    @jax.jit
    def renewed(histories):
        met = jax.grad(lambda h: jnp.sum(technique.model(params, h, x)))(histories)
        return jax.tree.leaves(technique.renew(histories, met))

    expected = {name: each._asdict() for name, each in histories.items()}
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)
    assert [each.tolist() for each in renewed(loaded)] == [
        renewed(histories)[i].tolist()
        for i in (0, 2, 1)  # a dict's in order of its keys
    ]


def test_histories_go_with_layers_loops_and_sites():
    x, w = normal(2, 4), {"w": 0.5 * normal(4, 4, seed=1)}
    stacked = met(layers, FP8, {"w": 0.5 * normal(3, 4, 4, seed=1)}, x)["w"]
    assert stacked.data.shape == (3, 3)
    assert (stacked.data[:, 0] > 0).all()
    np.testing.assert_allclose(
        stacked.weight[:, 0], jnp.abs(0.5 * normal(3, 4, 4, seed=1)).max((1, 2))
    )
    # Of the turns of a loop over time the largest counts.
    xs = normal(5, 2, 4, seed=2)
    technique = low_precision(over_time, FP8)

    @jax.jit
    def states(histories):
        return [technique.model(w, histories, xs[:length]) for length in (1, 2, 3, 4)]

    largest = max(float(jnp.abs(s).max()) for s in states(technique.init(w, xs)))
    turns = met(over_time, FP8, w, xs)["w"]
    np.testing.assert_allclose(turns.data[0], largest, rtol=1e-6)
    np.testing.assert_allclose(turns.weight[0], jnp.abs(w["w"]).max())
    sites = met(tied, FP8, w, x)
    assert list(sites) == ["w", "w#2"]
    assert sites["w"].data[0] != sites["w#2"].data[0]
    products = met(attention, jc.Rules({"@*": FP8, "v": precision()}), w | {"v": w["w"]}, x)
    assert [name[0] for name in products] == ["@"]


def test_examples_under_vmap_share_the_largest_maximum():
    technique = low_precision(dense, FP8)
    params, xs = {"w": normal(4, 3)}, normal(5, 2, 4, seed=1)
    histories = technique.init(params, xs[0])

    def loss(histories, params):
        return jnp.sum(jax.vmap(technique.model, (None, None, 0))(params, histories, xs) ** 2)

    found = jax.jit(jax.grad(loss))(histories, params)["w"]
    np.testing.assert_allclose(found.data, [jnp.abs(xs).max(), 0, 0])
    np.testing.assert_allclose(found.weight, [jnp.abs(params["w"]).max(), 0, 0])
    # Members of an ensemble have their own.
    members = {"w": jnp.stack([params["w"], 2 * params["w"]])}
    each = jax.vmap(technique.init, (0, None))(members, xs[0])

    def of_all(each):
        return jnp.sum(jax.vmap(technique.model, (0, 0, None))(members, each, xs[0]))

    found = jax.jit(jax.grad(of_all))(each)["w"]
    np.testing.assert_allclose(found.weight[:, 0], jnp.abs(members["w"]).max((1, 2)))
    np.testing.assert_allclose(found.data[:, 0], [jnp.abs(xs[0]).max()] * 2)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_matrix_units_get_low_bit_operands(platform):
    params, x = {"w": normal(16, 32)}, normal(8, 16)

    def text(how, platform):
        technique = low_precision(dense, how)
        histories = technique.init(params, x)
        loss = lambda params, x: jnp.sum(technique.model(params, histories, x) ** 2)  # noqa: E731
        traced = jax.jit(jax.grad(loss, (0, 1))).trace(params, x)
        lines = traced.lower(lowering_platforms=(platform,)).as_text().splitlines()
        return [line.rpartition(":")[2] for line in lines if "dot_general" in line]

    forward, *backward = text(FP8, platform)
    assert forward.count("xf8E4M3FN>") == 2
    assert len(backward) == 2
    assert all("xf8E5M2>" in line and "xf8E4M3FN>" in line for line in backward)
    assert all("f8" not in line for line in text(FP8, "cpu"))
    assert all(line.count("xi8>") == 2 and "xi32>" in line for line in text(precision(), platform))
    with_noise = precision(gradients=round_stochastic)
    technique = low_precision(conv, with_noise)
    step = jc.Step(0, jax.random.key(0))
    loss = lambda p, x: jnp.sum(technique.model(p, {}, x, step=step))  # noqa: E731
    traced = jax.jit(jax.grad(loss, (0, 1))).trace({"w": normal(2, 2, 3, 4)}, normal(2, 3, 3, 3))
    assert traced.lower(lowering_platforms=(platform,)).as_text()


def net(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"]


IN_FLOATS = LowPrecision(
    lambda params, *inputs: {},
    lambda params, histories, *inputs, step=jc.Step(): net(params, *inputs),
    lambda histories, gradients: histories,
)


def trained(technique, steps=60):
    params = {"in": 0.5 * normal(4, 16), "out": 0.3 * normal(16, 2, seed=1)}
    x = normal(32, 4, seed=2)
    y = jnp.sin(x @ normal(4, 2, seed=3))
    optimizer = optax.sgd(0.3)
    traces = []

    @jax.jit
    def step(carry, count):
        traces.append(1)
        params, state, histories = carry
        at = jc.Step(count, jax.random.fold_in(jax.random.key(0), count))

        def loss(params, histories):
            return jnp.mean((technique.model(params, histories, x, step=at) - y) ** 2)

        grads, found = jax.grad(loss, (0, 1))(params, histories)
        updates, state = optimizer.update(grads, state, params)
        new = optax.apply_updates(params, updates), state, technique.renew(histories, found)
        return new, jnp.mean((net(params, x) - y) ** 2)

    carry = params, optimizer.init(params), technique.init(params, x)
    losses = []
    for count in range(steps):
        carry, loss = step(carry, count)
        losses.append(float(loss))
    assert len(traces) == 1
    return losses


def test_a_loss_falls_as_that_of_float32():
    whole = trained(IN_FLOATS)
    assert whole[-1] < 0.5 * whole[0]
    for how in (precision(), FP8, precision(gradients=round_stochastic)):
        fallen = trained(low_precision(net, how))
        assert fallen[0] == whole[0]
        assert abs(fallen[-1] - whole[-1]) < 0.05 * (whole[0] - whole[-1])


def test_second_derivatives_are_low_bit_products_too():
    """Of vdot(x, w)², which products of rounded operands follow to a few percent."""
    params, x, along = {"w": normal(8, 6)}, normal(3, 8, seed=1), normal(8, 6, seed=2)

    def second(fn):
        def slope(x):
            by_w = jax.grad(lambda params: jnp.sum(jnp.square(fn(params, x))))(params)["w"]
            return jnp.vdot(by_w, along)

        return jax.jit(jax.grad(slope))(x)

    expected = second(dense)
    for how in (precision(), CURRENT):
        technique = low_precision(dense, how)
        found = second(lambda params, x, technique=technique: technique.model(params, {}, x))
        assert jnp.linalg.norm(found - expected) < 0.15 * jnp.linalg.norm(expected)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: low_precision(dense).model(params, {}, x), (x,), (x,))


@functools.partial(jax.jit, static_argnums=0)
def gradients(how, params, x, towards):
    model = low_precision(dense, how).model
    return jax.vjp(lambda params, x: model(params, {}, x), params, x)[1](towards)


def test_what_is_not_finite_stays_so():
    params, x = {"w": normal(8, 4)}, normal(3, 8, seed=1)
    for how in (precision(), CURRENT):
        model = jax.jit(low_precision(dense, how).model)
        bad_row = model(params, {}, x.at[1, 2].set(jnp.nan))
        np.testing.assert_array_equal(np.isfinite(bad_row).all(1), [True, False, True])
        bad_column = model({"w": params["w"].at[2, 1].set(jnp.inf)}, {}, x)
        np.testing.assert_array_equal(np.isfinite(bad_column).all(0), [True, False, True, True])
        towards = jnp.ones((3, 4)).at[1, 2].set(jnp.inf)
        by_params, by_x = gradients(how, params, x, towards)
        np.testing.assert_array_equal(np.isfinite(by_x).all(1), [True, False, True])
        columns = np.isfinite(by_params["w"]).all(0)
        np.testing.assert_array_equal(columns, [True, True, False, True])
        image = normal(1, 9, 9, 2).at[0, 0, 0, 0].set(jnp.nan)
        y = jax.jit(low_precision(conv, how).model)({"w": normal(3, 3, 2, 2)}, {}, image)
        assert np.isnan(y[0, 0, 0]).all()
        assert np.isfinite(y[0, 4:, 4:]).all()


@pytest.mark.parametrize("how", [precision(), CURRENT, FP8], ids=["int8", "fp8", "delayed"])
def test_extreme_operands_stay_finite(how):
    params, technique = {"w": jnp.eye(4)}, low_precision(dense, how)
    model = jax.jit(technique.model)
    for value in (0.0, 1e-38, 1e-45, 3e38):
        x = jnp.full((2, 4), value, jnp.float32)
        y = model(params, technique.init(params, x), x)
        np.testing.assert_allclose(y, x, rtol=1e-6, atol=1e-37)
    nobody = jnp.zeros((0, 4))
    assert model(params, technique.init(params, nobody), nobody).shape == (0, 4)


def test_leaves_without_a_rule_and_lookups_stay():
    def fn(params, codes):
        return (params["table"][codes] @ params["w"]) @ params["head"]

    params = {"table": normal(5, 8), "w": normal(8, 6, seed=1), "head": normal(6, 3, seed=2)}
    codes = jnp.array([[0, 3]])
    technique = low_precision(fn, jc.Rules({"w": FP8, "table": precision()}))
    with pytest.raises(ValueError, match=r"'table' matches nothing\. Names are: w, head"):
        technique.init(params, codes)
    technique = low_precision(fn, jc.Rules({"w": FP8}))
    histories = technique.init(params, codes)
    assert list(histories) == ["w"]
    hidden = low_precision(dense, FP8)
    x = params["table"][codes]
    right = jax.jit(hidden.model)({"w": params["w"]}, hidden.init({"w": params["w"]}, x), x)
    y = jax.jit(technique.model)(params, histories, codes)
    np.testing.assert_allclose(y, right @ params["head"], rtol=1e-6)
    nothing = low_precision(lambda params, x: x * params["gain"], FP8)
    assert nothing.init({"gain": jnp.float32(2)}, x) == {}
    assert nothing.model({"gain": jnp.float32(2)}, {}, jnp.float32(3)) == 6


def test_weights_may_be_what_a_view_shows_or_compressed():
    params, x = {"w": normal(8, 6)}, normal(3, 8, seed=1)
    technique = low_precision(dense)
    view = jc.quantize.fake_quantize(int4())
    stored, _ = jc.quantize.quantize(params, int4())
    seen = jax.jit(lambda params: technique.model(view(params), {}, x))
    np.testing.assert_allclose(jax.jit(technique.model)(stored, {}, x), seen(params), rtol=1e-6)
    grads = jax.jit(jax.grad(lambda params: jnp.sum(seen(params))))(params)
    assert float(jnp.abs(grads["w"]).max()) > 0


def test_sums_that_an_int32_cannot_hold_are_exact():
    count = 2**17 + 5
    x = jnp.ones((1, count))
    y = jax.jit(low_precision(dense).model)({"w": jnp.ones((count, 1))}, {}, x)
    assert float(y[0, 0]) == pytest.approx(count, rel=1e-6)


def test_errors_name_the_function_and_the_mend():
    with pytest.raises(ValueError, match=r"precision\(forward=nf4 per channel\) must have whole"):
        precision(nf4())
    with pytest.raises(ValueError, match=r"precision\(backward=uint8 per channel\) must have"):
        precision(int8(), uint8())
    with pytest.raises(ValueError, match="one float32 scale per channel or per tensor"):
        precision(int4(group_size=32))
    with pytest.raises(ValueError, match='must be per="tensor" where scaling is delayed'):
        precision(scaling=delayed_scaling())
    with pytest.raises(TypeError, match=r"precision\(scaling=delayed_scaling\) must be of type"):
        precision(scaling=delayed_scaling)
    with pytest.raises(TypeError, match=r"precision\(gradients='stochastic'\) must be a function"):
        precision(gradients="stochastic")
    with pytest.raises(ValueError, match=r"delayed_scaling\(history=0\) must be at least 1"):
        delayed_scaling(0)
    with pytest.raises(ValueError, match=r"delayed_scaling\(margin=nan\) must be a finite number"):
        delayed_scaling(margin=float("nan"))
    with pytest.raises(TypeError, match=r"low_precision\(precision=precision\).*Did you mean"):
        low_precision(dense, precision)
    params, x = {"w": jnp.ones((2, 3))}, jnp.ones((1, 2))
    with pytest.raises(ValueError, match="rounds gradients at random and was given no key"):
        low_precision(dense, precision(gradients=round_stochastic)).model(params, {}, x)
    with pytest.raises(TypeError, match=r"low_precision\(step.key=0\) must be one random key"):
        low_precision(dense, precision(gradients=round_stochastic)).model(
            params, {}, x, step=jc.Step(0, 0)
        )
    with pytest.raises(TypeError, match=r"low_precision\(step=0\) must be of type Step"):
        low_precision(dense).model(params, {}, x, step=0)
    technique = low_precision(dense, FP8)
    with pytest.raises(
        TypeError, match=r"low_precision\(histories=float32\[1, 2\]\) must be a map"
    ):
        technique.model(params, x)
    with pytest.raises(ValueError, match="of sites none, but those with delayed scaling are w"):
        technique.model(params, {}, x)
    histories = technique.init(params, x)
    with pytest.raises(ValueError, match="those of site 'w' have shapes"):
        technique.model(params, jax.tree.map(lambda h: h[:2], histories), x)
    with pytest.raises(ValueError, match=r"low_precision.renew\(histories, gradients\) must be"):
        technique.renew(histories, {})


def test_devices_of_a_shard_map_cannot_share_a_history(mesh):
    devices = mesh(data=2)
    spec = PartitionSpec("data")
    whole = PartitionSpec()

    def fn(params, x):
        return jax.shard_map(dense, mesh=devices, in_specs=(whole, spec), out_specs=spec)(params, x)

    params, x = {"w": normal(4, 3)}, normal(4, 4, seed=1)
    with pytest.raises(ValueError, match="leaf 'w' is met inside of a shard_map"):
        low_precision(fn, FP8).init(params, x)
    loss = lambda params, fn: jnp.sum(fn(params, {}, x) ** 2)  # noqa: E731
    apart = jax.jit(jax.grad(loss), static_argnums=1)
    found, right = apart(params, low_precision(fn).model), apart(params, lambda p, h, x: fn(p, x))
    np.testing.assert_allclose(found["w"], right["w"], atol=0.1 * np.abs(right["w"]).max())


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("how", [FP8, precision()], ids=["fp8", "int8"])
def test_devices_that_share_a_batch_compute_what_one_does(mesh, axis_type, how):
    devices = mesh(data=4, axis_type=axis_type)
    params, x = {"w": normal(6, 5)}, normal(8, 6, seed=1)
    technique = low_precision(dense, how)
    histories = technique.init(params, x)

    @jax.jit
    def grads(params, histories, x):
        def loss(params, histories):
            return jnp.sum(technique.model(params, histories, x) ** 2)

        return jax.grad(loss, (0, 1))(params, histories)

    expected = grads(params, histories, x)
    with jax.set_mesh(devices):
        placed = NamedSharding(devices, PartitionSpec("data"))
        whole = jax.device_put(params, NamedSharding(devices, PartitionSpec()))
        found = grads(whole, histories, jax.device_put(x, placed))
    for each, right in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(each, right, rtol=1e-5, atol=1e-5)
