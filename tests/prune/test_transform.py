"""Pruning in training: exact zeros under every optimizer, in every dtype and order."""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress.core.numerics import round_to_count
from jaxcompress.prune import PruneState, Target, check, masks_of, prune
from jaxcompress.prune.allocations import globally
from jaxcompress.prune.criteria import magnitude
from jaxcompress.prune.criterion import Criterion
from tests.inputs import QTENSORS, TREES

KERNEL = {"kernel": jnp.ones((2, 2))}
STEPS = 9
SCHEDULE = jc.schedules.cubic(0.0, 0.75, begin=0, end=6)
WHEN = jc.schedules.every(3)


def pruned(inner, sparsity=SCHEDULE, when=WHEN, **options):
    return prune(inner, magnitude(), Target(sparsity, **options), when=when)


def injected(rate, sparsity):
    return pruned(optax.adamw(rate), sparsity=sparsity)


INJECTED = optax.inject_hyperparams(injected)(rate=0.01, sparsity=SCHEDULE)


def is_matrix(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def kind(params):
    return jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", params)


class Case(NamedTuple):
    """An optimizer, and the step whose sparsity holds after the update of each step."""

    name: str
    optimizer: optax.GradientTransformation
    refreshed: Callable[[int], int] = lambda step: step // 3 * 3
    dtypes: tuple = (jnp.float32, jnp.bfloat16, jnp.float16)


# What only the inner optimizer distinguishes: one program, a dtype for each in turn.
INNER = {
    "adam": optax.adam(0.01),
    "momentum": optax.sgd(0.01, momentum=0.9),
    "lion": optax.lion(0.01),
    "adafactor": optax.adafactor(0.01, min_dim_size_to_factor=2),
    "rmsprop": optax.rmsprop(0.01),
    "amsgrad": optax.amsgrad(0.01),
    "muon": optax.contrib.muon(0.01),
    "a chain": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.01, weight_decay=0.1)),
}
OPTIMIZERS = [
    Case("adam", pruned(optax.adam(0.01))),
    # `inject_hyperparams` takes no tree that holds both of the narrow dtypes.
    Case("injected", INJECTED, dtypes=(jnp.float32, jnp.bfloat16)),
    Case("injected, float16", INJECTED, dtypes=(jnp.float16,)),
    Case(
        "several steps",
        optax.MultiSteps(
            pruned(optax.adam(0.01), when=jc.schedules.every(1)), every_k_schedule=2
        ).gradient_transformation(),
        refreshed=lambda step: max((step + 1) // 2 - 1, 0),
    ),
    Case("masked", optax.masked(pruned(optax.adam(0.01)), is_matrix)),
    Case(
        "partition",
        optax.partition({"matrix": pruned(optax.adam(0.01)), "vector": optax.sgd(0.1)}, kind),
    ),
]
optimizers = pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda case: case.name)


def random_params(*dtypes) -> dict:
    """A layer of 48 weights for each dtype."""
    random = np.random.default_rng(0)
    return {
        np.dtype(dtype).name: {
            "kernel": jnp.asarray(random.standard_normal((6, 8)), dtype),
            "bias": jnp.asarray(random.standard_normal(8), dtype),
        }
        for dtype in dtypes
    }


def gradients(params, step):
    """Dense, of no particular meaning, different at each step, never zero."""
    return jax.tree.map(lambda leaf: jnp.cos(3 * leaf + step.astype(leaf.dtype)) + 1.5, params)


def step_of(optimizer):
    def step(carry, count):
        params, opt_state = carry
        updates, opt_state = optimizer.update(gradients(params, count), opt_state, params)
        params = optax.apply_updates(params, updates)
        return (params, opt_state), (params, masks_of(opt_state))

    return step


def train(optimizer, params, steps=STEPS):
    """((params, opt_state), (params, masks) after each step), by one scan."""
    scan = jax.jit(functools.partial(jax.lax.scan, step_of(optimizer)))
    return scan((params, optimizer.init(params)), jnp.arange(steps))


def test_pruned_weights_are_zero_under_every_inner_optimizer():
    dtypes = (jnp.float32, jnp.bfloat16, jnp.float16)
    params = {
        name: next(iter(random_params(dtypes[place % 3]).values()))
        for place, name in enumerate(INNER)
    }
    optimizer = pruned(optax.partition(INNER, {name: name for name in INNER}))
    assert_pruned(params, optimizer, lambda step: step // 3 * 3)


@optimizers
def test_pruned_weights_are_zero_after_every_step_in_every_dtype(case):
    assert_pruned(random_params(*case.dtypes), case.optimizer, case.refreshed)


def assert_pruned(params, optimizer, refreshed):
    """Weights outside the masks are 0 after every step, as many as scheduled."""
    (_, opt_state), (history, masks) = train(optimizer, params)
    removed = [round_to_count(SCHEDULE(refreshed(step)), 48) for step in range(STEPS)]
    for name in params:
        kernel, keep = history[name]["kernel"], masks[name]["kernel"]
        assert kernel.dtype == params[name]["kernel"].dtype
        np.testing.assert_array_equal(kernel != 0, keep)
        np.testing.assert_array_equal(jnp.sum(~keep, axis=(1, 2)), removed)
        assert bool(jnp.all(history[name]["bias"] != 0))
    check(opt_state)


MATRIX = {"kernel": jnp.asarray(np.random.default_rng(0).standard_normal((8, 16)), jnp.float32)}


@functools.cache
def trained_on_one_device(allocate):
    (params, _), (_, masks) = train(pruned(optax.adam(0.01), allocate=allocate), MATRIX)
    return params["kernel"], masks["kernel"]


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("allocate", [jc.prune.allocations.uniform, globally])
def test_eight_devices_give_what_one_gives(mesh, axis_type, allocate):
    optimizer = pruned(optax.adam(0.01), allocate=allocate)
    devices = mesh(rows=2, columns=4, axis_type=axis_type)
    sharding = NamedSharding(devices, P("rows", "columns"))
    with jax.set_mesh(devices):
        sharded = jax.device_put(MATRIX, sharding)
        assert masks_of(optimizer.init(sharded))["kernel"].sharding.is_equivalent_to(sharding, 2)
        (params, opt_state), (_, masks) = train(optimizer, sharded)
    assert masks_of(opt_state)["kernel"].sharding.is_equivalent_to(sharding, 2)
    kernel, expected_masks = trained_on_one_device(allocate)
    np.testing.assert_array_equal(masks["kernel"], expected_masks)
    # In each step two programs may round a weight below 4 differently by one unit.
    np.testing.assert_allclose(params["kernel"], kernel, rtol=0, atol=STEPS * 2**-21)


@pytest.mark.parametrize("name", TREES)
def test_every_container_is_trained(name):
    params = TREES[name]()
    optimizer = pruned(optax.sgd(0.01), sparsity=0.5)

    @jax.jit
    def trained(params):
        updates, opt_state = optimizer.update(params, optimizer.init(params), params)
        return optax.apply_updates(params, updates), opt_state

    params, opt_state = trained(params)
    assert jax.tree.structure(masks_of(opt_state)) == jax.tree.structure(params)
    assert sorted(int(jnp.sum(leaf == 0)) for leaf in jax.tree.leaves(params)) == [0, 0, 3, 6]
    assert all(
        mask.shape == (leaf.shape if leaf.ndim > 1 else ())
        for mask, leaf in zip(*map(jax.tree.leaves, (masks_of(opt_state), params)), strict=True)
    )


def test_one_trace_with_donated_buffers_and_a_run_may_be_resumed():
    traces = []
    optimizer = pruned(optax.adam(0.01))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry, count):
        traces.append(count)
        return step_of(optimizer)(carry, count)[0]

    params = random_params(jnp.float32)
    carry, stored = (params, optimizer.init(params)), {}
    for count in range(STEPS):
        stored[count] = jax.tree.map(np.array, carry)
        carry = step(carry, jnp.int32(count))
    resumed = jax.tree.map(jnp.asarray, stored[4])
    for count in range(4, STEPS):
        resumed = step(resumed, jnp.int32(count))
    jax.tree.map(np.testing.assert_array_equal, resumed, carry)
    assert len(traces) == 1


def test_the_criterion_sees_raw_and_the_inner_masked_gradients():
    seen = Criterion(
        init=lambda params: jax.tree.map(jnp.zeros_like, params),
        update=lambda grads, state, params: grads,
        score=lambda state, params: jax.tree.map(jnp.abs, params),
    )
    params = {"kernel": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "bias": jnp.ones(3)}
    grads = {"kernel": jnp.full((2, 2), 5.0), "bias": jnp.full(3, 7.0)}
    optimizer = prune(optax.trace(decay=0.0), seen, 0.5)
    _, state = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_array_equal(state.evidence["kernel"], grads["kernel"])
    assert state.evidence["bias"].shape == ()
    np.testing.assert_array_equal(state.inner.trace["kernel"], [[0.0, 0.0], [5.0, 5.0]])
    np.testing.assert_array_equal(state.inner.trace["bias"], grads["bias"])


def test_rules_hold_numbers_and_schedules_and_weights_return_when_one_falls():
    falling = jc.Rules({"falls": lambda count: 0.75 - 0.25 * count, "stays": 0.25})
    optimizer = pruned(optax.sgd(0.1), sparsity=falling, when=jc.schedules.every(1))
    kernel = jnp.arange(1.0, 9.0).reshape(2, 4)
    params = {"falls": kernel, "stays": kernel, "whole": kernel}
    _, (_, masks) = train(optimizer, params, steps=4)
    assert jnp.sum(~masks["falls"], axis=(1, 2)).tolist() == [6, 4, 2, 0]
    assert jnp.sum(~masks["stays"], axis=(1, 2)).tolist() == [2] * 4
    assert masks["whole"].tolist() == [True] * 4


def test_a_schedule_outside_its_range_is_clipped():
    optimizer = pruned(optax.sgd(0.1), sparsity=lambda count: jnp.float32(1.5 - 2 * count))
    for step, kept in ((0, 0), (1, 4)):
        state = optimizer.init(KERNEL)._replace(count=jnp.int32(3 * step))
        masks = optimizer.update(KERNEL, state, KERNEL)[1].masks
        assert int(jnp.sum(masks["kernel"])) == kept


def test_updates_narrower_than_the_params_land_on_zero():
    narrow = optax.stateless(
        lambda updates, params: jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), updates)
    )
    params = {"kernel": jnp.array([[1.0001, 2.0002, 3.0003, 4.0004]])}
    optimizer = prune(narrow, magnitude(), 0.5)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_array_equal(optax.apply_updates(params, updates)["kernel"][0, :2], [0.0, 0.0])


def test_extra_arguments_reach_the_inner():
    inner = optax.GradientTransformationExtraArgs(
        lambda params: (),
        lambda updates, state, params, *, factor: (
            jax.tree.map(lambda leaf: factor * leaf, updates),
            state,
        ),
    )
    params = {"kernel": jnp.array([[1.0, 4.0]])}
    optimizer = prune(inner, magnitude(), 0.5)
    updates, _ = optimizer.update(params, optimizer.init(params), params, factor=3.0)
    np.testing.assert_array_equal(updates["kernel"], [[-1.0, 12.0]])


EVERY = {case.name: case.optimizer for case in OPTIMIZERS}
EVERY |= {name: pruned(inner) for name, inner in INNER.items()}


@pytest.mark.parametrize("optimizer", EVERY.values(), ids=EVERY)
def test_map_params_finds_what_is_shaped_like_params(optimizer):
    opt_state = optimizer.init(random_params(jnp.float32))
    marked = optax.tree.map_params(optimizer, jnp.zeros_like, opt_state)
    assert jax.tree.structure(marked) == jax.tree.structure(opt_state)
    assert not any(jnp.any(mask) for mask in jax.tree.leaves(masks_of(marked)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda inner: optax.chain(inner, optax.scale(0.5)),
        lambda inner: optax.chain(inner, optax.add_decayed_weights(0.1)),
    ],
    ids=["scale", "weight decay"],
)
def test_a_wrong_order_is_found(wrong):
    optimizer = wrong(pruned(optax.sgd(0.01), sparsity=0.5))
    (_, opt_state), _ = train(optimizer, random_params(jnp.float32), steps=3)
    with pytest.raises(ValueError, match=r"check\(opt_state\): .* in 'float32/kernel' \(24\)\."):
        check(opt_state)


def test_masks_of_needs_one_state():
    both = optax.partition(
        {"first": pruned(optax.sgd(0.1)), "second": pruned(optax.sgd(0.1))},
        {"first": "first", "second": "second"},
    )
    opt_state = both.init({"first": jnp.ones((2, 2)), "second": jnp.ones((2, 2))})
    check(opt_state)
    with pytest.raises(ValueError, match=r"masks_of\(opt_state\) found 2 states"):
        masks_of(opt_state)
    for function in (check, masks_of):
        with pytest.raises(ValueError, match=rf"{function.__name__}\(opt_state\) holds no state"):
            function(optax.sgd(0.1).init(jnp.ones(2)))


def test_the_state_is_what_it_says():
    state = pruned(optax.sgd(0.1)).init(random_params(jnp.float32))
    assert isinstance(state, PruneState)
    assert state.count.dtype == jnp.int32
    np.testing.assert_array_equal(state.leaked, [0, 0])
    assert optax.tree.get(state, "masks") is state.masks


REFUSED_AT_INIT = {
    "integer": ({"codes": jnp.ones((2, 2), int)}, {"select": jc.everything()}, TypeError, "int32"),
    "empty": ({"w": jnp.ones((0, 2))}, {"select": jc.everything()}, ValueError, "no entry"),
    "complex": (
        {"w": jnp.ones((2, 2), jnp.complex64)},
        {"select": jc.everything()},
        TypeError,
        "'w' was asked for by name, but it has dtype complex64",
    ),
    "quantized": ({"w": QTENSORS["int8 per channel"]()}, {}, TypeError, "it is already QTensor"),
    "unused pattern": (KERNEL, {"select": jc.matching("head/*")}, ValueError, "selects no leaf"),
    "unused rule": (KERNEL, {"sparsity": jc.Rules({"head": 0.5})}, ValueError, "matches nothing"),
    "nothing": (
        {"bias": jnp.ones(2)},
        {},
        ValueError,
        r"prune: Target\(select=...\) selects no leaf",
    ),
}


@pytest.mark.parametrize("name", REFUSED_AT_INIT)
def test_params_that_cannot_be_pruned_are_refused(name):
    params, options, error, message = REFUSED_AT_INIT[name]
    with pytest.raises(error, match=message):
        pruned(optax.sgd(0.1), **options).init(params)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, 1.2, np.float32(2), float("nan")])
def test_a_wrong_sparsity_is_refused_when_built(sparsity):
    for amount in (sparsity, jc.Rules({"*": sparsity})):
        with pytest.raises(ValueError, match=rf"Target\(sparsity={float(sparsity)}\) must be in"):
            pruned(optax.sgd(0.1), sparsity=amount)


def test_missing_params_are_refused():
    optimizer = pruned(optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"prune\(...\)\.update.* needs the params"):
        optimizer.update(KERNEL, optimizer.init(KERNEL))


def test_a_line_search_is_refused():
    with pytest.raises(ValueError, match="ScaleByZoomLinesearchState: a line search"):
        pruned(optax.lbfgs()).init(KERNEL)


WRAPPED = {
    "prune": lambda inner: pruned(inner, sparsity=0.5),
    "hold": lambda inner: jc.prune.hold(inner, half()),
}


def half():
    return {"kernel": jnp.arange(128).reshape(8, 16) % 2 == 0}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_step_with_donated_buffers_copies_no_weights(name):
    """A conditional that is not put before the update costs a copy of all params."""
    optimizer = WRAPPED[name](optax.adam(0.01))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, grads):
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    state = optimizer.init(MATRIX)
    text = step.lower(MATRIX, state, MATRIX).compile().as_text()
    _, entry = text.split("ENTRY")
    assert not re.findall(r"\[8,16\]\S* copy\(", entry)
    params = jax.tree.map(jnp.array, MATRIX)
    step(*step(params, state, MATRIX), MATRIX)
