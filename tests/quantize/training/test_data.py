"""Learned ranges of data: values, the papers' gradients, and what is frozen of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress.quantize import fake_quantize_activations, int4, int8
from jaxcompress.quantize.formats import binary, codebook, nf4, uint2, uint4, uint8
from jaxcompress.quantize.training import learned_activations
from jaxcompress.quantize.training.data import (
    RangeMethod,
    fixed_range,
    learned_clip,
    learned_step,
    learned_step_and_offset,
)
from tests.inputs import on_device

POINTS = [0.3, -1.2, 3.4, 2.5, -9.0, 0.0, 1.75, -0.3]


class Expected(NamedTuple):
    """By hand: what is seen, and the derivatives of the sum."""

    value: np.ndarray
    by_x: np.ndarray
    by_learned: dict[str, float]


def lsq(lowest, highest):
    def expected(x, step):
        ratio = x / step
        inside = (ratio > lowest) & (ratio < highest)
        codes = np.clip(np.round(ratio), lowest, highest)
        by_step = np.where(inside, codes - ratio, codes).sum() / np.sqrt(x.size * highest)
        return Expected(codes * step, inside * 1.0, {"step": by_step})

    return expected


def lsq_plus(lowest, highest):
    def expected(x, step, offset):
        offset = np.round(offset / step) * step
        ratio = (x - offset) / step
        inside = (ratio > lowest) & (ratio < highest)
        codes = np.clip(np.round(ratio), lowest, highest)
        share = 1 / np.sqrt(x.size * (highest - lowest))
        by_step = np.where(inside, codes - ratio, codes).sum() * share
        by_offset = np.sum(~inside) * share
        return Expected(codes * step + offset, inside * 1.0, {"step": by_step, "offset": by_offset})

    return expected


def pact(highest):
    def expected(x, clip):
        step = clip / highest
        value = np.round(np.clip(x, 0, clip) / step) * step
        return Expected(value, ((x >= 0) & (x < clip)) * 1.0, {"clip": np.sum(x >= clip) * 1.0})

    return expected


def dorefa(bits):
    def expected(x):
        top = 2**bits - 1
        return Expected(np.round(np.clip(x, 0, 1) * top) / top, ((x >= 0) & (x <= 1)) * 1.0, {})

    return expected


def signs(x):
    return Expected(np.where(x > 0, 1.0, -1.0), (np.abs(x) <= 1) * 1.0, {})


class Case(NamedTuple):
    """A method, numbers that it might have learned, and its oracle of them."""

    method: RangeMethod
    learned: dict[str, float]
    expected: Callable[..., Expected]


CASES = {
    "LSQ int4": Case(learned_step(int4()), {"step": 0.5}, lsq(-7, 7)),
    "LSQ int8": Case(learned_step(int8(per="tensor")), {"step": 0.021}, lsq(-127, 127)),
    "LSQ uint2": Case(learned_step(uint2()), {"step": 0.9}, lsq(0, 3)),
    "LSQ+ uint4": Case(
        learned_step_and_offset(uint4()), {"step": 0.25, "offset": -1.05}, lsq_plus(0, 15)
    ),
    "PACT uint4": Case(learned_clip(uint4()), {"clip": 2.5}, pact(15)),
    "DoReFa 2 bits": Case(fixed_range(0.0, 1.0, uint2()), {}, dorefa(2)),
    "signs": Case(fixed_range(-1.0, 1.0, binary()), {}, signs),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def dense(params, x):
    return x @ params["kernel"]


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return on_device(np.random.default_rng(seed).normal(size=shape))


@each_case
def test_values_and_gradients_are_those_of_the_paper(case):
    x = np.float32([POINTS])
    eye = {"kernel": jnp.eye(len(POINTS))}
    technique = learned_activations(dense, case.method)

    @jax.jit
    def found(companions, x):
        seen = technique.model(eye, companions, x)
        grads = jax.grad(lambda c, x: technique.model(eye, c, x).sum(), (0, 1))(companions, x)
        return seen, grads

    companions = {"kernel": {name: jnp.float32(each) for name, each in case.learned.items()}}
    value, (by_learned, by_x) = found(companions, x)
    expected = case.expected(x.astype(np.float64), **case.learned)
    np.testing.assert_allclose(value, expected.value, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(by_x, expected.by_x)
    for name, each in expected.by_learned.items():
        np.testing.assert_allclose(by_learned["kernel"][name], each, rtol=1e-5, atol=1e-6)


def convolved(params, x):
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, params["conv"], (1, 1), "SAME", dimension_numbers=dimensions
    )
    return jax.nn.relu(y).mean((1, 2)) @ params["head"]


def recurrent(params, x):
    def cell(state, _):
        return jnp.tanh(x @ params["in"] + state @ params["turn"]), None

    def layer(x, kernel):
        return jax.nn.gelu(x @ kernel), None

    state, _ = jax.lax.scan(cell, jnp.zeros((x.shape[0], 6), x.dtype), None, length=3)
    return jax.lax.scan(layer, state, params["layers"])[0] @ params["out"]


MODELS = {
    "convolution": (
        convolved,
        {"conv": normal(3, 3, 2, 4), "head": normal(4, 3)},
        normal(5, 4, 4, 2, seed=1),
    ),
    "loops": (
        recurrent,
        {
            "in": normal(5, 6),
            "turn": normal(6, 6, seed=1),
            "layers": normal(2, 6, 6, seed=2),
            "out": normal(6, 3, seed=3),
        },
        normal(4, 5, seed=4),
    ),
}


def learned_at_all_sites(case, fn, params, x):
    learned = {name: jnp.float32(each) for name, each in case.learned.items()}
    return {site.name: dict(learned) for site in jc.graph.trace(fn, params, x).sites}


@pytest.mark.parametrize(
    ("model", "dtype"), [("loops", jnp.float32), ("convolution", jnp.bfloat16)], ids=str
)
@each_case
def test_frozen_is_bit_for_bit_what_training_saw(case, model, dtype):
    fn, params, x = MODELS[model]
    params, x = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, x))
    technique = learned_activations(fn, case.method)
    companions = learned_at_all_sites(case, fn, params, x)
    frozen = fake_quantize_activations(fn, technique.freeze(companions))

    @jax.jit
    def both(params, companions, x):
        return technique.model(params, companions, x), frozen(params, x), fn(params, x)

    seen, shipped, dense = both(params, companions, x)
    assert seen.dtype == dtype
    np.testing.assert_array_equal(seen, shipped)
    assert np.any(np.asarray(seen) != np.asarray(dense))


@each_case
def test_what_is_not_finite_stays_so_and_passes_its_gradient(case):
    x = jnp.asarray([[jnp.nan, jnp.inf, -jnp.inf, 0.3]])
    technique = learned_activations(lambda params, x: x * 1.0 @ params["kernel"], case.method)
    companions = {"kernel": {name: jnp.float32(each) for name, each in case.learned.items()}}

    def picked(companions, x):  # one column, so that NaN of others does not reach it
        return technique.model({"kernel": jnp.eye(4)}, companions, x)

    assert not np.isfinite(picked(companions, x)).any()
    pull = jax.vjp(picked, companions, x)[1](jnp.ones((1, 4)))
    np.testing.assert_array_equal(pull[1][0, :3], 1.0)
    assert all(np.isfinite(each) for each in jax.tree.leaves(pull[0]))


def test_it_starts_from_the_data_of_the_site():
    x = normal(32, 4) - 0.5
    params = {"kernel": jnp.eye(4)}
    magnitude = np.abs(np.asarray(x)).mean()

    def begun(method):
        return learned_activations(dense, method).init(params, x)["kernel"]

    np.testing.assert_allclose(
        begun(learned_step(int4()))["step"], 2 * magnitude / 7**0.5, rtol=1e-5
    )
    learned = begun(learned_step_and_offset(uint4()))
    np.testing.assert_allclose(learned["offset"], x.min(), rtol=1e-6)
    np.testing.assert_allclose(learned["step"], (x.max() - x.min()) / 15, rtol=1e-6)
    assert begun(learned_clip(uint4(), start=8.0)) == {"clip": 8.0}
    assert begun(fixed_range(0.0, 1.0, uint2())) == {}


def test_layers_of_a_scan_share_what_their_data_say_together():
    def deep(params, x):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, params["layers"])[0]

    x = normal(8, 4)
    params = {"layers": jnp.stack([3 * jnp.eye(4), jnp.eye(4)])}
    technique = learned_activations(deep, learned_step(int8()))
    companions = technique.init(params, x)
    mean = np.abs(np.asarray(x)).mean() * 2  # of x, and of three times x
    np.testing.assert_allclose(companions["layers"]["step"], 2 * mean / 127**0.5, rtol=1e-5)
    slope = jax.grad(lambda c: technique.model(params, c, x).sum())(companions)
    assert slope["layers"]["step"].shape == ()


@pytest.mark.parametrize(
    "method",
    [learned_step(int4()), learned_step_and_offset(uint4()), learned_clip(uint4())],
    ids=["LSQ", "LSQ+", "PACT"],
)
def test_steps_stay_positive_at_any_learning_rate(method):
    params, x = {"kernel": normal(4, 3)}, 20 * normal(5, 4, seed=1)
    technique = learned_activations(dense, method)

    @jax.jit
    def step(companions, rate):
        loss = jax.value_and_grad(lambda c: jnp.mean(technique.model(params, c, x)))
        value, grads = loss(companions)
        return jax.tree.map(lambda c, g: c - rate * g, companions, grads), value

    begun = technique.init(params, x)
    for rate in (1e-2, 1e6, 1e30):
        companions = begun
        for _ in range(3):
            companions, value = step(companions, jnp.float32(rate))
            low, high = method.range(companions["kernel"])
            assert low <= 0 <= high
            assert low < high
            assert np.isfinite(value)
        technique.freeze(companions)


def test_a_step_at_or_below_zero_is_reflected_and_finds_back():
    technique = learned_activations(dense, learned_step(int4()))
    params, x = {"kernel": jnp.eye(2)}, jnp.asarray([[0.3, -0.9]])

    def loss(step):
        return jnp.sum(technique.model(params, {"kernel": {"step": step}}, x) * x)

    assert loss(jnp.float32(-0.2)) == loss(jnp.float32(0.2))
    assert jax.grad(loss)(jnp.float32(-0.2)) == -jax.grad(loss)(jnp.float32(0.2))
    assert jax.grad(loss)(jnp.float32(0.0)) > 0
    assert np.isfinite(loss(jnp.float32(0.0)))
    assert np.isnan(loss(jnp.float32(jnp.nan)))


def attention(params, x):
    q, k = x @ params["q"], x @ params["k"]
    scores = jnp.einsum("qd,kd->qk", q, k)
    return jnp.einsum("qk,kd->qd", jax.nn.softmax(scores), x @ params["v"]) @ params["out"]


ATTENTION = {name: normal(4, 4, seed=seed) for seed, name in enumerate(("q", "k", "v", "out"))}


def test_rules_choose_leaves_and_products_and_freeze_to_rules():
    x = normal(6, 4, seed=9)
    how = jc.Rules(
        {
            "@qk,*": fixed_range(0.0, 1.0, uint8()),
            "out": learned_step_and_offset(uint4()),
            "?": learned_step(int8()),
        }
    )
    technique = learned_activations(attention, how)
    companions = technique.init(ATTENTION, x)
    assert {name: sorted(each) for name, each in companions.items()} == {
        "q": ["step"],
        "k": ["step"],
        "v": ["step"],
        "out": ["offset", "step"],
        "@qk,kd->qd": [],
    }
    frozen = technique.freeze(companions)
    assert isinstance(frozen, jc.Rules)

    @jax.jit
    def both(params, companions, x):
        shipped = fake_quantize_activations(attention, frozen)(params, x)
        return technique.model(params, companions, x), shipped

    seen, shipped = both(ATTENTION, companions, x)
    np.testing.assert_array_equal(seen, shipped)


def test_penalties_are_those_of_the_clips():
    how = jc.Rules({"out": learned_clip(uint4(), penalty=0.5), "*": learned_step(int8())})
    technique = learned_activations(attention, how)
    companions = technique.init(ATTENTION, normal(6, 4))
    assert float(technique.penalty(companions)) == 50.0
    assert float(jax.grad(technique.penalty)(companions)["out"]["clip"]) == 10.0


def integer_first(calls):
    return {name: 1.0 + (name != "integer") for name in calls}


def test_it_goes_with_views_optimizers_and_integer_execution():
    def fn(params, x):
        return jax.nn.relu(x @ params["in"]) @ params["out"]

    params, x = {"in": normal(4, 6), "out": normal(6, 3, seed=1)}, normal(8, 4, seed=2)
    spec = int8()
    view = jc.quantize.fake_quantize(spec)
    technique = learned_activations(fn, learned_step(int4()))
    both = params, technique.init(params, x)
    optimizer = optax.adam(1e-2)
    traces = []

    def loss(both, target):
        params, companions = both
        return jnp.mean((technique.model(view(params), companions, x) - target) ** 2)

    @jax.jit
    def train(both, state, target):
        traces.append(0)
        value, grads = jax.value_and_grad(loss)(both, target)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(both, updates), state, value

    state, losses = optimizer.init(both), []
    for _ in range(20):
        both, state, value = train(both, state, fn(params, x))
        losses.append(float(value))
    assert len(traces) == 1
    assert losses[-1] < losses[0]
    shipped, _ = jc.quantize.quantize(both[0], spec)
    activations = technique.freeze(both[1])
    plan = jc.quantize.plan_execution(fn, shipped, x, activations=activations, probe=integer_first)
    assert {choice.form for choice in plan.choices} == {"integer"}
    ran = jax.jit(jc.quantize.run(fn, plan))(shipped, x)
    np.testing.assert_allclose(ran, technique.model(view(both[0]), both[1], x), atol=1e-4)


@jax.custom_vjp
def doubled(x, kernel):
    return 2 * (x @ kernel)


doubled.defvjp(
    lambda x, kernel: (doubled(x, kernel), (x, kernel)),
    lambda kept, g: (2 * (g @ kept[1].T), 2 * (kept[0].T @ g)),
)


def test_a_custom_derivative_keeps_its_rule():
    def fn(params, x):
        return doubled(x, params["in"]) @ params["out"]

    params, x = {"in": normal(3, 3), "out": normal(3, 3, seed=1)}, normal(4, 3, seed=2)
    technique = learned_activations(fn, learned_step(int4()))
    companions = technique.init(params, x)
    grads = jax.jit(jax.grad(lambda c: technique.model(params, c, x).sum()))(companions)
    assert grads["in"]["step"] == 0
    assert grads["out"]["step"] != 0


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_devices_share_what_is_learned(mesh, axis_type):
    def fn(params, x):
        return jnp.tanh(x @ params["in"]) @ params["out"]

    grid = mesh(data=4, axis_type=axis_type)
    params, x = {"in": normal(4, 6), "out": normal(6, 3, seed=1)}, normal(8, 4, seed=2)
    mapped = jax.shard_map(fn, mesh=grid, in_specs=(P(), P("data")), out_specs=P("data"))

    def slopes(fn, params, x):
        technique = learned_activations(fn, learned_step(int4()))
        companions = technique.init(params, x)
        return jax.jit(jax.grad(lambda c: technique.model(params, c, x).sum()))(companions)

    expected = slopes(fn, params, x)
    with jax.set_mesh(grid):
        placed = jax.device_put(params, NamedSharding(grid, P()))
        found = slopes(mapped, placed, jax.device_put(x, NamedSharding(grid, P("data"))))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), found, expected)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_it_lowers_for_other_devices(platform):
    fn, params, x = MODELS["loops"]
    how = jc.Rules({"out": learned_step(int4()), "*": learned_step_and_offset(uint4())})
    technique = learned_activations(fn, how)
    companions = technique.init(params, x)
    grads = jax.grad(lambda p, c, x: technique.model(p, c, x).sum(), (0, 1))
    jax.jit(grads).trace(params, companions, x).lower(lowering_platforms=(platform,))


GROUPED: Any = int8(group_size=4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: learned_step(nf4()), r"learned_step\(spec=nf4 per channel\) must have integers"),
        (lambda: learned_step(codebook(2)), r"learned_step\(spec=.*\) must have integers"),
        (lambda: learned_step(GROUPED), "data have a scale for each row or site"),
        (lambda: learned_step(int8(scales="power_of_two")), "float32 scales, whose range"),
        (
            lambda: learned_step_and_offset(int8()),
            r"learned_step_and_offset\(spec=int8 per channel\) must have a zero point",
        ),
        (lambda: learned_clip(int4()), r"learned_clip\(spec=int4 per channel\) must have a zero"),
        (lambda: learned_clip(uint4(), start=0), r"learned_clip\(start=0\)"),
        (lambda: learned_clip(uint4(), penalty=-1), r"learned_clip\(penalty=-1\)"),
        (lambda: fixed_range(0.5, 1.0, uint2()), r"fixed_range\(low=0.5, high=1.0\) must hold"),
        (lambda: fixed_range(0.0, 1.0, int8()), r"codes have no zero point and reach from -127"),
        (lambda: fixed_range(0.0, 1.0, codebook(2)), "must have levels that are known"),
    ],
)
def test_formats_that_a_method_does_not_define_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "method", [learned_step(uint2()), learned_step(int8()), learned_step_and_offset(uint8())]
)
def test_training_starts_finite_at_huge_data(method):
    largest = float(np.finfo(np.float32).max)
    for x in (jnp.full((2, 2), 0.9 * largest), jnp.array([[largest, -largest]])):
        technique, params = learned_activations(dense, method), {"kernel": jnp.eye(2)}
        companions = technique.init(params, x)

        def loss(companions, params, x, technique=technique):
            return jnp.sum(technique.model(params, companions, x)) * 2**-100

        grads = jax.jit(jax.grad(loss))(companions, params, x)
        assert all(bool(jnp.isfinite(each)) for each in jax.tree.leaves((companions, grads)))


def test_refusals():
    params, x = {"kernel": jnp.eye(2)}, jnp.ones((1, 2))
    technique = learned_activations(dense, learned_step(int8()))
    companions = technique.init(params, x)
    with pytest.raises(ValueError, match=r"init: no data reached site 'kernel', or only zeros"):
        technique.init(params, jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"init: the data at site 'kernel' are not finite"):
        technique.init(params, jnp.full((1, 2), jnp.nan))
    with pytest.raises(TypeError, match=r"learned_activations\(params=...\) reads values"):
        jax.jit(technique.init)(params, x)
    with pytest.raises(ValueError, match=r"sites none, and the data are rounded at kernel"):
        technique.model(params, {}, x)
    with pytest.raises(ValueError, match="sites kernel, other, and the data"):
        technique.model(params, companions | {"other": {}}, x)
    with pytest.raises(ValueError, match=r"beside site 'kernel' must stand \['step'\]"):
        technique.model(params, {"kernel": {"clip": jnp.ones(())}}, x)
    with pytest.raises(ValueError, match=r"beside site 'kernel' must stand \['step'\]"):
        technique.freeze({"kernel": {"step": jnp.ones(2)}})
    with pytest.raises(ValueError, match="leaf 'kernel/step' holds 1 values that are not finite"):
        technique.freeze({"kernel": {"step": jnp.float32(jnp.nan)}})
    with pytest.raises(TypeError, match=r"companions=3\) must be a mapping"):
        technique.model(params, 3, x)
    with pytest.raises(ValueError, match="no weight meets floating data"):
        learned_activations(lambda params, x: x, learned_step(int8())).model(params, {}, x)
    with pytest.raises(TypeError, match=r"how=QuantSpec.*must be of type RangeMethod"):
        learned_activations(dense, int8())
    with pytest.raises(ValueError, match="'other' matches nothing"):
        learned_activations(dense, jc.Rules({"other": learned_step(int8())})).init(params, x)
