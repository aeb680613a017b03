"""What every optimizer keeps: one table, crossed with one contract."""

import json
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import optimizers
from tests.inputs import QTENSORS, TREES
from tests.optimizers import oracles, torch_trajectories
from tests.optimizers.inputs import random_grads, random_params
from tests.optimizers.table import OPTIMIZERS, every_optimizer, is_matrix


def run(optimizer, params, grads):
    """((params, opt_state), params after each step), by one scan."""

    @jax.jit
    def scan(carry, grads):
        def step(carry, grads):
            params, opt_state = carry
            updates, opt_state = optimizer.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            return (params, opt_state), params

        return jax.lax.scan(step, carry, grads)

    params = jax.tree.map(jnp.asarray, params)
    return scan((params, optimizer.init(params)), grads)


def side_by_side(optimizers) -> optax.GradientTransformation:
    """Each on its own tree, all in one program: that compiles faster than several."""

    def init(params: Any) -> Any:
        return {name: optimizers[name].init(tree) for name, tree in params.items()}

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        both = {
            name: optimizers[name].update(updates[name], state[name], params[name])
            for name in updates
        }
        return tuple({name: pair[i] for name, pair in both.items()} for i in range(2))

    return optax.GradientTransformation(init, update)


ROUNDING = 2.0**-24
STEPS = 100


TORCH = json.loads(torch_trajectories.FILE.read_text())


@every_optimizer
def test_a_hundred_steps_are_those_of_numpy_of_optax_and_of_torch(case):
    """The rounding of float32: a few units in the last place of the way gone so far.

    optax runs in float64, since its own 1 - b^t is off by 2e-5 at first; torch did so
    when its steps were stored.
    """
    params = random_params()
    grads = random_grads(STEPS, params)
    _, history = run(case(2.0**-6), params, grads)
    expected = oracles.trajectory(case.plain, 2.0**-6, params, grads)
    wide = {}
    if case.optax is not None:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            doubles = [jax.tree.map(lambda x: x.astype(np.float64), x) for x in (params, grads)]
            _, wide = run(case.optax(2.0**-6), *doubles)
            wide = jax.tree.map(np.asarray, wide)
    for name in params:
        way = np.cumsum(np.abs(np.diff(expected[name], axis=0, prepend=params[name][None])), axis=0)
        largest = np.maximum.accumulate(np.abs(expected[name]), axis=0)
        steps = np.arange(1, STEPS + 1).reshape(-1, *[1] * params[name].ndim)
        # Each sum rounds the weight once; each update is off by a few roundings.
        bound = ROUNDING * (steps * largest + case.roundings * way)
        assert np.all(np.abs(history[name] - np.stack(expected[name])) <= bound)
        if wide:
            np.testing.assert_allclose(np.stack(expected[name]), wide[name], rtol=1e-9, atol=1e-12)
        for step, stored in TORCH["optimizers"].get(case.name, {}).items():
            ours = expected[name][int(step) - 1]
            np.testing.assert_allclose(ours, stored[name], rtol=1e-9, atol=1e-12)


def test_every_trajectory_of_torch_is_compared():
    assert set(TORCH["optimizers"]) <= {case.name for case in OPTIMIZERS}
    assert TORCH["rate"] == 2.0**-6


FEATURES = np.random.default_rng(2).standard_normal((24, 2)).astype(np.float32)
LABELS = (FEATURES @ [1.0, -0.5] + np.random.default_rng(3).standard_normal(24) > 0) * 2.0 - 1.0
START = {"quadratic": [3.0, -2.0], "rosenbrock": [-1.2, 1.0], "logistic": [0.0, 0.0]}


def losses(params) -> dict:
    """Convex, a bent valley, and noisy labels; the least of each is known."""
    x, y = params["rosenbrock"]
    margins = LABELS.astype(np.float32) * jnp.sum(FEATURES * params["logistic"][None], axis=1)
    return {
        "quadratic": jnp.sum(jnp.array([1.0, 10.0]) * params["quadratic"] ** 2) / 2,
        # A hundredth of it, so that plain steps of 0.1 are short enough.
        "rosenbrock": (100 * (y - x * x) ** 2 + (1 - x) ** 2) / 100,
        "logistic": jnp.mean(jnp.logaddexp(0.0, -margins)),
    }


def least_logistic_loss() -> float:
    """By Newton's method, in float64."""
    w = np.zeros(2)
    for _ in range(30):
        chance = 1 / (1 + np.exp(LABELS * (FEATURES @ w)))
        gradient = -(LABELS * chance) @ FEATURES
        w -= np.linalg.solve((FEATURES.T * (chance * (1 - chance))) @ FEATURES, gradient)
    return float(np.mean(np.logaddexp(0, -LABELS * (FEATURES @ w))))


LEAST = {"quadratic": 0.0, "rosenbrock": 0.0, "logistic": least_logistic_loss()}


@every_optimizer
def test_it_converges(case):
    optimizer = case(optax.cosine_decay_schedule(case.rate, case.steps))

    @jax.jit
    def train(params):
        def step(carry, _):
            params, opt_state = carry
            grads = jax.grad(lambda params: sum(losses(params).values()))(params)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=case.steps)
        return losses(params)

    start = jax.tree.map(jnp.float32, START, is_leaf=lambda node: isinstance(node, list))
    first, last = losses(start), train(start)
    for name, least in LEAST.items():
        # A thousandth of the way is left.
        assert last[name] - least < 1e-3 * (first[name] - least), name


def in_bfloat16(optimizer):
    return optimizers.quantize_state(optimizer, optimizers.bfloat16(), select=jc.everything())


NARROW = {np.dtype(dtype).name: dtype for dtype in (np.float32, jnp.bfloat16, np.float16)}
SIZES = [0.0, 0.0, 6e-8, 0.0, 1e-30, 1e-6, 1e-3, 1.0, 1.0, 1.0, -6e4, 6e4, 0.0, 0.0]


@every_optimizer
def test_narrow_dtypes_stay_finite(case):
    """Zero and tiny gradients, large ones after small ones, in strict promotion."""
    states = {"float32": case(1e-3)}
    if case.by_number:
        states["bfloat16"] = in_bfloat16(case(1e-3))
    params = {name: jnp.full((2, 2), 0.5, dtype) for name, dtype in NARROW.items()}
    grads = {
        name: np.stack([np.full((2, 2), size, dtype) for size in SIZES])
        for name, dtype in NARROW.items()
    }

    with jax.numpy_dtype_promotion("strict"):
        outcome = run(
            side_by_side(states), dict.fromkeys(states, params), dict.fromkeys(states, grads)
        )
    (last, opt_state), history = jax.device_get(outcome)
    for leaf in jax.tree.leaves((history, opt_state)):
        assert np.all(np.isfinite(leaf.astype(np.float32)))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(opt_state["float32"]) if leaf.ndim} <= {
        "float32"
    }
    for state in states:
        assert {name: leaf.dtype.name for name, leaf in last[state].items()} == {
            name: name for name in NARROW
        }
        for leaf in history[state].values():
            # Before the first gradient that is not zero only a decay moves weights.
            assert np.all(np.abs(leaf[:2].astype(np.float32) - 0.5) <= 2e-4)


@pytest.mark.parametrize(
    "case", [case for case in OPTIMIZERS if case.by_number], ids=lambda case: case.name
)
def test_moments_in_bfloat16_are_rounded_to_nearest_once_a_step(case):
    """Else each step is the plain optimizer's, bit for bit where XLA fuses nothing."""
    plain, rounding = case(0.01), in_bfloat16(case(0.01))
    params = jax.tree.map(jnp.asarray, random_params())
    state, stored = plain.init(params), rounding.init(params)
    leaves, structure = jax.tree.flatten(state)
    coded = [
        isinstance(node, optimizers.Stored)
        for node in structure.flatten_up_to(cast(Any, stored).inner)
    ]
    assert all(coarse or leaf.shape != (3, 2) for leaf, coarse in zip(leaves, coded, strict=True))

    def rounded(state):
        return structure.unflatten(
            leaf.astype(jnp.bfloat16).astype(jnp.float32) if coarse else leaf
            for leaf, coarse in zip(jax.tree.leaves(state), coded, strict=True)
        )

    for count in range(3):
        grads = jax.tree.map(lambda leaf: leaf[count], random_grads(3, params))  # noqa: B023
        updates, state = plain.update(grads, rounded(state), params)
        found, stored = rounding.update(grads, stored, params)
        jax.tree.map(np.testing.assert_array_equal, found, updates)


@every_optimizer
def test_updates_have_the_dtype_of_the_gradients(case):
    for rate in (0.1, jnp.float32(0.1), optax.constant_schedule(0.1)):
        optimizer = case(rate)
        params = {name: jnp.ones((1, 1), dtype) for name, dtype in NARROW.items()}
        outline = jax.eval_shape(lambda p, o=optimizer: o.update(p, o.init(p), p)[0], params)
        assert {name: leaf.dtype.name for name, leaf in outline.items()} == {n: n for n in NARROW}


def wrapped(case, rate):
    """What optax has around a transformation, each leaving the kernel to it."""
    labels = {"kernel": "ours", "bias": "other"}
    return {
        "masked": optax.chain(optax.identity(), optax.masked(case(rate), is_matrix)),
        "partition": optax.partition({"ours": case(rate), "other": optax.set_to_zero()}, labels),
        "injected": optax.inject_hyperparams(case.make, case.static)(
            learning_rate=rate, **case.options
        ),
    }


@every_optimizer
def test_optax_goes_around_it(case):
    params = jax.tree.map(jnp.asarray, random_params())
    grads = random_grads(6, params)
    around = wrapped(case, 2.0**-6) | {
        "plain": case(2.0**-6),
        "several": optax.MultiSteps(case(2.0**-6), 2).gradient_transformation(),
    }
    seen = dict.fromkeys(around, grads)
    seen["several"] = jax.tree.map(lambda leaf: np.repeat(leaf[:3], 2, axis=0), grads)
    with jax.numpy_dtype_promotion("standard"):
        _, histories = run(side_by_side(around), dict.fromkeys(around, params), seen)
    plain, slow = histories["plain"], histories.pop("several")
    # Six sums of weights below 4, and hyperparameters that are rounded to float32.
    bound = 64 * ROUNDING
    for history in histories.values():
        np.testing.assert_allclose(history["kernel"], plain["kernel"], rtol=0, atol=bound)
    np.testing.assert_allclose(histories["injected"]["bias"], plain["bias"], rtol=0, atol=bound)
    np.testing.assert_array_equal(histories["partition"]["bias"], np.tile(params["bias"], (6, 1)))
    np.testing.assert_allclose(slow["kernel"][1::2], plain["kernel"][:3], rtol=0, atol=bound)


@every_optimizer
def test_one_trace_and_a_run_may_be_resumed(case):
    params = jax.tree.map(jnp.asarray, random_params())
    optimizer, traces = case(optax.linear_schedule(0.1, 0.0, 8)), []

    @jax.jit
    def step(params, opt_state, grads):
        traces.append(None)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    grads = random_grads(8, params)
    carry, stored = (params, optimizer.init(params)), None
    for count in range(8):
        if count == 3:
            stored = jax.tree.map(np.array, carry)
        carry = step(*carry, jax.tree.map(lambda leaf: leaf[count], grads))  # noqa: B023
    resumed = jax.tree.map(jnp.asarray, stored)
    for count in range(3, 8):
        resumed = step(*resumed, jax.tree.map(lambda leaf: leaf[count], grads))  # noqa: B023
    jax.tree.map(np.testing.assert_array_equal, resumed, carry)
    assert len(traces) == 1


@every_optimizer
def test_eight_devices_give_what_one_gives(case, mesh):
    params = random_params(rows=8)
    grads = random_grads(5, params)
    optimizer = case(2.0**-6)
    _, alone = run(optimizer, params, grads)
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        devices = mesh(rows=8, axis_type=axis_type)
        place = {"kernel": NamedSharding(devices, P("rows")), "bias": NamedSharding(devices, P())}
        later = place | {"kernel": NamedSharding(devices, P(None, "rows"))}
        with jax.set_mesh(devices):
            placed = jax.device_put(params, place)
            started = optimizer.init(placed)
            (_, opt_state), history = run(optimizer, placed, jax.device_put(grads, later))
        for leaf in jax.tree.leaves((started, opt_state)):
            assert leaf.shape != (8, 2) or leaf.sharding.is_equivalent_to(place["kernel"], 2)
        for name in params:
            # Two programs may round each step's sum below 4 differently by one unit.
            np.testing.assert_allclose(history[name], alone[name], rtol=0, atol=5 * 2.0**-22)


@every_optimizer
def test_map_params_finds_the_moments(case):
    optimizer = case(0.1)
    opt_state = optimizer.init(random_params())
    marked = optax.tree.map_params(optimizer, jnp.ones_like, opt_state)
    assert jax.tree.structure(marked) == jax.tree.structure(opt_state)
    assert all(bool(jnp.all(leaf == 1)) for leaf in jax.tree.leaves(marked) if leaf.ndim)


@pytest.mark.parametrize("container", TREES)
def test_every_container_is_trained(container):
    params = TREES[container]()
    optimizer = optimizers.adamw(0.1)
    updates, opt_state = jax.eval_shape(lambda p: optimizer.update(p, optimizer.init(p), p), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    first = optax.tree.get(opt_state, "first_moment")
    assert jax.tree.structure(first) == jax.tree.structure(params)


def test_scalars_and_empty_leaves_are_trained():
    params = {"scalar": jnp.float32(1.0), "empty": jnp.zeros((0, 3)), "none": None}
    optimizer = optimizers.adam(0.1)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert cast(Any, updates)["empty"].shape == (0, 3)
    np.testing.assert_allclose(cast(Any, updates)["scalar"], -0.1, rtol=1e-6)


REFUSED = {
    "integer": (jnp.ones(2, int), r"leaf 'codes' has dtype int32; only real floating leaves train"),
    "complex": (jnp.ones(2, jnp.complex64), r"leaf 'codes' has dtype complex64; complex params"),
    "quantized": (QTENSORS["int8 per channel"], r"leaf 'codes' is a QTensor"),
    "no array": (lambda: jax.nn.relu, r"leaf 'codes' (of the params )?is a custom_jvp, no array"),
    "text": (np.array("relu"), r"leaf 'codes' has dtype <U4; only real floating leaves train"),
}


@every_optimizer
@pytest.mark.parametrize("kind", REFUSED)
def test_params_that_cannot_be_trained_are_refused(case, kind):
    leaf, message = REFUSED[kind]
    params = {"codes": leaf() if callable(leaf) else leaf, "kernel": jnp.ones((2, 2))}
    with pytest.raises(TypeError, match=message):
        case(0.1).init(params)
    kept = jc.partition(params, lambda tree: {"codes": False, "kernel": True})[0]
    case(0.1).init(kept)


BELOW_ONE = ("momentum", "decay", "b1", "b2")
NOT_NEGATIVE = ("learning_rate", "eps", "eps_root", "initial", "weight_decay")


@every_optimizer
def test_wrong_numbers_and_arrays_of_them_are_refused_when_built(case):
    name = case.make.__name__
    arguments = {"learning_rate": 0.1} | dict.fromkeys(case.make.__kwdefaults__ or {})
    for argument in arguments:
        values = [1.0, -0.1, float("nan")] if argument in BELOW_ONE else [-0.1, float("nan")]
        for value in values if argument in BELOW_ONE + NOT_NEGATIVE else ():
            for wrong in (value, jnp.float32(value)):
                with pytest.raises(ValueError, match=rf"^{name}\({argument}={value}\) must be "):
                    case.make(**{"learning_rate": 0.1} | {argument: wrong})


@every_optimizer
def test_decays_rounded_to_a_narrow_dtype_are_refused(case):
    """As `inject_hyperparams` makes them of 0.999 for bfloat16 params, if not told."""
    for argument in set(case.make.__kwdefaults__ or {}) & set(BELOW_ONE):
        message = rf"^{case.make.__name__}\({argument}=...\) is an array of dtype bfloat16"
        with pytest.raises(ValueError, match=message):
            case.make(0.1, **{argument: jnp.bfloat16(0.9)})
    optimizer = optax.inject_hyperparams(case.make, case.static, hyperparam_dtype=jnp.float32)(0.1)
    params = jnp.ones((2, 2), jnp.bfloat16)
    outline = jax.eval_shape(lambda p: optimizer.update(p, optimizer.init(p), p)[0], params)
    assert outline.dtype == jnp.bfloat16


FACTORIES = [
    (optimizers.scale_by_heavy_ball, "momentum", 1.5),
    (optimizers.scale_by_nesterov, "momentum", -0.5),
    (optimizers.scale_by_adagrad, "initial", -1.0),
    (optimizers.scale_by_rmsprop, "decay", 1.0),
    (optimizers.scale_by_centered_rmsprop, "eps", -1.0),
    (optimizers.scale_by_adam, "b2", 1.0),
    (optimizers.scale_by_nadam, "b1", 1.0),
    (optimizers.scale_by_amsgrad, "eps_root", -1.0),
    (optimizers.scale_by_lion, "b1", 2.0),
    (optimizers.scale_by_factored, "exponent", -1.0),
    (optimizers.scale_by_factored, "limit", 0.0),
    (optimizers.scale_by_adam_mini, "b2", 1.0),
    (optimizers.scale_by_muon, "momentum", 1.0),
    (optimizers.scale_by_muon, "eps", -1.0),
    (optimizers.scale_by_soap, "b2", 1.0),
    (optimizers.scale_by_shampoo, "retention", 1.5),
    (optimizers.scale_by_shampoo, "ridge", 0.0),
]


@pytest.mark.parametrize(("make", "argument", "value"), FACTORIES)
def test_the_parts_check_their_numbers_too(make, argument, value):
    with pytest.raises(ValueError, match=rf"^{make.__name__}\({argument}={value}\) must be "):
        make(**{argument: value})
