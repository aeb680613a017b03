"""Networks of signs on words of bits: outputs are those of training, to the bit."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcompress as jc
from jaxcompress.core.observers import Range
from jaxcompress.quantize import fake_quantize_activations, formats, quantize
from jaxcompress.quantize.execution import packed_model, static
from jaxcompress.quantize.execution.packed import tables
from tests.inputs import on_device

SIGN = Range(jnp.float32(-1.0), jnp.float32(1.0))
BINARY = formats.binary(scales="power_of_two")
TERNARY = formats.ternary(scales="power_of_two")
BITS = formats.binary(per="tensor")


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).normal(size=shape))


def signs(names, spec=BITS):
    """Activations of binary sites, by the names of their leaves."""
    return jc.Rules(dict.fromkeys(names, static(dict.fromkeys(names, SIGN), spec)))


def norm(x, p):
    p = {name: each[None] for name, each in p.items()}
    return (x - p["mean"]) * jax.lax.rsqrt(p["var"] + 1e-5) * p["gamma"] + p["beta"]


def mlp(params, x):
    h = norm(x @ params["in"], params["norm"])
    h = norm(h @ params["one"] + params["bias"][None], params["norm1"])
    h = norm(jax.nn.relu(h @ params["two"] - 3.0) + 0.5, params["norm2"])
    return jnp.tanh(h @ params["out"] + params["last"][None])


def statistics(width, seed):
    """Batch norm whose gains are of both signs and 0, with channels never crossed."""
    gamma = normal(width, seed=seed).at[:3].set(0.0).at[3].set(-1.0)
    return {
        "mean": 4 * normal(width, seed=seed + 1).at[4].set(1e4).at[5].set(-1e4),
        "var": 20 * jnp.abs(normal(width, seed=seed + 2)),
        "gamma": gamma,
        "beta": normal(width, seed=seed + 3).at[0].set(0.0),
    }


def mlp_params(width=64):
    return {
        "in": normal(20, width),
        "norm": statistics(width, 1),
        "one": normal(width, width, seed=2),
        "bias": normal(width, seed=3),
        "norm1": statistics(width, 10),
        "two": normal(width, width, seed=4),
        "norm2": statistics(width, 20),
        "out": normal(width, 10, seed=5),
        "last": normal(10, seed=6),
    }


HIDDEN = ("one", "two", "out")
SQUARE = {name: normal(16, 16, seed=seed) for seed, name in enumerate(("in", *HIDDEN))}
SQUARE["in"] = normal(20, 16)


def softmax_between(p, x):
    h = jax.nn.softmax((x @ p["in"]) @ p["one"]) - 1 / 16
    return jnp.tanh(h @ p["two"]) @ p["out"]


def residual(p, x):
    """A site read by two and by floats, and data that are made of two sites' sums."""
    one = (x @ p["in"]) @ p["one"]
    two = (one - 1.0) @ p["two"]
    return (one + two) @ p["out"] + jnp.sum(one)


def turning(p, x):
    h = (x @ p["in"]) @ p["one"]
    return jnp.sin(h) @ p["two"] + (jnp.abs(h) - 4.0) @ p["out"]


def moved(p, x):
    """Entries that are moved before and after the arithmetic."""
    h = jnp.einsum("bi,io->ob", x @ p["in"], p["one"])  # (16, batch)
    h = (jax.nn.relu(h + 0.5) * 2 - 1).T.reshape(-1, 2, 8)
    h = jnp.transpose(h, (0, 2, 1)).reshape(-1, 16)
    return jnp.flip(h @ p["two"], axis=1) @ p["out"]


def pooled(p, x):
    """The largest of two places, then of two channels, whose scales differ."""
    h = x @ p["in"]
    h = jnp.stack([h, jnp.flip(h, 1)], 1) @ p["one"]  # (batch, 2, 16)
    h = nn.max_pool(h, (2,), (1,)).reshape(x.shape[0], 16)
    h = ((3.0 - h) @ p["two"]).reshape(x.shape[0], 16, 1)
    h = nn.max_pool(h, (2,), (1,), "SAME").reshape(x.shape[0], 16)
    return (h - 4.0) @ p["out"]


def experts(p, x):
    """Weights of one layer side by side, whose scales differ."""
    h = jnp.einsum("bi,io->bo", x, p["in"])
    h = jnp.einsum("bi,eio->ebo", h, p["one"]) - 5.0
    h = jnp.einsum("ebi,eio->ebo", h, p["two"]) - 5.0
    return jnp.einsum("ebi,eio->ebo", h, p["out"])


def each_expert(seed):
    return normal(2, 16, 16, seed=seed) * jnp.array([0.3, 4.0])[:, None, None]


def window(x, kernel, stride=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", dimension_numbers=numbers)


def convolutions(p, x):
    """Windows over padding, pools, strides, and a dense layer of all that is left."""
    h = window(x.reshape(-1, 5, 4, 1), p["in"])
    h = nn.max_pool(window(h, p["one"]), (2, 2), (1, 1), "SAME")
    h = window(jnp.tanh(h - 3.0) * p["gain"], p["two"], 2) + 2.0
    return h.reshape(len(x), -1) @ p["out"]


CONVOLVED = {
    "in": normal(3, 3, 1, 16),
    "one": normal(3, 3, 16, 40, seed=1),
    "gain": normal(1, 1, 1, 40, seed=2),
    "two": normal(3, 2, 40, 8, seed=3),
    "out": normal(48, 7, seed=4),
}
UNEQUAL = SQUARE | {"two": SQUARE["two"] * jnp.array([0.1, 4.0] * 8)[None]}
EXPERTS = {"in": normal(20, 16)} | {name: each_expert(i) for i, name in enumerate(HIDDEN)}


def stacked(p, x):
    h, _ = jax.lax.scan(lambda h, w: (h @ w - 0.5, None), x @ p["in"], p["layers"])
    return h @ p["out"]


class Case(NamedTuple):
    """A network, and for each site of signs what its report says of its data."""

    name: str
    fn: Callable
    params: dict
    floats: dict[str, str]
    weights: Any = BINARY
    data: Any = BITS
    dtype: Any = jnp.float32


FIRST = "made of the inputs"
CASES = [
    Case("binary", mlp, mlp_params(), {"one": FIRST}),
    Case("ternary weights", mlp, mlp_params(), {"one": FIRST}, TERNARY),
    Case("ternary data", mlp, mlp_params(), {"one": FIRST}, BINARY, formats.ternary(per="tensor")),
    Case("bfloat16", mlp, mlp_params(32), {"one": FIRST}, dtype=jnp.bfloat16),
    Case(
        "softmax",
        softmax_between,
        SQUARE,
        {"one": FIRST, "two": "made of a reduce_max of the output of one"},
    ),
    Case("residual", residual, SQUARE, {"one": FIRST, "out": "made of the outputs of one and two"}),
    Case(
        "turning",
        turning,
        SQUARE,
        dict.fromkeys(("two", "out"), "what is made of the output of one turns") | {"one": FIRST},
    ),
    Case("moved", moved, SQUARE, {"one": FIRST}),
    Case("experts", experts, EXPERTS, {"one": FIRST}),
    Case("convolutions", convolutions, CONVOLVED, {"one": FIRST}),
    Case("ternary convolutions", convolutions, CONVOLVED, {"one": FIRST}, TERNARY),
    Case(
        "pooled",
        pooled,
        UNEQUAL,
        {"one": FIRST, "out": "the largest of several channels of the output of two"},
    ),
]


BY_NAME = {case.name: case for case in CASES}


def prepared(case):
    params = jax.tree.map(lambda x: x.astype(case.dtype), case.params)
    spec = jc.Rules(dict.fromkeys(HIDDEN, case.weights))
    axes = jc.graph.axes(case.fn, params, jax.ShapeDtypeStruct((2, 20), case.dtype))
    small, _ = quantize(params, spec, axes=axes)
    rules = signs(HIDDEN, case.data)
    return small, rules


@functools.cache
def packed_case(name):
    """The params and rules of a case, and the case packed on five rows."""
    case = BY_NAME[name]
    params, rules = prepared(case)
    return params, rules, packed_model(case.fn, params, rules, normal(5, 20).astype(case.dtype))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_are_those_of_training_to_the_bit(case):
    params, rules, packed = packed_case(case.name)
    training = fake_quantize_activations(case.fn, rules)
    assert packed.agreement.differing == 0
    reasons = {row.name: row.reason for row in packed.report.leaves if row.action == "bits"}
    assert reasons == {
        name: f"data packed from floats: {case.floats[name]}"
        if name in case.floats
        else "data are bits of sums, by thresholds"
        for name in HIDDEN
    }
    assert packed.report.bytes_after == packed.size_bytes < packed.report.bytes_before

    @jax.jit
    def both(packed, params, x):
        return packed(x), training(params, x)

    # Another number of rows than it was packed with.
    found, expected = both(packed, params, normal(40, 20, seed=7).astype(case.dtype))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert np.asarray(found).std() > 0


def test_scales_that_are_no_powers_of_two_round_as_sums_do():
    """Packed outputs are of exact sums; training's own sums round."""
    params, rules = prepared(BY_NAME["binary"]._replace(weights=formats.binary()))
    x = normal(5, 20)
    packed = packed_model(mlp, params, rules, x)
    assert packed.agreement.largest < 1e-5
    running = jax.jit(lambda packed, x: packed(x)), jax.jit(fake_quantize_activations(mlp, rules))
    apart = np.abs(running[0](packed, x) - running[1](params, x))
    assert packed.agreement == (apart.size, np.sum(apart > 0), apart.max())
    assert apart.max() > 0


def test_layers_in_a_loop_are_packed_in_each_turn():
    params = {"in": normal(20, 16), "layers": normal(3, 16, 16), "out": normal(16, 4)}
    spec = jc.Rules({"layers": BINARY, "out": BINARY})
    axes = jc.graph.axes(stacked, params, jnp.ones((2, 20)))
    small, _ = quantize(params, spec, axes=axes)
    rules = signs(("layers", "out"))
    packed = packed_model(stacked, small, rules, normal(5, 20))
    assert packed.agreement.differing == 0
    (row,) = (row for row in packed.report.leaves if row.name == "layers")
    assert row.action == "kept"
    assert row.reason == "in a loop or branch, where words are packed in each turn"


def test_rows_that_are_not_finite_stay_so():
    _, _, packed = packed_case("binary")
    x = normal(5, 20).at[1, 3].set(jnp.nan).at[3, 0].set(jnp.inf)
    running = jax.jit(packed)
    found, expected = running(x), running(normal(5, 20))
    spoiled = np.array([False, True, False, True, False])
    np.testing.assert_array_equal(np.isnan(found).all(1), spoiled)
    np.testing.assert_array_equal(found[~spoiled], expected[~spoiled])


def test_rows_that_are_not_finite_stay_so_where_entries_move():
    _, _, packed = packed_case("moved")
    found = jax.jit(packed)(normal(3, 20).at[1, 3].set(jnp.nan))
    np.testing.assert_array_equal(np.isnan(found).all(1), [False, True, False])


def test_windows_that_are_not_finite_stay_so():
    params, rules, packed = packed_case("convolutions")
    x = normal(2, 20).at[1, 0].set(jnp.nan)
    training = fake_quantize_activations(convolutions, rules)
    found, expected = jax.jit(lambda packed, params: (packed(x), training(params, x)))(
        packed, params
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.isnan(found).all(1), [False, True])


def test_rows_may_be_few_many_or_mapped():
    def fn(params, x):
        return jnp.tanh(x @ params["in"] @ params["one"] - 1.0) @ params["out"]

    small, _ = quantize(SQUARE, jc.Rules({"one": BINARY, "out": BINARY}))
    packed = packed_model(fn, small, signs(("one", "out")), jnp.ones((5, 20)))
    x = normal(3, 20)

    @jax.jit
    def outputs(x):
        return packed(x), jax.vmap(packed)(x), packed(x[0])

    rows, mapped, one = outputs(x)
    np.testing.assert_array_equal(rows, mapped)
    np.testing.assert_array_equal(rows[0], one)


def places(params, x):
    h = (x @ params["in"]) @ params["one"]
    if len(x) == 6:
        h = h * 2.0
    y = (h + params["places"][: len(x)]) @ params["out"]
    return y + params["two"][:1] if len(x) == 7 else y


def test_shapes_at_which_it_is_another_model_are_refused():
    params = SQUARE | {"places": normal(9, 16)}
    small, _ = quantize(params, jc.Rules({"one": BINARY, "out": BINARY}))
    packed = packed_model(places, small, signs(("one", "out")), jnp.ones((5, 20)))
    for rows, message in {
        4: r"found for \[5, 16\] channels or positions, and .* \[4, 16\]",
        6: r"found for \[5, 16\] channels or positions, and .* \[6, 16\]",
    }.items():
        with pytest.raises(ValueError, match=message):
            packed(jnp.ones((rows, 20)))
    one = packed_model(places, small, signs(("one",)), jnp.ones((5, 20)))
    with pytest.raises(ValueError, match="reads params that it did not read where"):
        one(jnp.ones((7, 20)))


SIZED = {
    "a constant": lambda p, h: h / h.shape[1],
    "a row of a table": lambda p, h: h + p["table"][h.shape[1]][None, None, None],
    "an array that is closed over": lambda p, h: h - np.full((1, 1, 1, 16), h.shape[1], np.float32),
    "places of another axis": lambda p, h: h + p["places"][None, : h.shape[1], : h.shape[2], None],
    "an order of operands": lambda p, h: h - p["sized"] if h.shape[1] == 4 else p["sized"] - h,
    "channels that lie otherwise": lambda p, h: (
        jnp.swapaxes(h, 2, 3).reshape(len(h), 1, 1, -1)[..., :16] + p["sized"]
    ),
}
SIZED_PARAMS = {
    "in": normal(1, 1, 1, 16),
    "one": normal(1, 2, 16, 16, seed=1),
    "two": normal(1, 1, 16, 4, seed=2),
    "table": normal(9, 16, seed=3),
    "places": 9 * normal(4, 4, seed=4),
    "sized": normal(1, 1, 1, 16, seed=5),
}


@pytest.mark.parametrize("name", SIZED)
def test_sizes_at_which_thresholds_are_others_are_refused(name):
    def fn(params, x):
        h = window(window(x, params["in"]), params["one"])
        return window(SIZED[name](params, h), params["two"])

    small, _ = quantize(SIZED_PARAMS, jc.Rules({"one": BINARY, "two": BINARY}))
    own, more, other = (
        jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in ((2, 4, 1, 1), (5, 4, 1, 1), (2, 1, 4, 1))
    )
    packed = packed_model(fn, small, signs(("one", "two")), own)
    assert "data are bits of sums" in str(packed.report)
    jax.eval_shape(packed, more)
    with pytest.raises(ValueError, match=r"PackedModel\(inputs=...\): .* these shapes"):
        jax.eval_shape(packed, other)


def test_windows_may_meet_padding_at_another_size():
    """Sums of windows that hold padding lie between those of whole windows."""

    def fn(params, x):
        h = window(window(x, params["in"]), params["one"], 2)
        return window(h - params["places"][None, None, None], params["two"])

    kernels = {"in": normal(1, 1, 1, 3), "one": normal(1, 2, 3, 64, seed=1)}
    kernels["two"] = normal(1, 1, 64, 64, seed=2)
    params = kernels | {"places": jnp.linspace(-6.0, 6.0, 64)}
    small, _ = quantize(params, jc.Rules({"one": BINARY, "two": BINARY}))
    rules = signs(("one", "two"))
    packed = packed_model(fn, small, rules, jax.ShapeDtypeStruct((2, 4, 4, 1), jnp.float32))
    x = normal(4, 5, 5, 1)
    expected = jax.jit(fake_quantize_activations(fn, rules))(small, x)
    np.testing.assert_array_equal(jax.jit(packed)(x), expected)


def in_its_dtype(params, x):
    params = jax.tree.map(lambda leaf: leaf.astype(x.dtype), params)
    return (jnp.tanh(x @ params["in"]) @ params["one"] - 3.0) @ params["out"]


def test_dtypes_in_which_it_rounds_otherwise_are_refused():
    small, _ = quantize(SQUARE, jc.Rules({"one": BINARY, "out": BINARY}))
    rules = signs(("one", "out"))
    packed = packed_model(in_its_dtype, small, rules, jnp.ones((5, 20), jnp.float16))
    with pytest.raises(ValueError, match="at these shapes and dtypes the data of 'out'"):
        packed(jnp.ones((5, 20), jnp.bfloat16))


def test_no_rows_give_no_outputs():
    params, rules, packed = packed_case("binary")
    for each in (packed, packed_model(mlp, params, rules, jnp.ones((0, 20)))):
        assert each(jnp.ones((0, 20))).shape == (0, 10)


def test_inputs_that_are_no_arrays_are_refused():
    _, _, packed = packed_case("binary")
    with pytest.raises(TypeError, match=r"PackedModel\(inputs=...\)"):
        packed("rows")


def test_shapes_are_enough_and_compare_nothing():
    params, rules, given = packed_case("binary")
    packed = packed_model(mlp, params, rules, jax.ShapeDtypeStruct((3, 20), jnp.float32))
    assert packed.agreement is None
    assert "not compared" in str(packed.report)
    assert "training's to the bit" in str(given.report)
    for one, other in zip(jax.tree.leaves(packed), jax.tree.leaves(given), strict=True):
        np.testing.assert_array_equal(one, other)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Dense(16)(x))
        x = nn.BatchNorm(use_running_average=True)(nn.Dense(16)(x))
        return nn.Dense(4)(x)


def test_a_linen_model():
    model = Mlp()
    variables = model.init(jax.random.key(0), normal(2, 20))
    variables = jax.tree.map(lambda x: x + 0.1 * normal(*x.shape, seed=x.size), variables)
    kernels = [f"Dense_{i}/kernel" for i in (1, 2)]
    small, _ = quantize(variables, jc.Rules(dict.fromkeys(kernels, BINARY)))
    packed = packed_model(model.apply, small, signs(kernels), normal(5, 20))
    assert packed.agreement.differing == 0
    folded = [row.name for row in packed.report.leaves if row.action == "folded"]
    assert len(folded) == 5  # the second norm and the bias before it


def test_an_nnx_model():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(20, 16, rngs=rngs)
            self.hidden = nnx.Linear(16, 16, rngs=rngs)
            self.norm = nnx.BatchNorm(16, use_running_average=True, rngs=rngs)
            self.last = nnx.Linear(16, 4, rngs=rngs)

        def __call__(self, x):
            return self.last(self.norm(self.hidden(self.first(x))))

    graphdef, state = nnx.split(Model(nnx.Rngs(0)))
    fn = lambda state, x: nnx.merge(graphdef, state)(x)  # noqa: E731
    kernels = ["hidden/kernel", "last/kernel"]
    small, _ = quantize(state, jc.Rules(dict.fromkeys(kernels, BINARY)))
    packed = packed_model(fn, small, signs(kernels), normal(5, 20))
    assert packed.agreement.differing == 0
    assert sum(row.action == "folded" for row in packed.report.leaves) == 5


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_it_lowers_for_accelerators(platform):
    _, _, packed = packed_case("binary")
    traced = jax.jit(packed).trace(jax.ShapeDtypeStruct((3, 20), jnp.float32))
    assert "stablehlo.popcnt" in traced.lower(lowering_platforms=(platform,)).as_text()


def test_thresholds_are_where_the_table_changes():
    bits = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool).T[None]
    possible = np.array([-3, -1, 1, 3], np.int32)
    least, falling = tables._rising_or_falling(bits, possible)
    np.testing.assert_array_equal(least, [[1, -1, 4, -3]])
    np.testing.assert_array_equal(falling, [[False, True, False, False]])
    np.testing.assert_array_equal((possible[:, None] >= least) != falling, bits[0])
    turning = np.array([0, 1, 0, 1], bool).reshape(1, 4, 1)
    assert tables._rising_or_falling(turning, possible) is None


PARAMS, RULES = {"w": normal(4, 4)}, signs(["w"])
X = normal(2, 4)


def dense(params, x):
    return x @ params["w"]


KERNEL = {"w": normal(3, 1, 4)}


def in_groups(params, x):
    numbers = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(
        x, params["w"], (1,), "SAME", dimension_numbers=numbers, feature_group_count=4
    )


REFUSALS = [
    (lambda: packed_model(cast(Any, 3), PARAMS, RULES, X), "packed_model(fn=3)"),
    (lambda: packed_model(dense, PARAMS, cast(Any, 3), X), "packed_model(activations=3)"),
    (
        lambda: packed_model(dense, PARAMS, RULES, X),
        "packed_model(params=...): no site multiplies signs with signs. w: no codes of signs",
    ),
    (
        lambda: packed_model(dense, quantize(PARAMS, jc.quantize.int8())[0], RULES, X),
        "w: int8 weights are not signs",
    ),
    (
        lambda: packed_model(in_groups, quantize(KERNEL, BINARY)[0], RULES, X[:, None]),
        "w: a conv_general_dilated in groups, each of which meets features of its own. Quantize",
    ),
    (
        lambda: packed_model(dense, quantize(PARAMS, BINARY)[0], signs(["v"]), X),
        "'v' matches nothing",
    ),
    (
        lambda: packed_model(dense, jax.eval_shape(lambda: PARAMS), RULES, X),
        "packed_model(params=...) reads values",
    ),
    (
        lambda: jax.jit(lambda x: packed_model(dense, PARAMS, RULES, x))(X),
        "packed_model",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_what_cannot_be_packed_is_refused(call, message):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert message in str(error.value)
