"""Compressed optimizer state and rounded parameters: any optimizer, one structure."""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress.optimizers import (
    CompressedState,
    Stored,
    bfloat16,
    dynamic8,
    fp8,
    linear4,
    linear8,
    quantize_state,
    round_params,
    rounded_to_bfloat16,
)
from tests.inputs import QTENSORS, TREES

BLOCK = 64
LAYER = {"kernel": jnp.ones((64, 64)), "bias": jnp.ones(64)}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def is_stored(node):
    return isinstance(node, Stored)


def is_state(node):
    return isinstance(node, CompressedState)


def stored_in(state) -> list[Stored]:
    return [leaf for leaf in jax.tree.leaves(state, is_leaf=is_stored) if is_stored(leaf)]


def compressed(inner, form=dynamic8(BLOCK), **options):
    return quantize_state(inner, form, **options)


def shapes_of(tree):
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def is_matrix(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def is_vector(params):
    return jax.tree.map(lambda leaf: leaf.ndim <= 1, params)


def kind(params):
    return jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", params)


def steps_of(inner):
    return optax.MultiSteps(inner, every_k_schedule=2).gradient_transformation()


class Case(NamedTuple):
    """An optimizer, how to wrap it, and the arrays of its state that are compressed."""

    name: str
    plain: optax.GradientTransformation
    wrapped: optax.GradientTransformation
    fields: list[str]
    """of every compressed array, the field"""


def case(name, inner, *fields):
    return Case(name, inner, compressed(inner), list(fields))


ADAM = optax.adam(0.05)
REST = optax.masked(optax.sgd(0.02), is_vector)

SINGLE = [
    case("adam", ADAM, "mu", "nu"),
    case("adam of this room", jc.optimizers.adam(0.05), "first_moment", "second_moment"),
    case("momentum", optax.sgd(0.02, momentum=0.9), "trace"),
    case("lion", optax.lion(0.01), "mu"),
    case("adafactor", optax.adafactor(0.05), "v"),
    case("rmsprop", optax.rmsprop(0.02), "nu"),
    case("amsgrad", optax.amsgrad(0.05), "mu", "nu", "nu_max"),
    case("adagrad", optax.adagrad(0.5), "sum_of_squares"),
    case("adadelta", optax.adadelta(20.0), "e_g", "e_x"),
    case("adan", optax.adan(0.05), "g", "m", "n", "v"),
]

COMPOSED = [
    case(
        "a chain",
        optax.chain(optax.clip_by_global_norm(10.0), optax.adamw(0.05, weight_decay=1e-3)),
        "mu",
        "nu",
    ),
    Case(
        "in a chain",
        optax.chain(optax.scale_by_adam(), optax.scale(-0.05)),
        optax.chain(compressed(optax.scale_by_adam()), optax.scale(-0.05)),
        ["mu", "nu"],
    ),
    case("several steps inside", steps_of(ADAM), "acc_grads", "mu", "nu"),
    Case(
        "several steps around",
        steps_of(ADAM),
        steps_of(compressed(ADAM)),
        ["mu", "nu"],
    ),
    case(
        "masked inside",
        optax.chain(optax.masked(ADAM, is_matrix), REST),
        "mu",
        "nu",
    ),
    Case(
        "masked around",
        optax.chain(optax.masked(ADAM, is_matrix), REST),
        optax.chain(optax.masked(compressed(ADAM), is_matrix), REST),
        ["mu", "nu"],
    ),
    case(
        "partition inside",
        optax.partition({"matrix": ADAM, "vector": optax.sgd(0.02)}, kind),
        "mu",
        "nu",
    ),
    Case(
        "partition around",
        optax.partition({"matrix": ADAM, "vector": optax.sgd(0.02)}, kind),
        optax.partition({"matrix": compressed(ADAM), "vector": optax.sgd(0.02)}, kind),
        ["mu", "nu"],
    ),
    case("injected inside", optax.inject_hyperparams(optax.adam)(0.05), "mu", "nu"),
    Case(
        "injected around",
        ADAM,
        optax.inject_hyperparams(lambda rate: compressed(optax.adam(rate)))(rate=0.05),
        ["mu", "nu"],
    ),
]
optimizers = pytest.mark.parametrize("case", SINGLE + COMPOSED, ids=lambda case: case.name)

FORMATS = [
    (dynamic8(BLOCK), False),
    (dynamic8(BLOCK), True),
    (linear8(BLOCK), True),
    (linear4(BLOCK), True),
    (fp8(BLOCK), False),
    (bfloat16(), True),
    (bfloat16(), False),
]
formats = pytest.mark.parametrize(
    ("form", "keyed"), FORMATS, ids=lambda value: getattr(value, "name", str(value))
)


def random_params(dtype=jnp.float32):
    random = np.random.default_rng(0)
    return {
        "kernel": jnp.asarray(random.standard_normal((48, 96)), dtype),
        "bias": jnp.asarray(random.standard_normal(96), dtype),
    }


CURVATURE = {
    name: jnp.asarray(np.random.default_rng(1).uniform(0.1, 1, leaf.shape), jnp.float32)
    for name, leaf in random_params().items()
}


def loss(params):
    """A quadratic whose curvature differs from entry to entry, least at 0."""
    return sum(
        jnp.mean(CURVATURE[name] * leaf.astype(jnp.float32) ** 2) * 100
        for name, leaf in params.items()
    )


def step_of(optimizer):
    def step(carry, _):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    return step


def train(optimizer, params, steps):
    scan = jax.jit(functools.partial(jax.lax.scan, step_of(optimizer), length=steps))
    return scan((params, jax.jit(optimizer.init)(params)))[0]


@functools.cache
def reached_by(plain):
    return float(loss(train(plain, random_params(), 100)[0]))


# Single optimizers are held beside their plain runs in test_optax_states.
@pytest.mark.parametrize("case", COMPOSED, ids=lambda case: case.name)
def test_what_goes_around_converges_as_it_does_alone(case):
    begin = random_params()
    params, opt_state = train(case.wrapped, begin, 100)
    whole, reached = float(loss(begin)), float(loss(params))
    expected = reached_by(case.plain)
    # The fall of the loss is what it was, but for 5 % of what there was to lose.
    assert reached <= expected + 0.05 * whole
    assert expected < 0.9 * whole
    assert jax.tree.structure(opt_state) == jax.tree.structure(case.wrapped.init(begin))


@optimizers
def test_what_is_compressed(case):
    state = jax.eval_shape(case.wrapped.init, random_params())
    found = sorted(
        jax.tree_util.keystr(path[-2:-1], simple=True)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state, is_leaf=is_stored)
        if is_stored(leaf)
    )
    assert found == case.fields
    assert all(leaf.shape == (48, 96) for leaf in stored_in(state))
    held = [node.inner for node in jax.tree.leaves(state, is_leaf=is_state) if is_state(node)]
    wide = [leaf.size for leaf in jax.tree.leaves(held) if leaf.dtype == jnp.float32]
    assert max(wide, default=0) <= 96


@optimizers
def test_map_params_finds_what_is_shaped_like_params(case):
    opt_state = case.wrapped.init(random_params())
    marked = optax.tree.map_params(case.wrapped, jnp.zeros_like, opt_state)
    assert jax.tree.structure(marked) == jax.tree.structure(opt_state)
    assert all(not jnp.any(leaf.codes) for leaf in stored_in(marked))


@formats
def test_every_format_trains(form, keyed):
    optimizer = quantize_state(ADAM, form, key=jax.random.key(0) if keyed else None)
    begin = random_params()
    params, opt_state = train(optimizer, begin, 100)
    assert float(loss(params)) <= reached_by(ADAM) + 0.05 * float(loss(begin))
    assert len(stored_in(opt_state)) == 2
    assert (opt_state.key is None) is not keyed


@pytest.mark.parametrize(("form", "keyed"), [FORMATS[0], FORMATS[3], FORMATS[5]], ids=str)
def test_one_trace_donated_and_a_run_may_be_resumed(form, keyed):
    traces = []
    key = jax.random.key(0) if keyed else None
    optimizer = quantize_state(ADAM, form, key=key)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry):
        traces.append(1)
        return step_of(optimizer)(carry, None)[0]

    begin = random_params()
    before = shapes_of((begin, optimizer.init(begin)))
    carry, copy = (begin, optimizer.init(begin)), None
    for count in range(6):
        if count == 3:
            copy = jax.tree.map(jnp.copy, carry)
        carry = step(carry)
    assert shapes_of(carry) == before
    for _ in range(3):
        copy = step(copy)
    for resumed, straight in zip(jax.tree.leaves(copy), jax.tree.leaves(carry), strict=True):
        assert bool(jnp.all(resumed == straight))
    assert len(traces) == 1
    # The key itself was not given away with the state.
    assert key is None or optimizer.init(random_params()) is not None


def test_stochastic_codes_move_where_nearest_ones_stand_still():
    small = optax.ema(0.999, debias=False)
    grads = {"kernel": jnp.ones((64, 64))}
    begin = optax.EmaState(jnp.zeros((), jnp.int32), jax.tree.map(lambda x: 0.5 * x, grads))

    def average(key):
        optimizer = quantize_state(small, linear8(BLOCK), key=key)
        state = optimizer.init(grads)
        form = linear8(BLOCK)
        # One entry of each block is 1, so that the scale stays.
        start = cast(Any, begin.ema)["kernel"].at[:, 0].set(1.0)
        state = cast(Any, state)._replace(inner=begin._replace(ema={"kernel": form.encode(start)}))
        step = jax.jit(lambda state: optimizer.update(grads, state, grads)[1])
        for _ in range(100):
            state = step(state)
        return float(form.decode(state.inner.ema["kernel"])[:, 1:].mean())

    expected = 1 - 0.5 * 0.999**100
    # A walk of 100 steps, each off by at most half a code, over 4032 entries.
    tolerance = 5 * np.sqrt(100) / 2 / 127 / np.sqrt(63 * 64) + 0.5 / 127
    assert abs(average(jax.random.key(0)) - expected) < tolerance
    assert abs(average(None) - 0.5) < 1 / 127


@pytest.mark.parametrize("name", TREES)
def test_every_container_is_trained(name):
    params = TREES[name]()
    optimizer = compressed(optax.adam(0.1), select=jc.weights())
    state = optimizer.init(params)
    assert sorted(leaf.shape for leaf in stored_in(state)) == [(3, 2), (3, 2), (4, 3), (4, 3)]
    updates, after = optimizer.update(params, state, params)
    optax.apply_updates(params, updates)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_small_leaves_and_those_not_selected_stay_as_they_are():
    params = {
        "embedding": jnp.ones((64, 64)),
        "kernel": jnp.ones((64, 64)),
        "nearly": jnp.ones((63, 65)),
    }
    select = jc.all_of(jc.optimizers.large, jc.none_of(jc.matching("*embedding*")))
    adam = cast(Any, quantize_state(optax.adam(0.1), select=select).init(params)).inner[0]
    assert [is_stored(adam.mu[name]) for name in params] == [False, True, False]
    assert [is_stored(adam.nu[name]) for name in params] == [False, True, False]


def test_the_first_step_is_that_of_the_inner():
    params, grads = random_params(), random_params()
    optimizer = compressed(optax.adam(0.1))
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    expected, _ = optax.adam(0.1).update(grads, optax.adam(0.1).init(params), params)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
    assert isinstance(state, CompressedState)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_states_keep_their_dtype(dtype):
    params = random_params(dtype)
    optimizer = compressed(optax.sgd(0.02, momentum=0.9))
    after, state = train(optimizer, params, 20)
    assert after["kernel"].dtype == dtype
    assert [leaf.dtype for leaf in stored_in(state)] == [dtype]


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_eight_devices_give_the_codes_of_one(mesh, axis_type):
    optimizer = compressed(optax.sgd(0.02, momentum=0.9))
    grads = {"kernel": random_params()["kernel"]}
    devices = mesh(rows=2, columns=4, axis_type=axis_type)
    update = jax.jit(optimizer.update)

    def momentum(params):
        _, state = update(params, optimizer.init(params), params)
        updates, state = update(params, state, params)
        return updates["kernel"], stored_in(state)[0]

    with jax.set_mesh(devices):
        sharding = NamedSharding(devices, P("rows", "columns"))
        updates, many = momentum(jax.device_put(grads, sharding))
    expected, one = momentum(grads)
    np.testing.assert_array_equal(many.codes, one.codes)
    np.testing.assert_array_equal(many.scales, one.scales)
    np.testing.assert_allclose(updates, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("form", "share"),
    # Codes, the scales, and biases whole: a bias is a 512th of its kernel.
    [(dynamic8(), 0.253), (linear8(), 0.253), (fp8(), 0.253), (linear4(), 0.135)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_bytes_of_the_state(form, share):
    params = {
        f"layer {i}": {
            "kernel": jax.ShapeDtypeStruct((512, 1000), jnp.float32),
            "bias": jax.ShapeDtypeStruct((1000,), jnp.float32),
        }
        for i in range(3)
    }

    def size(optimizer):
        leaves = jax.tree.leaves(jax.eval_shape(optimizer.init, params))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    assert size(quantize_state(optax.adam(0.1), form)) <= share * size(optax.adam(0.1))


def test_extra_arguments_reach_the_inner():
    inner = optax.GradientTransformationExtraArgs(
        lambda params: (),
        cast(Any, lambda updates, state, params, *, factor: (factor * updates, state)),
    )
    optimizer = quantize_state(inner)
    updates, _ = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), factor=3.0)
    np.testing.assert_array_equal(updates, [3.0, 3.0])


REFUSED = {
    "integer": ({"codes": jnp.ones((64, 64), int)}, TypeError, "quantize_state: leaf 'codes' has"),
    "empty": ({"w": jnp.ones((0, 2))}, ValueError, "quantize_state: leaf 'w' has shape"),
    "complex": ({"w": jnp.ones((2, 2), jnp.complex64)}, TypeError, "'w' has dtype complex64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_params_that_cannot_be_compressed_are_refused(name):
    params, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        quantize_state(optax.identity(), select=jc.everything()).init(params)


@pytest.mark.parametrize("format", ["dynamic8", None, 8, jc.quantize.int8(), dynamic8])
def test_what_is_no_format_of_states_is_refused_when_built(format):
    with pytest.raises(TypeError, match=r"quantize_state\(format=.*\) must be of type .*Call one"):
        quantize_state(optax.adam(0.1), format)
    with pytest.raises(TypeError, match=r"quantize_state\(format=.*\) must be of type .*Call one"):
        quantize_state(optax.adam(0.1), jc.Rules({"*mu*": format}))


def test_integer_and_quantized_params_are_left_alone_by_default():
    params = LAYER | {"codes": jnp.ones((64, 64), jnp.int8)}
    state = quantize_state(optax.trace(0.9)).init(params)
    assert [leaf.dtype for leaf in stored_in(state)] == [jnp.float32]
    assert (
        stored_in(
            quantize_state(optax.identity()).init(cast(Any, {"q": QTENSORS["int8 per channel"]()}))
        )
        == []
    )


def test_rules_give_each_array_of_the_state_its_format():
    rules = jc.Rules({"*first_moment*": bfloat16(), "*second_moment/kernel": linear8(BLOCK)})
    inner = jc.optimizers.adam(0.1)
    state = quantize_state(inner, rules, select=jc.everything()).init(LAYER)
    first, second = cast(Any, state).inner[0].moments.values()
    assert {name: leaf.format.name for name, leaf in first.items()} == dict.fromkeys(
        LAYER, "bfloat16"
    )
    assert (second["kernel"].format.name, is_stored(second["bias"])) == ("linear8", False)
    with pytest.raises(ValueError, match=r"'\*mu\*' matches nothing. Names are: 0/moments/first"):
        quantize_state(inner, jc.Rules({"*mu*": bfloat16()})).init(LAYER)


def narrow(seed, shape=(3000,)):
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape) * 10.0 ** random.uniform(-12, 6, shape)
    return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize("jitted", [False, True])
def test_params_land_on_their_target_bit_for_bit(jitted, key):
    params = {"w": narrow(0).astype(jnp.bfloat16)}
    wide = params["w"].astype(jnp.float32)
    # Updates of any size, and those that nearly or wholly undo the parameter.
    undoing = -wide * (1 + jnp.asarray(np.random.default_rng(2).choice([0, 2**-20, 2**-9], 3000)))
    optimizer = round_params(key)
    state = optimizer.init(params)
    now = jax.random.fold_in(jax.random.split(key)[1], 0)

    def after(updates):
        updates, _ = optimizer.update({"w": updates}, state, params)
        return cast(Any, optax.apply_updates(params, updates))["w"]

    after = jax.jit(after) if jitted else after
    for updates in (narrow(1), 1e-3 * wide, undoing.astype(jnp.float32), jnp.zeros(3000)):
        landed = after(updates)
        target = rounded_to_bfloat16(wide + updates, now)
        assert landed.dtype == jnp.bfloat16
        np.testing.assert_array_equal(landed.view(jnp.uint16), target.view(jnp.uint16))


def test_small_updates_act_in_the_mean(key):
    params = {"w": jnp.ones(4096, jnp.bfloat16), "scale": jnp.ones(3)}
    grads = jax.tree.map(jnp.ones_like, params)
    optimizer = optax.chain(optax.sgd(2.0**-12), round_params(key))
    state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(64):
        params, state = step(params, state)
    moved = 1 - float(params["w"].astype(jnp.float32).mean())
    # 64 roundings, each off by at most half a unit of 2**-8 in deviation.
    assert abs(moved - 64 * 2.0**-12) < 5 * 8 * 2.0**-9 / 64
    np.testing.assert_allclose(params["scale"], 1 - 64 * 2.0**-12, rtol=1e-6)


def test_rounding_after_pruning_and_around_compressed_state(key):
    params = {"kernel": random_params(jnp.bfloat16)["kernel"]}
    adam = quantize_state(ADAM)
    optimizer = optax.chain(
        jc.prune.prune(adam, jc.prune.criteria.magnitude(), 0.5), round_params(key)
    )
    after, state = train(optimizer, params, 5)
    assert after["kernel"].dtype == jnp.bfloat16
    assert int(jnp.sum(after["kernel"] == 0)) == 48 * 96 // 2
    jc.prune.check(state)


def test_infinite_updates_stay_visible(key):
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    optimizer = round_params(key)
    updates = {"w": jnp.array([jnp.inf, jnp.nan])}
    updates, _ = optimizer.update(updates, optimizer.init(params), params)
    assert not bool(jnp.any(jnp.isfinite(cast(Any, optax.apply_updates(params, updates))["w"])))


def test_round_params_refuses_what_it_cannot_do(key):
    with pytest.raises(ValueError, match=r"no leaf is bfloat16\. Leaves are: w float32"):
        round_params(key).init({"w": jnp.ones(2)})
    optimizer = round_params(key)
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    with pytest.raises(ValueError, match=r"round_params\(...\)\.update.* needs the params"):
        optimizer.update(params, optimizer.init(params))
