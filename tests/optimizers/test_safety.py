"""Gradients that stay safe: clipping by unit, guard, loss scaling, monitor, noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import optimizers
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.names import named_leaves
from jaxcompress.optimizers.safety.guard import check_order
from tests.inputs import ARRAYS, TREES, plain_dict


def updated(transform, updates, params):
    """The first updates, as one program: that compiles faster than its parts."""
    return jax.jit(lambda u, p: transform.update(u, transform.init(p), p)[0])(updates, params)


def transforms() -> dict:
    """Every safe-gradient transformation around or before plain steps."""
    return {
        "clip_units": optax.chain(optimizers.clip_units(0.1), optax.sgd(0.1)),
        "skip_nonfinite": optimizers.skip_nonfinite(optimizers.adam(0.1)),
        "dynamic_loss_scale": optimizers.dynamic_loss_scale(optimizers.adam(0.1), interval=2),
        "monitor": optimizers.monitor(optimizers.adam(0.1)),
        "gradient_noise": optax.chain(
            optimizers.gradient_noise(jax.random.key(0)), optimizers.sgd(0.1)
        ),
        "l1": optax.chain(optimizers.l1(0.1), optimizers.adam(0.1)),
        "l2": optax.chain(optimizers.l2(0.1), optimizers.adam(0.1)),
        "all": optimizers.monitor(
            optimizers.skip_nonfinite(
                optax.chain(
                    optimizers.gradient_noise(jax.random.key(0)),
                    optimizers.clip_units(0.1),
                    optimizers.adamw(0.1),
                )
            )
        ),
    }


SMALL = {"kernel": np.float32([[0.5, -1.5], [2.0, 0.25]]), "bias": np.float32([1.0, -1.0])}
every_transform = pytest.mark.parametrize("name", transforms())


def forms(tree):
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


@every_transform
def test_one_trace_one_form_and_a_run_may_be_resumed(name):
    optimizer, traces = transforms()[name], []
    params = SMALL | {"half": np.ones((2, 2), np.float16)}

    @jax.jit
    def step(carry):
        traces.append(None)
        params, opt_state = carry
        grads = jax.tree.map(jnp.sin, params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    params = jax.tree.map(jnp.asarray, params)
    carry = (params, jax.jit(optimizer.init)(params))
    kept, outline = carry, forms(carry)
    for count in range(5):
        carry = step(carry)
        assert forms(carry) == outline
        kept = carry if count == 1 else kept
    for _ in range(3):
        kept = step(kept)
    for ours, theirs in zip(*map(jax.tree.leaves, (kept, carry)), strict=True):
        if not jax.dtypes.issubdtype(ours.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(ours, theirs)
    assert len(traces) == 1


@every_transform
def test_optax_goes_around_it(name):
    def is_matrix(params):
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    kinds = {True: transforms()[name], False: optax.set_to_zero()}
    around = [
        transforms()[name],
        optax.MultiSteps(transforms()[name], 1),
        optax.chain(optax.masked(transforms()[name], is_matrix), optax.identity()),
        optax.partition(kinds, is_matrix),
    ]
    grads = jax.tree.map(np.cos, SMALL)
    plain, *others = jax.jit(lambda g, p: [updated(each, g, p) for each in around])(grads, SMALL)
    for updates in others:
        assert forms(updates) == forms(plain)
        # Noise has one key per leaf, which depends on how many there are.
        if name not in ("gradient_noise", "all") or updates is others[0]:
            np.testing.assert_allclose(updates["kernel"], plain["kernel"], rtol=0, atol=1e-6)


@every_transform
@pytest.mark.parametrize("container", TREES)
def test_every_container(name, container):
    params = TREES[container]()
    outline = jax.eval_shape(lambda p: updated(transforms()[name], p, p), params)
    assert jax.tree.structure(outline) == jax.tree.structure(params)


@every_transform
def test_integers_are_refused(name):
    with pytest.raises(TypeError, match=r": leaf 'steps' has dtype int32; only real floating"):
        transforms()[name].init({"steps": jnp.ones(2, int)})


def clipped(gradient, weight, limit, eps, within):
    g, w = (np.asarray(x, np.float64) for x in (gradient, weight))
    length = np.sqrt((g**2).sum(axis=within, keepdims=True))
    longest = limit * np.maximum(np.sqrt((w**2).sum(axis=within, keepdims=True)), eps)
    return g * np.where(length > longest, longest / np.where(length > 0, length, 1), 1.0)


@pytest.mark.parametrize("limit", [0.0, 0.01, 1.0])
def test_clip_units_against_numpy(limit):
    random = np.random.default_rng(0)
    params = {
        "kernel": random.standard_normal((5, 4)),
        "convolution": random.standard_normal((3, 3, 2, 4)),
        "bias": np.zeros(4),
        "scale": np.float64(2.0),
    }
    params = jax.tree.map(jnp.float32, params)
    grads = jax.tree.map(lambda leaf: jnp.cos(leaf) - 0.9, params)
    within = {"kernel": (0,), "convolution": (0, 1, 2), "bias": (0,), "scale": ()}
    result = updated(optimizers.clip_units(limit), grads, params)
    for name, leaf in result.items():
        expected = clipped(grads[name], params[name], limit, 1e-3, within[name])
        np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-30)


def test_clip_units_is_that_of_optax_on_dense_layers():
    params = plain_dict()
    grads = jax.tree.map(jnp.cos, params)
    ours = updated(optimizers.clip_units(0.3), grads, params)
    theirs = updated(optax.adaptive_grad_clip(0.3), grads, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)


def test_clip_units_follows_the_axes_and_the_selector():
    weights = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4)), jnp.float32)
    params = {"rows": weights, "columns": weights, "head": weights}
    axes = {"rows": LeafAxes((1,), (0,)), "columns": LeafAxes((0,), (1,))}
    clip = optimizers.clip_units(
        0.1,
        axes=axes | {"head": LeafAxes((0,), (1,))},
        select=jc.none_of(jc.matching("head")),
    )
    result = updated(clip, params, params)
    np.testing.assert_allclose(result["rows"], clipped(weights, weights, 0.1, 1e-3, 1), rtol=1e-5)
    np.testing.assert_allclose(
        result["columns"], clipped(weights, weights, 0.1, 1e-3, 0), rtol=1e-5
    )
    np.testing.assert_array_equal(result["head"], weights)


def test_clip_units_with_the_axes_of_a_program():
    params = {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}

    def model(params, x):
        return jnp.dot(x, params["kernel"].T) + params["bias"][None, :3]

    axes = jc.graph.axes(model, params, jnp.ones((2, 4)))
    grads = {"kernel": jnp.eye(3, 4) * jnp.array([[1.0], [2.0], [3.0]]), "bias": jnp.ones(4)}
    result = updated(optimizers.clip_units(0.1, axes=axes), grads, params)
    expected = clipped(grads["kernel"], params["kernel"], 0.1, 1e-3, 1)
    np.testing.assert_allclose(result["kernel"], expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_clip_units_does_not_overflow(dtype):
    params = jnp.full((64, 2), 3e4, dtype)
    with jax.numpy_dtype_promotion("strict"):
        result = updated(optimizers.clip_units(0.01), params, params)
    assert result.dtype == dtype
    np.testing.assert_allclose(result.astype(jnp.float32), 300.0, rtol=2.0**-8)


def test_awkward_leaves_pass_through_clip_and_monitor():
    leaves = {name: jnp.asarray(leaf) for name, leaf in ARRAYS.items()}
    leaves = jc.partition(leaves, lambda tree: jax.tree.map(is_floating, tree))[0]
    optimizer = optimizers.monitor(optimizers.clip_units(0.1, select=jc.everything()))
    updates, opt_state = jax.jit(lambda x: optimizer.update(x, optimizer.init(x), x))(leaves)
    assert forms(updates) == forms(leaves)
    for name, reading in optimizers.read(opt_state).items():
        if bool(jnp.all(jnp.isfinite(leaves[name]))):
            assert bool(jnp.all(jnp.isfinite(updates[name]))), name
            assert np.all(np.isfinite(reading)), name


def is_floating(leaf) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


BAD = [jnp.nan, jnp.inf, -jnp.inf]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("make", [optimizers.adam, optax.adam, optimizers.lion])
def test_a_gradient_that_is_not_finite_changes_nothing(make, bad):
    optimizer = optimizers.skip_nonfinite(make(0.1))
    params = {"kernel": jnp.array([1.0, -0.0, 1e-41, -3.0]), "half": jnp.float16([-0.0, 1.0])}
    opt_state = optimizer.init(params)
    step = jax.jit(optimizer.update)
    good = jax.tree.map(jnp.ones_like, params)
    broken = good | {"half": jnp.asarray([1.0, bad], jnp.float16)}
    taken = []
    for grads in (good, broken, broken, good, broken):
        updates, following = step(grads, opt_state, params)
        moved = optax.apply_updates(params, updates)
        if grads is broken:
            for before, after in zip(
                jax.tree.leaves((params, opt_state.inner)),
                jax.tree.leaves((moved, following.inner)),
                strict=True,
            ):
                assert before.dtype == after.dtype
                assert np.asarray(before).tobytes() == np.asarray(after).tobytes()
        params, opt_state = moved, following
        taken.append((int(opt_state.skipped), int(opt_state.consecutive)))
    assert taken == [(0, 0), (1, 1), (2, 2), (2, 0), (3, 1)]
    assert int(optax.tree.get(opt_state, "skipped")) == 3


def test_without_bad_gradients_the_guard_changes_nothing():
    params = plain_dict()
    inner, guarded = optimizers.adam(0.1), optimizers.skip_nonfinite(optimizers.adam(0.1))
    plain, safe = (updated(optimizer, params, params) for optimizer in (inner, guarded))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-8), plain, safe)


def test_the_guard_passes_extra_arguments_on():
    inner = optax.GradientTransformationExtraArgs(
        lambda params: (),
        lambda updates, state, params=None, *, factor: (updates * factor, state),
    )
    optimizer = optimizers.skip_nonfinite(inner)
    updates, _ = optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)), factor=3.0)
    assert updates.tolist() == [3.0]


def accumulated(optimizer, **options):
    return optax.MultiSteps(optimizer, 2, **options).gradient_transformation()


SKIPPING = {"should_skip_update_fn": optax.skip_not_finite}
OUTSIDE = {
    "skip_nonfinite": lambda inner: optimizers.skip_nonfinite(accumulated(inner)),
    "dynamic_loss_scale": lambda inner: optimizers.dynamic_loss_scale(accumulated(inner)),
    "apply_if_finite": lambda inner: optax.apply_if_finite(accumulated(inner), 5),
    "monitor": lambda inner: optimizers.monitor(optimizers.skip_nonfinite(accumulated(inner))),
    "monitor of means": lambda inner: optimizers.skip_nonfinite(
        accumulated(optimizers.monitor(inner))
    ),
    "monitor in a scale": lambda inner: optimizers.dynamic_loss_scale(
        optimizers.monitor(accumulated(inner))
    ),
    "pruned": lambda inner: optimizers.skip_nonfinite(
        accumulated(jc.prune.prune(inner, jc.prune.criteria.magnitude(), 0.0))
    ),
    "its own": lambda inner: accumulated(inner, **SKIPPING),
    "its own, monitor": lambda inner: optimizers.monitor(accumulated(inner, **SKIPPING)),
    "both": lambda inner: accumulated(optimizers.skip_nonfinite(inner), **SKIPPING),
}
INSIDE = {
    "skip_nonfinite": lambda inner: accumulated(optimizers.skip_nonfinite(inner)),
    "dynamic_loss_scale": lambda inner: accumulated(optimizers.dynamic_loss_scale(inner)),
    "monitor": lambda inner: accumulated(optimizers.monitor(optimizers.skip_nonfinite(inner))),
    "apply_if_finite": lambda inner: accumulated(optax.apply_if_finite(inner, 50)),
}


def after_micro_batches(optimizer, grads, scaled=False):
    """Params after each of some micro-batches, and the last state."""

    @jax.jit
    def run(params, grads):
        def step(carry, grads):
            params, opt_state = carry
            if scaled:
                grads = optimizers.scale_loss(grads, opt_state)
            updates, opt_state = optimizer.update({"w": grads}, opt_state, params)
            params = optax.apply_updates(params, updates)
            return (params, opt_state), params["w"]

        return jax.lax.scan(step, (params, optimizer.init(params)), grads)

    (_, opt_state), history = run({"w": jnp.array([[1.0, -2.0]])}, grads)
    return np.asarray(history), opt_state


def micro_batches(bad):
    grads = np.random.default_rng(3).standard_normal((40, 1, 2)).astype(np.float32)
    if bad is not None:
        grads[bad, 0, 1] = np.nan
    return grads


@pytest.mark.parametrize("name", OUTSIDE)
def test_around_an_accumulation_a_guard_loses_one_micro_batch(name):
    optimizer, scaled = OUTSIDE[name](optax.sgd(0.125, momentum=0.5)), "scale" in name
    for bad in (0, 7, 39):
        history, opt_state = after_micro_batches(optimizer, micro_batches(bad), scaled)
        left = np.delete(micro_batches(None), bad, axis=0)
        plain, _ = after_micro_batches(accumulated(optax.sgd(0.125, momentum=0.5)), left)
        np.testing.assert_allclose(history[-1], plain[-1], rtol=0, atol=2e-6)
        # 39 good ones, two to a step.
        assert int(optax.tree.get(opt_state, "gradient_step")) == 19
        check_order("here", opt_state)


@pytest.mark.parametrize("name", INSIDE)
def test_inside_an_accumulation_a_guard_is_beyond_repair_and_says_so(name):
    """What `MultiSteps` holds stays NaN: after 3 of 20 steps, nothing moves."""
    optimizer, scaled = INSIDE[name](optax.sgd(0.1)), "scale" in name
    history, opt_state = after_micro_batches(optimizer, micro_batches(7), scaled)
    assert not np.all(np.isfinite(optax.tree.get(opt_state, "acc_grads")["w"]))
    np.testing.assert_array_equal(history[6:], np.broadcast_to(history[5], history[6:].shape))
    message = r"a guard lies inside optax.MultiSteps, whose accumulated gradient stays NaN"
    with pytest.raises(ValueError, match=rf"check_skips\(opt_state\): {message}"):
        optimizers.check_skips(opt_state)
    for around in (optimizers.monitor, optimizers.skip_nonfinite, optimizers.dynamic_loss_scale):
        with pytest.raises(ValueError, match=message):
            around(optax.chain(optax.clip(1.0), optimizer)).init(SMALL)
    if name == "monitor":
        with pytest.raises(ValueError, match=rf"read\(opt_state\): {message}"):
            optimizers.read(opt_state)


def test_a_guard_that_only_skips_is_told_of():
    optimizer = optimizers.skip_nonfinite(optax.sgd(0.1))
    state = optimizer.init(SMALL)
    optimizers.check_skips(state)
    optimizers.check_skips(state._replace(consecutive=jnp.int32(100)))
    stuck = state._replace(consecutive=jnp.int32(8), skipped=jnp.int32(9))
    with pytest.raises(ValueError, match=r"most=7\): the last 8 steps were skipped, 9 in all"):
        optimizers.check_skips((stuck,), most=7)
    with pytest.raises(ValueError, match=r"check_skips\(opt_state\) finds no guard"):
        optimizers.check_skips(optax.sgd(0.1).init(SMALL))
    with pytest.raises(ValueError, match=r"check_skips\(most=nan\) must be at least 1, and an"):
        optimizers.check_skips(state, most=float("nan"))


@pytest.mark.parametrize("guard", [optimizers.skip_nonfinite, optimizers.dynamic_loss_scale])
def test_pruned_weights_stay_zero_inside_a_guard(guard):
    inner = jc.prune.prune(optimizers.adamw(0.1), jc.prune.criteria.magnitude(), 0.5)
    optimizer = optimizers.monitor(guard(inner))
    params = {"kernel": jnp.float16([[0.5, -1.0, 2.0, -0.25]])}
    opt_state, step = optimizer.init(params), jax.jit(optimizer.update)
    for bad in (1.0, jnp.nan, 1.0):
        grads = {"kernel": jnp.full((1, 4), bad, jnp.float16)}
        updates, opt_state = step(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        assert (params["kernel"] != 0).tolist() == [[False, True, True, False]]
    jc.prune.check(opt_state)


def test_the_guard_on_eight_devices(mesh):
    optimizer = optimizers.skip_nonfinite(optimizers.adam(0.1))
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        devices = mesh(rows=8, axis_type=axis_type)
        with jax.set_mesh(devices):
            params = jax.device_put(jnp.ones((8, 2)), NamedSharding(devices, P("rows")))
            grads = jnp.where(jnp.arange(16).reshape(8, 2) == 7, jnp.nan, params)
            updates, opt_state = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
        assert int(opt_state.skipped) == 1
        assert not np.any(updates)


def test_loss_scaling_saves_gradients_from_underflow():
    """Gradients of 1e-9 are nothing in float16; scaled they give Adam's full step."""
    params = {"w": jnp.full((4,), 0.5, jnp.float16)}

    def loss(params, opt_state):
        small = params["w"] * jnp.float16(3e-5)
        total = jnp.sum(small.astype(jnp.float32)) * 3e-5
        return total if opt_state is None else optimizers.scale_loss(total, opt_state)

    assert not np.any(jax.grad(loss)(params, None)["w"])
    optimizer = optimizers.dynamic_loss_scale(optimizers.adam(0.125, eps=0.0))
    opt_state = optimizer.init(params)
    grads = jax.grad(loss)(params, opt_state)
    updates, _ = optimizer.update(grads, opt_state, params)
    assert updates["w"].dtype == jnp.float16
    np.testing.assert_allclose(updates["w"], -0.125, rtol=2.0**-10)


def test_a_scale_below_1_serves_gradients_that_overflow_unscaled():
    """A gradient of 2**18 is infinite in float16, and finite from a scale of 1/8 on."""
    optimizer = optimizers.dynamic_loss_scale(optax.sgd(2.0**-18), initial=4.0)
    params = jnp.ones(1, jnp.float16)

    def step(opt_state, _):
        def loss(params):
            total = params.sum().astype(jnp.float32) * 2.0**18
            return optimizers.scale_loss(total, opt_state)

        grads = jax.grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return opt_state, (optax.tree.get(opt_state, "loss_scale"), updates[0])

    _, (scales, moved) = jax.lax.scan(step, optimizer.init(params), length=6)
    assert scales.tolist() == [2, 1, 0.5, 0.25, 0.125, 0.125]
    assert moved.tolist() == [0, 0, 0, 0, 0, -1]


def test_the_scale_falls_at_an_overflow_and_grows_after_steady_steps():
    optimizer = optimizers.dynamic_loss_scale(
        optimizers.sgd(0.1), initial=8.0, growth=4.0, backoff=0.25, interval=2
    )
    params, step = jnp.ones(2, jnp.float16), jax.jit(optimizer.update)
    opt_state = optimizer.init(params)
    scales, moved = [], []
    for good in (True, True, True, False, True, False, False, True, True):
        grads = jnp.full(2, 8.0 if good else jnp.inf, jnp.float16)
        updates, opt_state = step(grads, opt_state, params)
        scales.append(float(optax.tree.get(opt_state, "loss_scale")))
        moved.append(bool(jnp.all(updates != 0)))
    assert scales == [8, 32, 32, 8, 8, 2, 0.5, 0.5, 2]
    assert moved == [True, True, True, False, True, False, False, True, True]
    assert int(optax.tree.get(opt_state, "skipped")) == 3


def test_loss_scaling_works_around_optax_in_float16():
    """Its state stays float32, since it sees float32 params."""
    optimizer = optimizers.dynamic_loss_scale(optax.adamw(0.1))
    params = jnp.ones(3, jnp.float16)

    def step(carry, _):
        params, opt_state = carry
        updates, opt_state = optimizer.update(params, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    with jax.numpy_dtype_promotion("standard"):
        (params, opt_state), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=3)
    assert params.dtype == jnp.float16
    assert optax.tree.get(opt_state, "mu").dtype == jnp.float32


def test_unscaled_gradients_are_float32():
    grads = optimizers.unscale({"w": jnp.float16([1.0])}, jnp.float32(2.0**24))
    assert grads["w"].dtype == jnp.float32
    assert grads["w"].tolist() == [2.0**-24]


def test_monitor_reads_what_numpy_measures():
    params = plain_dict()
    grads = jax.tree.map(lambda leaf: jnp.where(leaf > 0, jnp.cos(leaf), 0.0), params)
    grads["first"]["kernel"] = grads["first"]["kernel"].at[:, 1].set(0.0)
    optimizer = optax.chain(optimizers.monitor(optimizers.sgd(0.5)))
    _, opt_state = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
    readings = optimizers.read(opt_state)
    norms = {name: np.linalg.norm(leaf) for name, leaf in named_leaves(grads).items()}
    for name, leaf in named_leaves(params).items():
        gradient = np.asarray(named_leaves(grads)[name])
        dead = (gradient == 0).all(axis=0) if leaf.ndim > 1 else gradient == 0
        expected = optimizers.Reading(
            gradient_norm=norms[name],
            relative_norm=norms[name] / max(norms.values()),
            update_ratio=0.5 * norms[name] / np.linalg.norm(leaf),
            dead_units=dead.mean(),
        )
        np.testing.assert_allclose(readings[name], expected, rtol=1e-6)
        assert all(isinstance(number, float) for number in readings[name])


def test_monitor_sees_vanishing_exploding_and_what_left_zero():
    params = {"dead": jnp.ones((2, 2)), "new": jnp.zeros((2, 2)), "wild": jnp.ones((2, 2))}
    grads = {
        "dead": jnp.zeros((2, 2)),
        "new": jnp.ones((2, 2)),
        "wild": jnp.full((2, 2), jnp.inf),
    }
    optimizer = optimizers.monitor(optax.sgd(0.1))
    before = optimizers.read(optimizer.init(params))
    assert np.isnan(before["new"].relative_norm)
    readings = optimizers.read(optimizer.update(grads, optimizer.init(params), params)[1])
    assert readings["dead"] == (0.0, 0.0, 0.0, 1.0)
    assert readings["new"] == (2.0, 1.0, float("inf"), 0.0)
    assert not np.isfinite(readings["wild"].gradient_norm)


def test_monitor_follows_the_axes():
    params = {"w": jnp.ones((3, 4))}
    grads = {"w": jnp.ones((3, 4)).at[1].set(0.0)}
    for axes, dead in (({"w": LeafAxes((1,), (0,))}, 1 / 3), (None, 0.0)):
        optimizer = optimizers.monitor(optax.sgd(0.1), axes=axes)
        _, opt_state = optimizer.update(grads, optimizer.init(params), params)
        assert optimizers.read(opt_state)["w"].dead_units == pytest.approx(dead)


def test_noise_has_the_variance_of_its_step_and_keeps_dtypes():
    noise = optimizers.gradient_noise(jax.random.key(0), variance=4.0, decay=1.0)
    grads = {name: jnp.zeros(20_000, name) for name in ("float32", "bfloat16", "float16")}
    state, seen = noise.init(grads), []
    for step in range(3):
        updates, state = noise.update(grads, state)
        for name, leaf in updates.items():
            assert leaf.dtype.name == name
            values = np.asarray(leaf, np.float64)
            # Four standard errors of a variance over 20,000 numbers: 4 · sqrt(2 / n).
            assert values.var() == pytest.approx(4.0 / (step + 1), rel=4e-2)
            seen.append(values[:5].tolist())
    assert len({tuple(values) for values in seen}) == len(seen)


def test_penalties_leave_biases_alone_unless_selected():
    params = {"kernel": jnp.array([[2.0, -4.0]]), "bias": jnp.array([2.0])}
    grads = jax.tree.map(jnp.zeros_like, params)
    assert updated(optimizers.l2(0.5), grads, params)["bias"].tolist() == [0.0]
    assert updated(optimizers.l2(0.5), grads, params)["kernel"].tolist() == [[1.0, -2.0]]
    both = updated(optimizers.l1(0.5, select=jc.everything()), grads, params)
    assert both["bias"].tolist() == [0.5]
    assert both["kernel"].tolist() == [[0.5, -0.5]]


def test_penalties_are_worked_out_in_float32():
    """A weight that is an array does not widen the updates either."""
    params = {"kernel": jnp.ones((1, 1), jnp.bfloat16)}
    for weight in (2.0**-7, jnp.float32(2.0**-7)):
        with jax.numpy_dtype_promotion("strict"):
            result = updated(optimizers.l2(weight), params, params)["kernel"]
        assert result.dtype == jnp.bfloat16
        assert float(result[0, 0]) == 1 + 2.0**-7


WRONG = [
    (lambda: optimizers.clip_units(-1.0), r"^clip_units\(limit=-1.0\) must be"),
    (lambda: optimizers.clip_units(eps=-1.0), r"^clip_units\(eps=-1.0\) must be"),
    (lambda: optimizers.l1(-0.1), r"^l1\(weight=-0.1\) must be"),
    (lambda: optimizers.l2(-0.1), r"^l2\(weight=-0.1\) must be"),
    (lambda: optimizers.weight_decay(-0.1), r"^weight_decay\(weight=-0.1\) must be"),
    (
        lambda: optimizers.gradient_noise(jax.random.key(0), variance=-1.0),
        r"^gradient_noise\(variance=-1.0\) must be",
    ),
    (
        lambda: optimizers.dynamic_loss_scale(optax.sgd(0.1), initial=2.0**-25),
        r"^dynamic_loss_scale\(initial=2.98\S*\) must be in \[5.96",
    ),
    (
        lambda: optimizers.dynamic_loss_scale(optax.sgd(0.1), growth=1.0),
        r"growth=1.0\) must be finite and above 1",
    ),
    (
        lambda: optimizers.dynamic_loss_scale(optax.sgd(0.1), backoff=1.0),
        r"backoff=1.0\) must be in \(0, 1\)",
    ),
    (
        lambda: optimizers.dynamic_loss_scale(optax.sgd(0.1), interval=0),
        r"interval=0\) must be at least 1",
    ),
    (
        lambda: optimizers.read(optax.sgd(0.1).init(jnp.ones(2))),
        r"^read\(opt_state\) finds 0 states of monitor",
    ),
    (
        lambda: optimizers.scale_loss(jnp.ones(()), optax.sgd(0.1).init(jnp.ones(2))),
        r"^scale_loss\(loss, opt_state\) finds no loss scale",
    ),
    *(
        (
            lambda make=make: make.update(jnp.ones((2, 2)), make.init(jnp.ones((2, 2)))),
            rf"^{name}\(...\).update\(updates, state, params\) needs the params",
        )
        for name, make in {
            "clip_units": optimizers.clip_units(),
            "l1": optimizers.l1(0.1),
            "weight_decay": optimizers.weight_decay(0.1),
            "monitor": optimizers.monitor(optax.sgd(0.1)),
        }.items()
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()
