"""Small states: factored and shared moments, projected gradients; axes and bytes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxcompress as jc
from jaxcompress import optimizers
from jaxcompress.core.axes import UNUSED, LeafAxes
from tests.inputs import TREES
from tests.optimizers import oracles
from tests.optimizers.test_contract import (
    NARROW,
    ROUNDING,
    SIZES,
    random_grads,
    random_params,
    run,
    side_by_side,
)


def galore_adam(axes=None):
    return optimizers.galore(optimizers.scale_by_adam(), rank=2, every=2, axes=axes)


LIGHT = {
    "factored": lambda axes: optimizers.scale_by_factored(axes=axes),
    "adam-mini": lambda axes: optimizers.scale_by_adam_mini(axes=axes),
    "galore": galore_adam,
}
every_light = pytest.mark.parametrize("make", LIGHT.values(), ids=LIGHT)

DENSE, TRANSPOSED = LeafAxes((0,), (1,)), LeafAxes((1,), (0,))
STEPS, LAYERS = 3, 2
STACKS = np.random.default_rng(0).standard_normal((STEPS, LAYERS, 4, 7)).astype(np.float32)


def taken(each, trees) -> dict:
    """The updates of each for its stack of gradients (steps, …), by one program."""

    def step(states, grads):
        both = {name: each[name].update(grads[name], states[name]) for name in grads}
        return tuple({name: pair[i] for name, pair in both.items()} for i in (1, 0))

    states = {name: each[name].init(jax.tree.map(lambda g: g[0], trees[name])) for name in trees}
    return jax.jit(lambda states, trees: jax.lax.scan(step, states, trees)[1])(states, trees)


@every_light
def test_layouts_are_transposes_and_a_stack_is_its_layers(make):
    """Two programs, or two orders of a sum, differ by roundings of an update near 1."""
    layers = {str(layer): STACKS[:, layer] for layer in range(LAYERS)}
    trees = {"in out": layers, "out in": STACKS[:, 0].mT, "stack": STACKS.mT}
    axes = {"in out": None, "out in": TRANSPOSED, "stack": LeafAxes((2,), (1,), (0,))}
    updates = taken({name: make(axes[name]) for name in trees}, trees)
    bound = {"rtol": 0, "atol": 256 * ROUNDING}
    np.testing.assert_allclose(updates["out in"].mT, updates["in out"]["0"], **bound)
    for layer, update in updates["in out"].items():
        np.testing.assert_allclose(updates["stack"][:, int(layer)].mT, update, **bound)


@every_light
@pytest.mark.parametrize("container", TREES)
def test_every_container(make, container):
    params, optimizer = TREES[container](), make(None)
    updates, _ = jax.eval_shape(lambda p: optimizer.update(p, optimizer.init(p)), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)


def attention(params, tokens):
    """A table, three projections to heads of their own, a norm and a last layer."""
    x = params["table"][tokens] * params["scale"][None]
    query, key, value = (jnp.einsum("td,dhk->thk", x, params[name]) for name in "qkv")
    weights = jax.nn.softmax(jnp.einsum("thk,shk->hts", query, key))
    mixed = jnp.einsum("hts,shk->thk", weights, value)
    return jnp.einsum("thk,hkd->td", mixed, params["out"]) @ params["head"]


def attention_params(tokens=50, width=16, heads=4):
    shapes = {
        "table": (tokens, width),
        "scale": (width,),
        **dict.fromkeys("qkv", (width, heads, width // heads)),
        "out": (heads, width // heads, width),
        "head": (width, tokens),
    }
    return {name: jnp.ones(shape) for name, shape in shapes.items()}


def test_adam_mini_has_a_mean_for_each_token_head_and_output():
    params = attention_params()
    axes = jc.graph.axes(attention, params, jnp.zeros(3, int))
    state = optimizers.scale_by_adam_mini(axes=axes).init(params)
    second = optax.tree.get(state, "second_moment")
    assert {name: leaf.shape for name, leaf in second.items()} == {
        "table": (50, 1),
        "scale": (16,),
        **dict.fromkeys("qkv", (1, 4, 1)),
        "out": (1, 1, 16),
        "head": (1, 50),
    }


def test_factored_moments_are_margins():
    params = attention_params()
    axes = jc.graph.axes(attention, params, jnp.zeros(3, int))
    state = optimizers.scale_by_factored(axes=axes).init(params)
    shapes = {
        name: (leaf.shape, optax.tree.get(state, "column_moment")[name].shape)
        for name, leaf in optax.tree.get(state, "row_moment").items()
    }
    assert shapes == {
        "table": ((50, 1), (1, 16)),
        "scale": ((16,), (1,)),
        **dict.fromkeys("qkv", ((1, 4, 4), (16, 1, 1))),
        "out": ((1, 1, 16), (4, 4, 1)),
        "head": ((1, 50), (16, 1)),
    }


def test_states_are_as_small_as_promised():
    """Bytes beside the params, which Adam takes twice over."""
    params = {"kernel": jnp.zeros((64, 256)), "bias": jnp.zeros(256)}
    number, bias, count = 4 * 64 * 256, 4 * 256, 4
    rank = optimizers.galore(optimizers.scale_by_adam(), rank=8)
    expected = {
        optimizers.scale_by_adam(): 2 * (number + bias) + count,
        # m, then v: one for each output, and the bias.
        optimizers.scale_by_adam_mini(): number + bias + (4 * 256 + bias) + count,
        # A row, a column, the bias and the mean of it.
        optimizers.scale_by_factored(): 4 * (64 + 256) + (bias + 4) + count,
        # Directions, Adam on (8, 256), and on the bias as it is, whose direction is ().
        rank: 4 * 64 * 8 + 2 * 4 * 8 * 256 + 2 * bias + 4 + 2 * count,
    }
    for optimizer, size in expected.items():
        assert jc.storage.size(optimizer.init(params)).memory == size


@every_light
def test_leaves_without_data_or_numbers_stay_finite(make):
    """Also stacked norms and empty leaves; zero gradients give zero updates."""
    params = {"norms": jnp.zeros((2, 3)), "empty": jnp.zeros((0, 3)), "scalar": jnp.zeros(())}
    axes = {"norms": UNUSED, "empty": DENSE, "scalar": UNUSED}
    optimizer = make(axes)
    updates, state = jax.jit(lambda p: optimizer.update(p, optimizer.init(p)))(params)
    for leaf in jax.tree.leaves((updates, state)):
        assert np.all(np.isfinite(leaf))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates))


def separated_grads(steps, rows, columns) -> np.ndarray:
    """(steps, rows, columns) of singular values 4, 2, 1, 1 / 2 …"""
    u, _, v = np.linalg.svd(
        np.random.default_rng(2).standard_normal((steps, rows, columns)), full_matrices=False
    )
    return ((u * 4.0 / 2.0 ** np.arange(u.shape[-1])) @ v).astype(np.float32)


def numpy_galore(rank, every, scale, inner):
    """On (short, long) matrices, with directions on the left."""

    def update(t, g, w, memory):
        tall = g.shape[0] > g.shape[1]
        g = g.T if tall else g
        if (t - 1) % every == 0:
            found = np.linalg.svd(g, full_matrices=False)[0][:, :rank]
            before = memory.get("directions", found)
            memory["directions"] = found * np.sign(np.sum(found * before, axis=0))
        low = memory["directions"].T @ g
        whole = scale * memory["directions"] @ inner(t, low, 0 * low, memory)
        return whole.T if tall else whole

    return update


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_galore_is_adam_in_the_directions_of_numpy(shape):
    params = {"kernel": np.zeros(shape, np.float32)}
    grads = {"kernel": separated_grads(12, *shape)}
    optimizer = optax.chain(
        optimizers.galore(optimizers.scale_by_adam(), rank=2, every=5), optax.scale(-1.0)
    )
    _, history = run(optimizer, params, grads)
    plain = numpy_galore(2, 5, 0.25, oracles.adam())
    expected = oracles.trajectory(plain, 1.0, params, grads)["kernel"]
    # A direction is off by roundings times 4² / (2² - 1), so is the low gradient beside
    # its length, which is up to 48 times what Adam divides by; a quarter is taken.
    bound = np.arange(1, 13)[:, None, None] * (16 * ROUNDING * 16 / 3 * 48) / 4
    assert np.all(np.abs(history["kernel"] - np.stack(expected)) <= bound)


def test_galore_gives_back_a_gradient_of_low_rank():
    random = np.random.default_rng(3)
    gradient = (random.standard_normal((4, 2)) @ random.standard_normal((2, 6))).astype(np.float32)
    scaled = optimizers.galore(optax.identity(), rank=2, scale=1.0)
    step = jax.jit(scaled.update)
    updates, state = step(gradient, scaled.init(gradient))
    np.testing.assert_allclose(updates, gradient, rtol=0, atol=64 * ROUNDING * np.max(gradient))
    directions = state.directions[0]
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=16 * ROUNDING)
    # Until it is time for others, what is across these directions is not seen.
    across = np.eye(4, dtype=np.float32) - directions @ directions.T
    updates, _ = scaled.update(
        (gradient.T @ across.T).T + across[:, :1] * np.ones((1, 6), "f4"), state
    )
    np.testing.assert_allclose(updates, 0, atol=64 * ROUNDING * np.max(np.abs(gradient)))


def test_galore_leaves_the_rest_to_the_inner_transformation():
    """Biases, what is not selected, and what is no larger than the rank."""
    params = {"kernel": jnp.ones((6, 5)), "head": jnp.ones((6, 5)), "small": jnp.ones((6, 2))}
    params["bias"] = jnp.ones(5)
    grads = jax.tree.map(lambda leaf: leaf * 3, params)
    select = jc.all_of(optimizers.hidden(), jc.none_of(jc.matching("head")))
    adam = optimizers.scale_by_adam()
    scaled = optimizers.galore(adam, rank=2, select=select)
    (updates, state), (alone, _) = jax.jit(
        lambda grads: [each.update(grads, each.init(grads)) for each in (scaled, adam)]
    )(grads)
    for name in ("head", "small", "bias"):
        np.testing.assert_allclose(updates[name], alone[name], rtol=0, atol=2 * ROUNDING)
    shapes = {name: leaf.shape for name, leaf in state.directions.items()}
    assert shapes == {"kernel": (1, 5, 2), "head": (), "small": (), "bias": ()}


def decayed_galore(scale=0.25):
    return optax.chain(
        optimizers.galore(optimizers.scale_by_adam(), rank=1, every=3, scale=scale),
        optimizers.weight_decay(0.1),
        optimizers.sgd(2.0**-6),
    )


def test_galore_stays_finite_and_keeps_dtypes():
    """Zero and tiny gradients, large ones after small ones, in strict promotion."""
    params = {name: jnp.full((2, 3), 0.5, dtype) for name, dtype in NARROW.items()}
    grads = {
        name: np.stack([np.full((2, 3), size, dtype) for size in SIZES])
        for name, dtype in NARROW.items()
    }
    with jax.numpy_dtype_promotion("strict"):
        (last, opt_state), history = run(decayed_galore(), params, grads)
    for leaf in jax.tree.leaves((history, opt_state)):
        assert np.all(np.isfinite(leaf.astype(np.float32)))
    assert {name: leaf.dtype.name for name, leaf in last.items()} == {name: name for name in NARROW}
    assert {leaf.dtype for leaf in jax.tree.leaves(opt_state) if leaf.ndim} == {np.dtype("f4")}


def test_optax_goes_around_galore():
    params, labels = random_params(), {"kernel": "ours", "bias": "other"}
    grads = random_grads(6, params)
    around = {
        "plain": decayed_galore(),
        "partition": optax.partition(
            {"ours": decayed_galore(), "other": optax.set_to_zero()}, labels
        ),
        "injected": optax.inject_hyperparams(decayed_galore)(scale=0.25),
    }
    both = side_by_side(around)
    _, histories = run(both, dict.fromkeys(around, params), dict.fromkeys(around, grads))
    for history in histories.values():
        # Six sums of weights below 4; a basis of two gives 32 roundings.
        np.testing.assert_allclose(
            history["kernel"], histories["plain"]["kernel"], rtol=0, atol=64 * ROUNDING
        )
    marked = optax.tree.map_params(decayed_galore(), jnp.ones_like, decayed_galore().init(params))
    assert all(bool(jnp.all(leaf == 1)) for leaf in jax.tree.leaves(marked) if leaf.ndim)


def test_galore_on_eight_devices(mesh):
    params = random_params(rows=8)
    grads = random_grads(4, params)
    _, alone = run(decayed_galore(), params, grads)
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        devices = mesh(rows=8, axis_type=axis_type)
        place = {"kernel": NamedSharding(devices, P("rows")), "bias": NamedSharding(devices, P())}
        later = place | {"kernel": NamedSharding(devices, P(None, "rows"))}
        with jax.set_mesh(devices):
            placed = jax.device_put(params, place)
            _, history = run(decayed_galore(), placed, jax.device_put(grads, later))
        for name in params:
            np.testing.assert_allclose(history[name], alone[name], rtol=0, atol=64 * ROUNDING)


def test_what_galore_cannot_do_is_said():
    for argument, value in (("rank", 0), ("every", 0), ("scale", -1.0)):
        make = partial(optimizers.galore, optax.identity())
        with pytest.raises(ValueError, match=rf"^galore\({argument}={value}\) must be "):
            make(**{"rank": 1} | {argument: value})
    bias = {"bias": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"^galore: leaf 'bias' of shape \(3,\) does not multiply"):
        optimizers.galore(optax.identity(), rank=1, select=jc.everything()).init(bias)
    decayed = optimizers.galore(optimizers.adamw(0.1), rank=1)
    with pytest.raises(ValueError, match=r"^weight_decay\(...\).update\(.* needs the params"):
        decayed.update(bias, decayed.init(bias), bias)
    with pytest.raises(ValueError, match=r"axes= has no leaf 'bias'"):
        optimizers.scale_by_factored(axes={"kernel": DENSE}).init(bias)
