"""Starts, files, frameworks, odd numbers, wrong arguments, and codes made again."""

import re

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcompress as jc
from jaxcompress.core.rotated import Rotated
from tests.adapt.table import CASES, INT8, METHODS, NF4, built, dense, moved, normal

every_method = pytest.mark.parametrize("method", METHODS)
START = jc.adapt.starts.random(jax.random.key(0))
PARAMS = {"w": normal(16, 6), "bias": np.ones(3, np.float32)}


def truncated(matrix: np.ndarray, rank: int) -> np.ndarray:
    left, values, right = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


@every_method
def test_principal_begins_with_the_largest_part_of_the_weight(method):
    technique = METHODS[method](2, jc.adapt.starts.principal(), alpha=4.0)
    adapters = technique.init(PARAMS)
    base = technique.residual(PARAMS, adapters)
    np.testing.assert_allclose(base["w"], PARAMS["w"] - truncated(PARAMS["w"], 2), atol=1e-5)
    np.testing.assert_allclose(technique.merge(base, adapters)["w"], PARAMS["w"], atol=1e-5)
    left, right = adapters["w"]["left"], adapters["w"]["right"]
    values = np.linalg.svd(PARAMS["w"].astype(np.float64))[1][:2]
    # Each column is as long as its row: sqrt(S / scale).
    np.testing.assert_allclose(np.linalg.norm(left, axis=0) ** 2, values / 2, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(right, axis=1) ** 2, values / 2, rtol=1e-4)


def test_from_error_begins_with_what_mends_most_of_the_codes():
    base, _ = jc.quantize.quantize(PARAMS, NF4)
    technique = jc.adapt.lora(2, jc.adapt.starts.from_error(PARAMS))
    error = PARAMS["w"] - np.asarray(jc.materialize(base)["w"])
    added = technique.merge(base, technique.init(base))["w"] - jc.materialize(base)["w"]
    np.testing.assert_allclose(added, truncated(error, 2), atol=1e-5)


def test_turns_of_rounding_and_mending_come_nearer():
    technique = jc.adapt.lora(2, jc.adapt.starts.from_error(PARAMS))
    base, errors = jc.quantize.quantize(PARAMS, NF4)[0], []
    for _ in range(4):
        adapters = technique.init(base)
        merged = technique.merge(base, adapters)["w"]
        errors.append(float(np.linalg.norm(merged - PARAMS["w"])))
        base, _ = jc.quantize.quantize(technique.residual(PARAMS, adapters), NF4)
    assert min(errors[1:]) < errors[0]


def test_dora_from_error_has_the_norms_of_the_original():
    base, _ = jc.quantize.quantize(PARAMS, NF4)
    technique = jc.adapt.dora(2, jc.adapt.starts.from_error(PARAMS))
    merged = technique.merge(base, technique.init(base))["w"]
    norms = np.linalg.norm(PARAMS["w"], axis=0)
    np.testing.assert_allclose(np.linalg.norm(merged, axis=0), norms, rtol=1e-5)


def test_random_numbers_go_by_the_name_of_the_leaf():
    two = {"w": PARAMS["w"], "v": PARAMS["w"]}
    both = jc.adapt.lora(2, START).init(two)
    alone = jc.adapt.lora(2, START).init({"w": PARAMS["w"]})
    np.testing.assert_array_equal(both["w"]["right"], alone["w"]["right"])
    assert np.all(np.asarray(both["w"]["right"]) != both["v"]["right"])
    assert np.abs(both["w"]["right"]).max() <= 1 / 4


def test_ranks_and_scales_go_by_rules():
    params = {"head": normal(8, 4), "body": normal(8, 8), "tail": normal(8, 8)}
    ranks = jc.Rules({"head": 1, "body": 4})
    technique = jc.adapt.lora(ranks, START, alpha=jc.adapt.over_root(4.0))
    adapters = technique.init(params)
    assert {name: each["left"].shape[-1] for name, each in adapters.items()} == {
        "body": 4,
        "head": 1,
    }
    adapters = jax.tree.map(jnp.ones_like, adapters)
    added = jax.tree.map(lambda a, b: a - b, technique.view(params, adapters), params)
    np.testing.assert_allclose(added["body"], 4 * 2.0, rtol=1e-5)  # rank · alpha / sqrt(rank)
    np.testing.assert_allclose(added["head"], 1 * 4.0, rtol=1e-5)
    np.testing.assert_array_equal(added["tail"], 0)


@every_method
def test_adapters_are_saved_alone_and_fit_their_base_alone(method, tmp_path):
    case = CASES["nf4"]
    technique = built(method, case)
    adapters, path = moved(technique, case), tmp_path / "adapters.safetensors"
    assert jc.storage.save(path, adapters) == path.stat().st_size
    loaded = jc.storage.load(path)
    jax.tree.map(np.testing.assert_array_equal, loaded, adapters)
    once, again = (technique.merge(case.params, each)["w"] for each in (adapters, loaded))
    np.testing.assert_array_equal(once, again)
    message = "what stands beside leaf 'w' of shape (8, 6) has a right of shape (2, 16), not (2, 8)"
    with pytest.raises(ValueError, match=re.escape(message)):
        technique.view({**case.params, "w": normal(8, 6)}, loaded)
    with pytest.raises(ValueError, match=re.escape("there is no leaf 'w'. Leaves are: v")):
        METHODS[method](2, START).view({"v": normal(16, 6)}, loaded)


def test_shipped_codes_and_their_adapters_come_back_from_a_file(tmp_path):
    case = CASES["nf4 stack"]
    technique = built("lora", case)
    shipped = technique.freeze(case.params, moved(technique, case))
    jc.storage.save(tmp_path / "model.safetensors", shipped)
    loaded = jc.storage.load(tmp_path / "model.safetensors")
    assert isinstance(loaded["w"], jc.Corrected)
    np.testing.assert_array_equal(jc.materialize(loaded)["w"], jc.materialize(shipped)["w"])


def test_the_planned_model_takes_what_is_kept_apart():
    case = CASES["int8"]
    technique = built("lora", case)
    apart = technique.apart(case.params, moved(technique, case))
    plan = jc.quantize.plan_execution(
        case.fn, apart, case.x, probe=lambda calls: dict.fromkeys(calls, 1.0)
    )
    assert {choice.form for choice in plan.choices} == {"integer"}
    planned = jc.quantize.run(case.fn, plan)(apart, case.x)
    exact = jc.adapt.run(case.fn)(apart, case.x)
    np.testing.assert_allclose(planned, exact, atol=0.05 * np.abs(exact).max())


class Net(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(4)(jnp.tanh(linen.Dense(6)(x)))


def linen_model():
    shapes = jax.eval_shape(Net().init, jax.random.key(0), normal(2, 3))
    params = jax.tree.map(lambda leaf: normal(*leaf.shape), shapes)
    return Net().apply, params, normal(2, 3)


def nnx_model():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.table = nnx.Embed(11, 6, rngs=rngs)
            self.dense = nnx.Linear(6, 4, rngs=rngs)

        def __call__(self, tokens):
            return self.dense(jnp.tanh(self.table(tokens)))

    graph, params = nnx.split(Net(nnx.Rngs(0)))
    tokens = np.array([[1, 5, 10]], np.int32)
    return lambda params, tokens: nnx.merge(graph, params)(tokens), params, tokens


def equinox_model():
    net = eqx.nn.MLP(5, 3, 8, 1, key=jax.random.key(0))
    params, static = eqx.partition(net, eqx.is_inexact_array)

    def fn(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    return fn, params, normal(4, 5)


@pytest.mark.parametrize("model", [linen_model, nnx_model, equinox_model])
def test_models_of_every_framework_take_adapters(model):
    fn, params, x = model()
    axes = jc.graph.axes(fn, params, x)
    techniques = [method(2, START, axes=axes) for method in METHODS.values()]

    def loss(adapters, fn, given):
        return jnp.sum(jnp.square(fn(given(params, adapters), x)))

    @jax.jit
    def answers():
        found = []
        for technique in techniques:
            adapters = jax.tree.map(lambda leaf: leaf + 0.1, technique.init(params))
            models = (fn, technique.view), (jc.adapt.run(fn), technique.apart)
            found.append([jax.value_and_grad(loss)(adapters, *each) for each in models])
            merged = technique.merge(params, adapters)
            assert jax.tree.structure(merged) == jax.tree.structure(params)
        return found

    for (value, grads), (apart, others) in answers():
        assert len(grads) == 2
        np.testing.assert_allclose(value, apart, rtol=1e-5)
        for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(others), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * float(np.abs(one).max()))
            assert np.any(np.asarray(one) != 0)


@every_method
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_leaf_keeps_its_dtype_and_adapters_are_float32(method, dtype):
    params = {"w": jnp.asarray(PARAMS["w"], dtype)}
    with jax.numpy_dtype_promotion("strict"):
        of_dtype(METHODS[method](2, START), params, dtype)


def of_dtype(technique: jc.adapt.Adapter, params, dtype: str):
    adapters = technique.init(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(adapters)} == {np.dtype(np.float32)}
    merged = technique.merge(params, adapters)["w"]
    assert merged.dtype == dtype
    np.testing.assert_array_equal(merged, params["w"])
    outputs = jc.adapt.run(dense)(technique.apart(params, adapters), normal(3, 16).astype(dtype))
    assert outputs.dtype == dtype


@every_method
def test_sums_of_float64_keep_their_digits(method):
    with jax.enable_x64(True):
        technique = METHODS[method](2, START)
        params = {"w": np.random.default_rng(0).standard_normal((16, 6))}
        x = np.random.default_rng(1).standard_normal((3, 16))
        adapters = technique.init(params)
        seen = dense(technique.view(params, adapters), x)
        outputs = jc.adapt.run(dense)(technique.apart(params, adapters), x)
    # Adapters are float32: the norms that DoRA begins with, and products of zeros.
    room = {"lora": 1e-14, "dora": 1e-6}[method]
    np.testing.assert_allclose(seen, np.tanh(x @ params["w"]), rtol=room)
    np.testing.assert_allclose(outputs, np.tanh(x @ params["w"]), rtol=room)


@every_method
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_seen(method, value):
    technique = METHODS[method](2, START)
    adapters = {"w": {**ADAPTERS["w"], "magnitude": np.linalg.norm(PARAMS["w"], axis=0)}}
    if method == "lora":
        del adapters["w"]["magnitude"]
    broken = {**PARAMS, "w": PARAMS["w"].copy()}
    broken["w"][3, 2] = value
    left = np.zeros((6, 2), np.float32)
    left[1, 0] = np.nan
    lost = {"w": {**adapters["w"], "left": left}}

    @jax.jit
    def everything(broken, params, adapters, lost):
        outputs = jc.adapt.run(lambda params, x: x @ params["w"])(
            technique.apart(broken, adapters), jnp.ones((1, 16))
        )
        return technique.merge(broken, adapters), technique.merge(params, lost), outputs

    of_base, of_adapter, outputs = everything(broken, PARAMS, adapters, lost)
    assert not np.isfinite(of_base["w"][3, 2])
    assert np.isfinite(of_base["w"][:, 0]).all()
    assert not np.isfinite(outputs[0, 2])
    assert np.isfinite(outputs[0, 0])
    assert np.isnan(of_adapter["w"][:, 1]).all()
    assert np.isfinite(of_adapter["w"][:, 0]).all()


def test_numbers_whose_squares_overflow_and_outputs_of_zeros_are_kept():
    technique = jc.adapt.dora(1, START)
    huge = {"w": np.array([[3e30, 0.0], [4e30, 0.0]], np.float32)}

    @jax.jit
    def both(params):
        adapters, ones = technique.init(params), jnp.ones((1, 2))
        run = jc.adapt.run(lambda params, x: x @ params["w"])
        return technique.merge(params, adapters)["w"], run(technique.apart(params, adapters), ones)

    merged, outputs = both(huge)
    np.testing.assert_allclose(merged, huge["w"], rtol=1e-6)
    np.testing.assert_allclose(outputs, [[7e30, 0.0]], rtol=1e-6)


def test_a_base_that_is_no_qtensor_is_decoded_and_run():
    leaf = jc.quantize.quantize(
        {"w": normal(16, 8)},
        INT8,
        rounding=jc.quantize.rounding.rotated(jc.quantize.rounding.nearest()),
    )[0]
    assert isinstance(leaf["w"], Rotated)
    technique, x = jc.adapt.lora(2, START), normal(3, 16)
    adapters = jax.tree.map(lambda each: each + 0.1, technique.init(leaf))
    merged = technique.merge(leaf, adapters)
    model, apart = jc.adapt.run(dense), technique.apart(leaf, adapters)
    np.testing.assert_allclose(model(apart, x), dense(merged, x), atol=1e-5)
    assert model(apart, x[:0]).shape == (0, 8)


def test_recoded_weights_have_the_formats_of_the_base_and_say_what_is_lost():
    base, _ = jc.quantize.quantize(PARAMS, NF4)
    technique = jc.adapt.lora(2, START)
    merged = technique.merge(base, jax.tree.map(lambda each: each + 0.01, technique.init(base)))
    params, lost = jc.adapt.recode(merged, base, jc.quantize.quantize)
    assert params["w"].spec == NF4
    error = np.asarray(params["w"].materialize() - merged["w"], np.float64)
    change = np.asarray(merged["w"] - base["w"].materialize(), np.float64)
    np.testing.assert_allclose(
        lost["w"].of_change, np.linalg.norm(error) / np.linalg.norm(change), rtol=1e-6
    )
    assert list(lost) == ["w"]


@pytest.mark.parametrize(
    ("kind", "rounding"),
    {
        "Rotated": jc.quantize.rounding.rotated(jc.quantize.rounding.nearest()),
        "Corrected": jc.quantize.rounding.low_rank(jc.quantize.rounding.nearest(), rank=1),
    }.items(),
)
def test_recoding_refuses_what_no_format_says(kind, rounding):
    whole = PARAMS | {"v": normal(16, 6)}
    base, _ = jc.quantize.quantize({"v": whole["v"]}, INT8, rounding=rounding)
    base = jc.quantize.quantize(PARAMS, INT8)[0] | base
    message = rf"recode\(base=...\): leaf 'v' is {kind}\(.*technique.freeze"
    with pytest.raises(TypeError, match=message):
        jc.adapt.recode(whole, base, jc.quantize.quantize)
    params, _ = jc.adapt.recode(whole, base | {"v": whole["v"]}, jc.quantize.quantize)
    assert params["v"] is whole["v"]


ADAPTERS = {"w": {"left": np.zeros((6, 2), np.float32), "right": np.ones((2, 16), np.float32)}}
WRONG = {
    "no rank": (lambda: jc.adapt.lora(0, START), "lora(rank=0) must be at least 1, and an int"),
    "no scale": (lambda: jc.adapt.dora(1, START, alpha=0.0), "dora(alpha=0.0) must be above 0"),
    "endless": (lambda: jc.adapt.lora(1, START, alpha=np.inf), "(alpha=inf) must be above 0"),
    "a function gives none": (
        lambda: jc.adapt.lora(1, START, alpha=lambda rank: -1.0).init(PARAMS),
        "lora(alpha=-1.0) must be above 0, and finite",
    ),
    "too large": (
        lambda: jc.adapt.lora(7, START).init(PARAMS),
        "lora(rank=7): leaf 'w' is a matrix of 6 × 16, so its rank must be in [1, 6]",
    ),
    "nothing": (
        lambda: jc.adapt.lora(1, START).init({"bias": np.ones(3)}),
        "lora(select=...) selects no leaf of the params. Leaves are: bias",
    ),
    "integers": (
        lambda: jc.adapt.lora(1, START, select=jc.everything()).init({"n": np.ones((2, 2), int)}),
        "leaf 'n' was asked for by name, but it has dtype int64, and only real floating leaves",
    ),
    "no matrix": (
        lambda: jc.adapt.lora(1, START, select=jc.matching("bias")).init(PARAMS),
        "its shape (3,) has no output or no contracting axis: it is no matrix",
    ),
    "no adapters": (
        lambda: jc.adapt.lora(1, START).view(PARAMS, {}),
        "lora(adapters={}) is empty. Begin with init(params)",
    ),
    "adapters of another method": (
        lambda: jc.adapt.dora(1, START).view(PARAMS, ADAPTERS),
        "must stand the arrays left, right, magnitude, not ['left', 'right']",
    ),
    "adapters of integers": (
        lambda: jc.adapt.lora(1, START).view(
            PARAMS, {"w": {"left": np.ones((6, 1), np.int32), "right": np.ones((1, 16))}}
        ),
        "the left beside leaf 'w' has dtype int32, no real floating one",
    ),
    "a residual of codes": (
        lambda: jc.adapt.lora(1, START).residual(jc.quantize.quantize(PARAMS, INT8)[0], ADAPTERS),
        "lora.residual(params=...): leaf 'w' is QTensor(int8 per channel",
    ),
    "another original": (
        lambda: jc.adapt.lora(1, jc.adapt.starts.from_error({"w": np.ones((2, 2))})).init(PARAMS),
        "from_error(original=...): leaf 'w' of shape (16, 6) has shape (2, 2) there",
    ),
    "masks of other params": (
        lambda: jc.adapt.lora(1, START, masks={"w": True}).view(PARAMS, ADAPTERS),
        "lora(masks=...) has no mask for leaf 'bias'",
    ),
    "recoding arrays": (
        lambda: jc.adapt.recode(PARAMS, PARAMS, jc.quantize.quantize),
        "recode(base=...) has no leaf of codes",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()
