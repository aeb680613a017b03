"""Drop and grow: against NumPy at every step, exact zeros, states that start again."""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import prune
from jaxcompress.core.axes import LeafAxes
from jaxcompress.prune.training.regrowth import _restarted, regrown

STEPS, WHEN = 9, jc.schedules.every(3, begin=1)
MATRIX = LeafAxes((0,), (1,))
LAYERS = LeafAxes((1,), (2,), (0,))
RIGL = prune.criteria.gradient_momentum(0.0)
FRACTION = optax.cosine_decay_schedule(0.4, 12)


class Case(NamedTuple):
    """An inner optimizer, and how many arrays of its state stand for one kernel."""

    inner: optax.GradientTransformation
    arrays: int
    start: float = 0.0


CASES = {
    "adam": Case(optax.adam(0.01), 2),
    "momentum": Case(optax.sgd(0.01, momentum=0.9), 1),
    "lion": Case(optax.lion(0.01), 1),
    "adagrad": Case(optax.adagrad(0.01, initial_accumulator_value=0.25), 1, start=0.25),
    "adafactor": Case(optax.adafactor(0.01, min_dim_size_to_factor=2), 0),
    "whole adafactor": Case(optax.adafactor(0.01, momentum=0.9), 2),
    "rmsprop": Case(optax.rmsprop(0.01), 1),
    "amsgrad": Case(optax.amsgrad(0.01), 3),
    "muon": Case(optax.contrib.muon(0.01), 1),
    "several steps inside": Case(
        optax.MultiSteps(optax.adam(0.01), 2).gradient_transformation(), 3
    ),
    "injected inside": Case(optax.inject_hyperparams(optax.adam)(learning_rate=0.01), 2),
    "a chain": Case(
        optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.masked(optax.scale_by_adam(), {"kernel": True, "bias": False}),
            optax.scale(-0.01),
        ),
        2,
    ),
}


def layer(dtype=jnp.float32) -> dict:
    random = np.random.default_rng(0)
    return {
        "kernel": jnp.asarray(random.standard_normal((6, 8)), dtype),
        "bias": jnp.asarray(random.standard_normal(8), dtype),
    }


def sparse_start(params):
    """A quarter of the weights of every kernel at random."""
    order = np.random.default_rng(3).permutation(48).reshape(6, 8)
    return jax.tree.map(lambda leaf: jnp.asarray(order < 12 if leaf.ndim > 1 else True), params)


def gradients(params, step):
    """Dense, of no particular meaning, different at each step, never zero."""
    return jax.tree.map(lambda leaf: jnp.cos(3 * leaf + step.astype(leaf.dtype)) + 1.5, params)


def oracle(weights, mask, scores, fraction, growing=None):
    """One group, flat: stable sorts of what lives, then of what does not."""
    mask = mask.copy()
    living = np.flatnonzero(mask)
    count = round(float(np.float32(fraction) * np.float32(living.size)))
    mask[living[np.argsort(np.abs(weights[living]), kind="stable")][:count]] = False
    absent = np.flatnonzero(~mask)
    growing = count if growing is None else growing
    mask[absent[np.argsort(-scores[absent], kind="stable")][:growing]] = True
    return mask


def step_of(optimizer):
    def step(carry, count):
        params, opt_state = carry
        grads = gradients(params, count)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        after = optax.apply_updates(params, updates)
        return (after, opt_state), (params, grads, after, opt_state)

    return step


def train(optimizer, params, steps=STEPS):
    scan = jax.jit(functools.partial(jax.lax.scan, step_of(optimizer)))
    return scan((params, optimizer.init(params)), jnp.arange(steps))[1]


TRAINED = {"adam": jnp.float32, "lion": jnp.bfloat16, "rmsprop": jnp.float16}


@functools.cache
def trained():
    """Masks to begin with and (params, grads, params, opt_state) of every step."""
    params = {name: layer(dtype) for name, dtype in TRAINED.items()}
    params |= {name: layer() for name in ("muon in several steps", "injected adafactor")}
    params["held"] = layer(jnp.bfloat16)
    masks = sparse_start(params)

    def regrow(inner, fraction=0.3, *, when):
        return prune.regrow(inner, prune.Growth(RIGL, fraction), masks, when=when)

    def injected(rate, fraction):
        inner = optax.adafactor(rate, min_dim_size_to_factor=2)
        return regrow(inner, fraction, when=WHEN)

    several = regrow(optax.contrib.muon(0.01), when=jc.schedules.every(1))
    optimizers = {name: regrow(CASES[name].inner, FRACTION, when=WHEN) for name in TRAINED} | {
        "muon in several steps": optax.MultiSteps(several, 2).gradient_transformation(),
        "injected adafactor": optax.inject_hyperparams(injected)(rate=0.01, fraction=FRACTION),
        "held": prune.hold(optax.adamw(0.01), masks),
    }
    # The first update of several steps comes with the second of them.
    several_sparse = prune.apply(masks, params)["muon in several steps"]
    params["muon in several steps"] = several_sparse
    optimizer = optax.partition(optimizers, {name: name for name in params})
    return masks, train(optimizer, params)


every_trained = pytest.mark.parametrize(
    "name", [*TRAINED, "muon in several steps", "injected adafactor", "held"]
)


def masks_in_time(name):
    state = trained()[1][3].inner_states[name]
    prune.check(jax.tree.map(lambda leaf: leaf[-1], state))
    return prune.masks_of(state)[name]["kernel"]


@every_trained
def test_weights_outside_the_masks_are_zero_and_the_count_stays(name):
    _, (params, _, after, _) = trained()
    np.testing.assert_array_equal(after[name]["kernel"] != 0, masks_in_time(name))
    assert jnp.sum(masks_in_time(name), axis=(1, 2)).tolist() == [12] * STEPS
    assert bool(jnp.all(after[name]["bias"][-1] != params[name]["bias"][0]))


@pytest.mark.parametrize("name", [*TRAINED, "injected adafactor"])
def test_masks_move_as_numpy_says(name):
    masks, (params, grads, _, _) = trained()
    mask, moved = np.asarray(masks[name]["kernel"]).ravel(), masks_in_time(name)
    for step in range(STEPS):
        if WHEN(step):
            weights, slopes = (
                np.asarray(each[name]["kernel"][step], np.float64).ravel()
                for each in (params, grads)
            )
            mask = oracle(weights, mask, np.abs(slopes), FRACTION(step))
        np.testing.assert_array_equal(moved[step].ravel(), mask)
    assert not np.array_equal(mask, np.asarray(masks[name]["kernel"]).ravel())


def test_masks_move_with_the_updates_of_several_steps_and_stay_when_held():
    masks, _ = trained()
    history = np.asarray(masks_in_time("muon in several steps"))
    moved = [bool(np.any(history[step] != history[step - 1])) for step in range(1, STEPS)]
    assert any(moved[::2])
    assert not any(moved[1::2])
    assert bool(jnp.all(masks_in_time("held") == masks["held"]["kernel"][None]))


def test_a_new_weight_has_moments_of_its_first_gradient_only():
    _, (_, grads, _, state) = trained()
    old, new = np.asarray(masks_in_time("adam")[3:5])
    moment = state.inner_states["adam"].inner_state.inner[0].mu["adam"]["kernel"][4]
    gradient = grads["adam"]["kernel"][4]
    came, went, stayed = new & ~old, old & ~new, old & new
    assert came.sum() == went.sum() > 0
    np.testing.assert_allclose(moment[came], 0.1 * gradient[came], rtol=1e-6)
    assert not np.any(moment[went])
    assert not np.any(np.isclose(moment[stayed], 0.1 * gradient[stayed], rtol=1e-3))


@pytest.mark.parametrize("name", CASES)
def test_a_state_starts_again_where_weights_came_or_went(name):
    case, params = CASES[name], layer()
    state = jax.tree.map(
        lambda leaf: jnp.full_like(leaf, 7) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        case.inner.init(params),
    )
    changed = {"kernel": jnp.arange(48).reshape(6, 8) % 5 == 0, "bias": jnp.array(False)}
    again = _restarted(case.inner, state, changed, params)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    arrays = 0
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
        arrays += old.shape == (6, 8)
        expected = jnp.where(changed["kernel"], case.start, old) if old.shape == (6, 8) else old
        np.testing.assert_array_equal(new, expected)
    assert arrays == case.arrays


def test_a_second_set_of_params_starts_again_at_zero():
    inner = optax.contrib.schedule_free(optax.sgd(0.1), 0.1)
    params = layer()
    changed = {"kernel": jnp.eye(6, 8, dtype=bool), "bias": jnp.array(False)}
    state = _restarted(inner, inner.init(params), changed, params)
    np.testing.assert_array_equal(
        state.z["kernel"], jnp.where(changed["kernel"], 0, params["kernel"])
    )


AXES = {"matrix": MATRIX, "layers": LAYERS}


@jax.jit
def by_mean_score(weights, masks, scores, fraction):
    return regrown(weights, masks, scores, AXES, fraction, prune.shares.by_mean_score)


def greedy(rates, room, count):
    """One after the other to whom the next is due first, the earlier among equals."""
    grown = [0] * len(rates)
    for _ in range(count):
        due = [
            (grown[i] + 1) / rates[i] if grown[i] < room[i] else np.inf for i in range(len(rates))
        ]
        grown[int(np.argmin(due))] += 1
    return grown


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), fraction=st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]))
def test_layers_share_what_all_of_them_dropped(seed, fraction):
    random = np.random.default_rng(seed)
    shapes = {"matrix": (4, 5), "layers": (2, 3, 4)}
    # Coarse numbers: many ties. The scales make layers differ, one may have no score.
    weights = {n: random.integers(-3, 4, s).astype("f4") for n, s in shapes.items()}
    scores = {n: random.integers(0, 4, s).astype("f4") for n, s in shapes.items()}
    scores["matrix"] *= random.choice([0, 1, 4])
    masks = {n: random.random(s) < 0.4 for n, s in shapes.items()}
    new = by_mean_score(weights, masks, scores, fraction)
    slices = [("matrix", np.s_[:]), ("layers", np.s_[0]), ("layers", np.s_[1])]
    old = [masks[n][i].ravel() for n, i in slices]
    dropped = [round(float(np.float32(fraction) * np.float32(m.sum()))) for m in old]
    room = [m.size - m.sum() + d for m, d in zip(old, dropped, strict=True)]
    pairs = zip(slices, old, strict=True)
    means = [scores[n][i].ravel()[m].sum() / max(m.sum(), 1) for (n, i), m in pairs]
    rates = np.maximum(np.array(means) / (max(means) or 1), 2.0**-24)
    expected = greedy(rates, room, sum(dropped))
    for (n, i), m, d, g in zip(slices, old, dropped, expected, strict=True):
        got = np.asarray(new[n][i]).ravel()
        grown = got.sum() - m.sum() + d
        # Rates round, so of two that are due at once either may come first.
        assert abs(grown - g) <= 1
        moved = oracle(weights[n][i].ravel(), m, scores[n][i].ravel(), fraction, grown)
        np.testing.assert_array_equal(got, moved)
    assert sum(int(each.sum()) for each in new.values()) == sum(m.sum() for m in old)


def test_scores_that_are_not_finite_leave_counts_as_they_are():
    masks = {"matrix": np.arange(20).reshape(4, 5) < 10, "layers": np.zeros((2, 3, 4), bool)}
    weights = {"matrix": np.ones((4, 5), "f4"), "layers": np.zeros((2, 3, 4), "f4")}
    scores = {name: np.zeros_like(leaf) for name, leaf in weights.items()}
    weights["matrix"][1, 2], weights["matrix"][0, 0] = np.nan, np.inf
    scores["matrix"][3] = [np.nan, -np.inf, np.inf, 1, 2]
    new = by_mean_score(weights, masks, scores, 0.1)["matrix"]
    went, came = masks["matrix"] & ~new, new & ~masks["matrix"]
    assert np.argwhere(went).tolist() == [[1, 2]]
    assert np.argwhere(came).tolist() == [[3, 2]]


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_eight_devices_move_masks_as_one_does(mesh, axis_type):
    axes = {"layers": LAYERS}
    random = np.random.default_rng(1)
    params = {"layers": random.standard_normal((2, 4, 8)).astype("f4")}
    grads = {"layers": random.standard_normal((2, 4, 8)).astype("f4")}
    masks = {"layers": random.random((2, 4, 8)) < 0.5}
    growth = prune.Growth(RIGL, share=prune.shares.by_mean_score)
    optimizer = prune.regrow(optax.adam(0.01), growth, masks, axes=axes, when=WHEN)
    devices = mesh(rows=2, columns=4, axis_type=axis_type)
    sharding = NamedSharding(devices, P("rows", None, "columns"))
    with jax.set_mesh(devices):
        params, grads = jax.device_put((params, grads), sharding)
        state = optimizer.init(params)._replace(count=jnp.int32(1))
        new = jax.jit(optimizer.update)(grads, state, params)[1].masks["layers"]
    assert new.sharding.is_equivalent_to(sharding, 3)
    new, params, grads = (np.asarray(each) for each in (new, params["layers"], grads["layers"]))
    counts = np.sum(masks["layers"], axis=(1, 2)), np.sum(new, axis=(1, 2))
    assert counts[0].sum() == counts[1].sum()
    for layer in range(2):
        weights, slopes = (each[layer].ravel() for each in (params, grads))
        mask = masks["layers"][layer].ravel()
        grown = counts[1][layer] - counts[0][layer] + round(0.3 * counts[0][layer])
        expected = oracle(weights, mask, np.abs(slopes), 0.3, grown)
        np.testing.assert_array_equal(new[layer].ravel(), expected)


def test_fresh_noise_differs_from_step_to_step_and_leaf_to_leaf():
    criterion, params = (
        prune.criteria.fresh_noise(jax.random.key(5)),
        {"a": jnp.ones(4), "b": jnp.ones(4)},
    )
    state, seen = criterion.init(params), []
    for _ in range(3):
        seen += [score.tobytes() for score in criterion.score(state, params).values()]
        state = criterion.update(params, state, params)
    assert len(set(seen)) == 6
    again = prune.criteria.fresh_noise(jax.random.key(5)).score(jnp.int32(2), params)
    assert [score.tobytes() for score in again.values()] == seen[-2:]


KERNEL = {"kernel": jnp.ones((2, 2))}
FULL = {"kernel": jnp.ones((2, 2), bool)}
WRAPPERS = {"regrow": lambda inner, masks: prune.regrow(inner, RIGL, masks), "hold": prune.hold}
wrappers = pytest.mark.parametrize("name", WRAPPERS)


@wrappers
def test_what_lives_outside_the_masks_is_found(name):
    masks = {"kernel": jnp.eye(2, dtype=bool)}
    optimizer = WRAPPERS[name](optax.sgd(0.1), masks)
    state = optimizer.init(KERNEL)._replace(count=jnp.int32(1))
    prune.check(state)
    with jax.disable_jit():
        state = optimizer.update(KERNEL, state, KERNEL)[1]
    with pytest.raises(ValueError, match=r"were not 0 in 'kernel' \(2\)"):
        prune.check(state)


@wrappers
def test_map_params_finds_what_is_shaped_like_params(name):
    optimizer = WRAPPERS[name](optax.adam(0.1), FULL)
    state = optimizer.init(KERNEL)
    marked = optax.tree.map_params(optimizer, jnp.zeros_like, state)
    assert jax.tree.structure(marked) == jax.tree.structure(state)
    assert not jnp.any(marked.masks["kernel"])


REFUSED = {
    "missing": (KERNEL | {"head": jnp.ones(2)}, FULL, ValueError, "has no mask for leaf 'head'"),
    "shape": (KERNEL, {"kernel": jnp.ones((3, 2), bool)}, ValueError, "does not broadcast"),
    "dtype": (KERNEL, KERNEL, ValueError, "has dtype float32, masks are bool"),
    "integer": ({"kernel": jnp.ones((2, 2), int)}, FULL, TypeError, "has dtype int32"),
}


@wrappers
@pytest.mark.parametrize("wrong", REFUSED)
def test_masks_that_do_not_fit_are_refused(name, wrong):
    params, masks, error, message = REFUSED[wrong]
    with pytest.raises(error, match=message) as caught:
        WRAPPERS[name](optax.sgd(0.1), masks).init(params)
    assert name in str(caught.value)


@wrappers
def test_a_line_search_and_missing_params_are_refused(name):
    with pytest.raises(ValueError, match=re.escape(f"{name}(inner) holds a ScaleByZoom")):
        WRAPPERS[name](optax.lbfgs(), FULL).init(KERNEL)
    optimizer = WRAPPERS[name](optax.sgd(0.1), FULL)
    with pytest.raises(ValueError, match=re.escape(f"{name}(...).update")):
        optimizer.update(KERNEL, optimizer.init(KERNEL))


@pytest.mark.parametrize("fraction", [1.1, -0.1, float("nan")])
def test_a_wrong_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match=re.escape(f"Growth(fraction={fraction}) must be in")):
        prune.Growth(RIGL, fraction)
