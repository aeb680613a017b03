"""Optimizers that keep a second set of params: the one to evaluate."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import optimizers
from tests.inputs import TREES
from tests.optimizers import oracles
from tests.optimizers.test_contract import (
    LEAST,
    NARROW,
    REFUSED,
    ROUNDING,
    SIZES,
    START,
    is_matrix,
    losses,
    random_grads,
    random_params,
    side_by_side,
)


def numpy_schedule_free(direction, b1=0.9, warmup=1):
    """The params that train, and x, after each step; all in float64."""

    def run(rate, w, grads):
        x, y, z, total, memory = w, w, w, 0.0, {}
        for t, g in enumerate(grads, start=1):
            step = rate * min(1.0, t / warmup)
            z = z - step * direction(t, g, y, memory)
            total += step**2
            x = (1 - step**2 / total) * x + step**2 / total * z
            y = (1 - b1) * z + b1 * x
            yield y, x

    return run


def numpy_lookahead(direction, every, share):
    def run(rate, w, grads):
        slow, memory = w, {}
        for t, g in enumerate(grads, start=1):
            w = w - rate * direction(t, g, w, memory)
            if t % every == 0:
                slow = w = slow + share * (w - slow)
            yield w, slow

    return run


def numpy_averaged(direction, decay):
    def run(rate, w, grads):
        total, weights, memory = 0.0, 0.0, {}
        for t, g in enumerate(grads, start=1):
            w = w - rate * direction(t, g, w, memory)
            total, weights = decay * total + w, decay * weights + 1
            yield w, total / weights

    return run


class Case(NamedTuple):
    """An optimizer with its loop in NumPy; `rate` and `steps` are to converge with."""

    name: str
    make: Callable
    options: dict
    plain: Callable
    optax: Callable | None = None
    rate: float = 0.1
    steps: int = 4000

    def __call__(self, learning_rate):
        return self.make(learning_rate, **self.options)


def lookahead_adam(learning_rate, *, every=5, rate=0.5):
    return optimizers.lookahead(optimizers.adam(learning_rate), every=every, rate=rate)


def averaged_sgd(learning_rate, *, decay=0.999):
    return optimizers.averaged(optimizers.sgd(learning_rate), decay)


CASES = [
    Case(
        "schedule-free sgd",
        optimizers.schedule_free_sgd,
        {},
        numpy_schedule_free(oracles.sgd()),
        optax.contrib.schedule_free_sgd,
        rate=0.5,
    ),
    Case(
        "schedule-free adamw",
        optimizers.schedule_free_adamw,
        {},
        numpy_schedule_free(oracles.adam(b1=0.0)),
        optax.contrib.schedule_free_adamw,
        rate=0.3,
    ),
    Case("lookahead", lookahead_adam, {"every": 3}, numpy_lookahead(oracles.adam(), 3, 0.5)),
    Case(
        "averaged", averaged_sgd, {"decay": 0.9}, numpy_averaged(oracles.sgd(), 0.9), steps=16_000
    ),
]
VARIANTS = [
    Case(
        "schedule-free sgd with warm-up and decay",
        optimizers.schedule_free_sgd,
        {"b1": 0.75, "warmup": 16, "weight_decay": 0.1},
        numpy_schedule_free(lambda t, g, w, m: g + 0.1 * w * (w.ndim > 1), 0.75, 16),
    ),
    Case(
        "schedule-free adamw with decay",
        optimizers.schedule_free_adamw,
        {"b2": 0.99, "eps": 1e-6, "weight_decay": 0.1, "warmup": 4},
        numpy_schedule_free(oracles.adam(0.0, 0.99, 1e-6, decay=0.1), warmup=4),
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
EACH_KIND = CASES[1:]
"""One for each state: the schedule-free optimizers share theirs."""
every_kind = pytest.mark.parametrize("case", EACH_KIND, ids=lambda case: case.name)


def run(optimizer, params, grads, evaluation=optimizers.evaluation_params):
    """((params, opt_state), (params, evaluated ones) after each step), by one scan."""

    @jax.jit
    def scan(carry, grads):
        def step(carry, grads):
            params, opt_state = carry
            updates, opt_state = optimizer.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            return (params, opt_state), (params, evaluation(opt_state, params))

        return jax.lax.scan(step, carry, grads)

    params = jax.tree.map(jnp.asarray, params)
    return scan((params, optimizer.init(params)), grads)


STEPS = 100


@pytest.mark.parametrize("case", CASES + VARIANTS, ids=lambda case: case.name)
def test_a_hundred_steps_are_those_of_numpy_and_of_optax(case):
    """optax runs in float64 and takes the last params to evaluate from its state."""
    rate, params = 2.0**-6, random_params()
    grads = random_grads(STEPS, params)
    _, histories = run(case(rate), params, grads)
    wide = {}
    if case.optax is not None:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            doubles = [jax.tree.map(lambda x: x.astype(np.float64), x) for x in (params, grads)]
            read = optax.contrib.schedule_free_eval_params
            wide = jax.tree.map(np.asarray, run(case.optax(rate), *doubles, evaluation=read)[1])
    for name, start in params.items():
        path = list(case.plain(rate, start.astype(float), grads[name].astype(float)))
        for place, expected in enumerate(np.stack(path, axis=1)):
            way = np.cumsum(np.abs(np.diff(expected, axis=0, prepend=start[None])), axis=0)
            largest = np.maximum.accumulate(np.abs(expected), axis=0)
            steps = np.arange(1, STEPS + 1).reshape(-1, *[1] * start.ndim)
            # A step rounds z, x, y and the param; the other point is up to `way` away.
            bound = 4 * ROUNDING * steps * (largest + way)
            assert np.all(np.abs(histories[place][name] - expected) <= bound)
            if wide:
                np.testing.assert_allclose(expected, wide[place][name], rtol=1e-9, atol=1e-12)


@every_case
def test_what_is_to_evaluate_converges(case):
    optimizer = case(case.rate)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, opt_state = carry
            grads = jax.grad(lambda params: sum(losses(params).values()))(params)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        carry, _ = jax.lax.scan(step, (params, optimizer.init(params)), length=case.steps)
        return losses(optimizers.evaluation_params(carry[1], carry[0]))

    start = jax.tree.map(jnp.float32, START, is_leaf=lambda node: isinstance(node, list))
    first, last = losses(start), train(start)
    for name, least in LEAST.items():
        # A thousandth of the way is left; these params are vectors, which do not decay.
        assert last[name] - least < 1e-3 * (first[name] - least), name


def nested(rate) -> optax.GradientTransformationExtraArgs:
    """Every state within another."""
    fast = optimizers.schedule_free_adamw(rate)
    return optimizers.averaged(optimizers.lookahead(fast, every=2), 0.9)


def each_kind(rate) -> dict:
    return {case.name: case(rate) for case in EACH_KIND}


def evaluated_each(opt_states, trees) -> dict:
    return {
        name: optimizers.evaluation_params(opt_states[name], tree) for name, tree in trees.items()
    }


def test_narrow_params_stay_finite_and_keep_their_dtypes():
    """Zero and tiny gradients, large ones after small ones, in strict promotion."""
    params = {name: jnp.full(3, 0.5, dtype) for name, dtype in NARROW.items()}
    grads = {
        name: np.stack([np.full(3, size, dtype) for size in SIZES])
        for name, dtype in NARROW.items()
    }
    cases = each_kind(1e-3)
    trees = (dict.fromkeys(cases, tree) for tree in (params, grads))
    with jax.numpy_dtype_promotion("strict"):
        (_, opt_state), histories = run(side_by_side(cases), *trees, evaluated_each)
    for leaf in jax.tree.leaves((histories, opt_state)):
        assert np.all(np.isfinite(leaf.astype(np.float32)))
    assert {leaf.dtype for leaf in jax.tree.leaves(opt_state) if leaf.ndim} == {np.dtype("f4")}
    for history in histories:
        for trained in history.values():
            assert {name: leaf.dtype.name for name, leaf in trained.items()} == {
                name: name for name in NARROW
            }
            for leaf in trained.values():
                np.testing.assert_array_equal(leaf[:2].astype(np.float32), 0.5)


def test_narrow_params_lose_nothing_of_x():
    """The gradients are given, so params of every dtype go one way: x is the same."""
    sizes = np.float32([2.0**-6, -(2.0**-5), 0.5, 1.0] * 8)
    params = {name: jnp.full(3, 0.5, dtype) for name, dtype in NARROW.items()}
    grads = {
        name: np.stack([np.full(3, size, dtype) for size in sizes])
        for name, dtype in NARROW.items()
    }
    (last, opt_state), _ = run(optimizers.schedule_free_adamw(2.0**-10), params, grads)
    average = opt_state.average(last)
    for name, dtype in NARROW.items():
        # float32 params recover x from y and z; the others have it in the state.
        np.testing.assert_allclose(
            average[name], average["float32"], rtol=0, atol=4 * len(sizes) * ROUNDING
        )
        # The step has the gradient's dtype too: it is rounded, and so is the sum.
        drift = np.abs(last[name].astype(np.float32) - last["float32"])
        assert np.all(drift <= jnp.finfo(dtype).eps)


@every_kind
def test_optax_goes_around_it_and_the_average_is_found(case):
    params = jax.tree.map(jnp.asarray, random_params())
    grads = random_grads(6, params)
    labels = {"kernel": "first", "bias": "second"}
    around = {
        "plain": case(2.0**-6),
        "masked": optax.chain(optax.identity(), optax.masked(case(2.0**-6), is_matrix)),
        "partition": optax.partition({"first": case(2.0**-6), "second": case(2.0**-6)}, labels),
        "injected": optax.inject_hyperparams(case.make, hyperparam_dtype=jnp.float32)(
            learning_rate=2.0**-6, **case.options
        ),
        "several": optax.MultiSteps(case(2.0**-6), 2).gradient_transformation(),
    }
    seen = dict.fromkeys(around, grads)
    seen["several"] = jax.tree.map(lambda leaf: np.repeat(leaf[:3], 2, axis=0), grads)

    with jax.numpy_dtype_promotion("standard"):
        both = side_by_side(around)
        _, histories = run(both, dict.fromkeys(around, params), seen, evaluated_each)
    # Six sums of numbers below 4, and hyperparameters that are rounded to float32.
    bound = 64 * ROUNDING
    for history in histories:
        plain, masked = history["plain"], history["masked"]
        np.testing.assert_allclose(masked["kernel"], plain["kernel"], rtol=0, atol=bound)
        for name, expected in plain.items():
            for other in ("partition", "injected"):
                np.testing.assert_allclose(history[other][name], expected, rtol=0, atol=bound)
            slow = history["several"][name][1::2]
            np.testing.assert_allclose(slow, expected[:3], rtol=0, atol=bound)
    # What a mask leaves out is evaluated as it is.
    trained, evaluated = (history["masked"]["bias"] for history in histories)
    np.testing.assert_array_equal(trained, evaluated)


def test_one_trace_donated_and_a_run_may_be_resumed():
    optimizer, traces = nested(optax.linear_schedule(0.1, 0.0, 8)), []

    def step(carry, grads):
        traces.append(None)
        params, opt_state = carry
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    donated = jax.jit(step, donate_argnums=0)
    params = random_params() | {"half": np.ones((2, 2), np.float16)}
    grads = random_grads(6, params)
    params = jax.tree.map(jnp.asarray, params)
    carry, stored = (params, optimizer.init(params)), None
    for count in range(6):
        if count == 2:
            stored = jax.tree.map(np.array, carry)
        carry = donated(carry, jax.tree.map(lambda leaf: leaf[count], grads))  # noqa: B023
    resumed = jax.tree.map(jnp.asarray, stored)
    for count in range(2, 6):
        resumed = donated(resumed, jax.tree.map(lambda leaf: leaf[count], grads))  # noqa: B023
    jax.tree.map(np.testing.assert_array_equal, resumed, carry)
    assert len(traces) == 1


def test_eight_devices_give_what_one_gives(mesh):
    optimizer, params = nested(2.0**-6), random_params(rows=8)
    grads = random_grads(5, params)
    _, alone = run(optimizer, params, grads)
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        devices = mesh(rows=8, axis_type=axis_type)
        place = {"kernel": NamedSharding(devices, P("rows")), "bias": NamedSharding(devices, P())}
        later = place | {"kernel": NamedSharding(devices, P(None, "rows"))}
        with jax.set_mesh(devices):
            placed = jax.device_put(params, place)
            started = optimizer.init(placed)
            (_, opt_state), histories = run(optimizer, placed, jax.device_put(grads, later))
        for leaf in jax.tree.leaves((started, opt_state)):
            assert leaf.shape != (8, 2) or leaf.sharding.is_equivalent_to(place["kernel"], 2)
        for history, expected in zip(histories, alone, strict=True):
            for name in params:
                # Two programs may round a step's sum below 4 by one unit differently.
                np.testing.assert_allclose(history[name], expected[name], rtol=0, atol=5 * 2.0**-22)


@pytest.mark.parametrize("container", TREES)
def test_every_container_has_params_to_evaluate(container):
    params = TREES[container]()

    def evaluated(params):
        opt_state = both.init(params)
        updates, opt_state = both.update(params, opt_state, params)
        return optimizers.evaluation_params(opt_state, optax.apply_updates(params, updates))

    for case in EACH_KIND:
        both = optax.chain(optax.identity(), case(0.1))
        outline = jax.eval_shape(evaluated, params)
        assert jax.tree.structure(outline) == jax.tree.structure(params)


@every_kind
def test_map_params_finds_what_stands_for_params(case):
    params = random_params()
    opt_state = case(0.1).init(params)
    names = {name: name for name in params}
    marked = optax.tree.map_params(
        case(0.1), lambda _, name: name, opt_state, names, transform_non_params=lambda _: None
    )
    found = [leaf for leaf in jax.tree.leaves(marked) if isinstance(leaf, str)]
    assert found
    assert set(found) == set(params)


@every_kind
@pytest.mark.parametrize("kind", REFUSED)
def test_params_that_cannot_be_trained_are_refused(case, kind):
    leaf, message = REFUSED[kind]
    params = {"codes": leaf() if callable(leaf) else leaf, "kernel": jnp.ones((2, 2))}
    with pytest.raises(TypeError, match=message):
        case(0.1).init(params)


def test_masks_are_for_the_caller_to_apply():
    optimizer = jc.prune.prune(nested(0.1), jc.prune.criteria.magnitude(), 0.5)
    params = {"kernel": jnp.array([[0.5, -1.0, 2.0, -0.25]])}
    opt_state, step = optimizer.init(params), jax.jit(optimizer.update)
    for _ in range(7):
        updates, opt_state = step({"kernel": jnp.ones((1, 4))}, opt_state, params)
        params = optax.apply_updates(params, updates)
    masks = jc.prune.masks_of(opt_state)
    evaluated = jc.prune.apply(masks, optimizers.evaluation_params(opt_state, params))
    for tree in (params, evaluated):
        assert (tree["kernel"] != 0).tolist() == [[False, True, True, False]]


def test_of_averages_within_each_other_the_outer_one_is_read():
    params = jnp.ones(2)
    inner = optimizers.schedule_free_sgd(0.5)
    both = optimizers.averaged(inner, 0.0)
    updates, opt_state = both.update(params, both.init(params), params)
    moved = optax.apply_updates(params, updates)
    np.testing.assert_allclose(optimizers.evaluation_params(opt_state, moved), moved)


def test_extra_arguments_go_to_the_inner_transformation():
    inner = optax.GradientTransformationExtraArgs(
        lambda params: (),
        lambda updates, state, params=None, *, factor: (updates * factor, state),
    )
    for optimizer, first in (
        (optimizers.schedule_free(inner, 0.5), -1.5),
        (optimizers.lookahead(inner), 3.0),
        (optimizers.averaged(inner), 3.0),
    ):
        params = jnp.zeros(1)
        updates, _ = optimizer.update(jnp.ones(1), optimizer.init(params), params, factor=3.0)
        assert updates.tolist() == [first]


def test_schedule_free_keeps_no_more_than_adam():
    params = {"kernel": jnp.zeros((64, 32)), "bias": jnp.zeros(32)}
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)

    def size(optimizer, params):
        return jc.storage.size(optimizer.init(params)).memory

    number, scalars = 4 * (64 * 32 + 32), 64
    for tree, adamw, sgd in ((params, 2, 1), (half, 3, 2)):
        for optimizer, copies in (
            (optimizers.schedule_free_adamw(0.1), adamw),
            (optimizers.schedule_free_sgd(0.1), sgd),
        ):
            assert 0 < size(optimizer, tree) - copies * number <= scalars
    assert size(optimizers.adam(0.1), params) - 2 * number <= scalars


WRONG = [
    *(
        (partial(make, learning_rate=0.1), argument, value)
        for make in (optimizers.schedule_free_sgd, optimizers.schedule_free_adamw)
        for argument, value in (
            ("learning_rate", -0.1),
            ("b1", 1.0),
            ("b1", 0.0),
            ("weight_decay", -0.1),
            ("warmup", -1),
        )
    ),
    (partial(optimizers.schedule_free_adamw, 0.1), "b2", 1.0),
    (partial(optimizers.schedule_free_adamw, 0.1), "eps", -1.0),
    (partial(optimizers.schedule_free, optax.identity(), 0.1), "b1", 0.0),
    (partial(optimizers.lookahead, optax.sgd(0.1)), "every", 0),
    (partial(optimizers.lookahead, optax.sgd(0.1)), "rate", 1.5),
    (partial(optimizers.averaged, optax.sgd(0.1)), "decay", 1.0),
]


@pytest.mark.parametrize(("make", "argument", "value"), WRONG)
def test_wrong_numbers_are_refused_when_built(make, argument, value):
    with pytest.raises(ValueError, match=rf"^\w+\({argument}={value}\) must be "):
        make(**{argument: value})


def test_what_is_missing_is_said():
    params = jnp.ones((2, 2))
    for case in CASES:
        optimizer = case(0.1)
        with pytest.raises(ValueError, match=r"update\(updates, state, params\) needs the params"):
            optimizer.update(params, optimizer.init(params))
    with pytest.raises(ValueError, match=r"^evaluation_params\(opt_state, params\) finds no state"):
        optimizers.evaluation_params(optax.adam(0.1).init(params), params)
