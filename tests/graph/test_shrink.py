"""Shrunk equals masked: the law of removal, over the models and the awkward corners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import graph
from jaxcompress.graph import surgery
from tests.graph import oracle
from tests.graph.test_rewrite import SQUARE, quantized
from tests.graph.vision import VISION
from tests.graph.zoo import ZOO, normal

RIGID = {"branches", "counted_loop", "nested_calls"}
"""Models all of whose axes the caller sees, so that nothing can go."""
MODELS = [make for make in (*ZOO, *VISION) if make.__name__ not in RIGID]
SINGLE = {"linen_lstm", "nnx_attention", "nnx_lstm", "vit"}
"""Models that compute in float32 somewhere, whatever their params are."""

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""Sums in another order: thousands of roundings of a part in 2^52, or few in 2^23."""


def settled(make):
    """The model, in float64 where it can be, its couplings, and its tolerance."""
    model = make()
    wide = make.__name__ not in SINGLE
    if wide:
        model = model._replace(
            params=oracle.widened(model.params), inputs=oracle.widened(model.inputs)
        )
    couplings = graph.couplings(model.fn, model.params, *model.inputs)
    return model, couplings, TOLERANCE["float64" if wide else "float32"]


def some(family) -> list[int]:
    """The first unit and one in the middle, where that leaves any."""
    return [0, family.size // 2][: family.size - 1]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_all_families_at_once(make):
    """With gradients in the models whose nonlinearities no other model has."""
    with jax.enable_x64(True):
        model, couplings, tolerance = settled(make)
        assert couplings.families
        removed = couplings.removal({family.name: some(family) for family in couplings.families})
        apart = oracle.difference(
            model.fn,
            model.params,
            model.inputs,
            removed,
            gradients=make in ZOO,
            tolerance=tolerance,
        )
    assert max(apart) <= tolerance


@pytest.mark.parametrize("make", [make for make in ZOO if make.__name__ in RIGID])
def test_where_the_caller_sees_every_axis_there_is_no_family(make):
    model = make()
    assert not graph.couplings(model.fn, model.params, *model.inputs).families


@pytest.mark.slow
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_each_family_alone(make):
    with jax.enable_x64(True):
        model, couplings, tolerance = settled(make)
        removals = [couplings.removal({family.name: some(family)}) for family in couplings.families]
        fn = oracle.traced_once(model.fn, model.params, model.inputs)
        for removed in removals:
            apart = oracle.difference(
                fn, model.params, model.inputs, removed, gradients=False, tolerance=tolerance
            )
            assert apart.outputs <= tolerance


def two_layers(params, x):
    return jax.nn.relu(x @ params["in"] + params["bias"][None]) @ params["out"]


PARAMS = {"in": normal(1, 3, 8), "bias": normal(2, 8), "out": normal(3, 8, 2)}
X = normal(4, 5, 3)


def removal(indices, fn=two_layers, params=PARAMS, x=X, name="in:1"):
    return graph.couplings(fn, params, x).removal({name: indices})


def test_by_hand():
    removed = removal([1, 6])
    small = surgery.slice_params(PARAMS, removed)
    kept = np.array([0, 2, 3, 4, 5, 7])
    by_hand = {
        "in": PARAMS["in"][:, kept],
        "bias": PARAMS["bias"][kept],
        "out": PARAMS["out"][kept],
    }
    jax.tree.map(np.testing.assert_array_equal, small, by_hand)
    np.testing.assert_allclose(
        surgery.shrink(two_layers, removed)(small, X), two_layers(by_hand, X), rtol=1e-5
    )


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_any_batch_size(batch):
    removed = removal([1, 6])
    small = surgery.slice_params(PARAMS, removed)
    x = normal(5, batch, 3)
    shrunk = jax.jit(surgery.shrink(two_layers, removed))(small, x)
    np.testing.assert_allclose(shrunk, surgery.masked(two_layers, removed)(PARAMS, x), rtol=1e-5)


def test_vmap_and_export():
    removed = removal([1, 6])
    small = surgery.slice_params(PARAMS, removed)
    shrunk = surgery.shrink(two_layers, removed)
    rows = jax.vmap(lambda row: shrunk(small, row[None])[0])(X)
    np.testing.assert_allclose(rows, shrunk(small, X), rtol=1e-5)
    exported = jax.export.export(jax.jit(shrunk))(small, X)
    np.testing.assert_allclose(exported.call(small, X), shrunk(small, X), rtol=1e-5)


def test_shrunk_again():
    first = removal([1, 6])
    small = surgery.slice_params(PARAMS, first)
    shrunk = surgery.shrink(two_layers, first)
    second = removal([0], fn=shrunk, params=small)
    smaller = surgery.slice_params(small, second)
    assert smaller["bias"].shape == (5,)
    at_once = surgery.slice_params(PARAMS, removal([0, 1, 6]))
    jax.tree.map(np.testing.assert_array_equal, smaller, at_once)
    again = surgery.shrink(shrunk, second)(smaller, X)
    np.testing.assert_allclose(again, two_layers(at_once, X), rtol=1e-5)


def test_nothing_removed_changes_nothing():
    removed = removal([])
    assert removed.cuts == ()
    assert surgery.slice_params(PARAMS, removed)["in"] is PARAMS["in"]
    for program in (surgery.shrink, surgery.masked):
        np.testing.assert_array_equal(
            program(two_layers, removed)(PARAMS, X), two_layers(PARAMS, X)
        )


def test_shapes_are_sliced_as_arrays_are():
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), PARAMS)
    small = surgery.slice_params(shapes, removal([1, 6]))
    assert {name: leaf.shape for name, leaf in small.items()} == {
        "in": (3, 6),
        "bias": (6,),
        "out": (6, 2),
    }


def test_zeroed_weights_are_the_masked_program_where_zero_is_neutral():
    removed = removal([1, 6])
    zeroed = surgery.zero_params(PARAMS, removed)
    np.testing.assert_array_equal(zeroed["in"][:, 6], np.zeros(3))
    np.testing.assert_allclose(
        two_layers(zeroed, X), surgery.masked(two_layers, removed)(PARAMS, X), rtol=1e-5
    )


def test_a_mean_keeps_its_divisor():
    def fn(params, x):
        return (x @ params).mean(-1)

    params = normal(1, 3, 4)
    removed = removal([2], fn, params, name=".:1")
    small = surgery.slice_params(params, removed)
    expected = (X @ small).sum(-1) / 4
    np.testing.assert_allclose(surgery.shrink(fn, removed)(small, X), expected, rtol=1e-5)


def test_a_softmax_over_what_is_left():
    def fn(params, x):
        return jax.nn.softmax(x @ params["in"]) @ params["out"]

    removed = removal([2, 3], fn)
    small = surgery.slice_params(PARAMS, removed)
    expected = fn({name: small[name] for name in ("in", "out")}, X)
    np.testing.assert_allclose(surgery.shrink(fn, removed)(small, X), expected, rtol=1e-5)
    zeroed = fn(surgery.zero_params(PARAMS, removed), X)
    assert np.max(np.abs(zeroed - expected)) > 1e-2


def test_dropout_drops_what_it_would_have_dropped():
    def fn(params, x):
        hidden = x @ params["in"]
        return (
            jnp.where(jax.random.bernoulli(jax.random.key(3), 0.5, hidden.shape), hidden, 0)
            @ params["out"]
        )

    removed = removal([1, 4], fn)
    small = surgery.slice_params(PARAMS, removed)
    np.testing.assert_allclose(
        surgery.shrink(fn, removed)(small, X),
        surgery.masked(fn, removed)(PARAMS, X),
        rtol=1e-5,
    )


def test_gradients_of_their_own_are_kept():
    """The body of relu has slope 1/2 at zero, and rounding has none at all."""

    @jax.custom_vjp
    def rounded(x):
        return jnp.round(x)

    rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, slope: (slope,))

    def fn(params, x):
        return jax.nn.relu(rounded(x @ params["in"])) @ params["out"]

    removed = removal([1, 4], fn)
    small = surgery.slice_params(PARAMS, removed)
    x = jnp.zeros_like(X)
    slope = jax.grad(lambda x: surgery.shrink(fn, removed)(small, x).sum())(x)
    np.testing.assert_array_equal(slope, np.zeros_like(X))
    slope = jax.grad(lambda params: surgery.shrink(fn, removed)(params, 3 * X).sum())(small)
    expected = jax.grad(lambda params: fn(params, 3 * X).sum())(small)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), slope, expected)
    assert np.any(slope["in"])


@jax.custom_jvp
def stepped(x):
    return jnp.round(4 * x) / 4


@stepped.defjvp
def _(primals, tangents):
    return stepped(*primals), tangents[0] * jnp.cos(primals[0])


@pytest.mark.parametrize("act", [stepped, jax.nn.relu, jax.nn.silu])
def test_second_derivatives_are_those_of_the_smaller_model(act):
    def fn(params, x):
        y = x @ params["in"]
        return jnp.sin(act(y) * jnp.ones_like(y)) @ params["out"]

    removed = removal([1, 4], fn)
    small = surgery.slice_params(PARAMS, removed)

    def curvature(fn):
        def slopes(params, x):
            return jax.grad(lambda *at: jnp.sum(fn(*at) ** 2), (0, 1))(params, x)

        return jax.jvp(slopes, (small, X), (small, X))[1]

    found, expected = curvature(surgery.shrink(fn, removed)), curvature(fn)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected
    )


def stack(params, x):
    def layer(x, each):
        return x + jnp.tanh(x @ each["up"]) @ each["down"], None

    return lax.scan(layer, x, params)[0]


def test_layers_may_lose_different_units():
    params = {"up": normal(1, 2, 3, 6), "down": normal(2, 2, 6, 3)}
    removed = removal([[0, 1], [2, 5]], stack, params, name="up:2")
    small = surgery.slice_params(params, removed)
    first, second = np.array([2, 3, 4, 5]), np.array([0, 1, 3, 4])
    by_hand = {
        "up": jnp.stack([params["up"][0][:, first], params["up"][1][:, second]]),
        "down": jnp.stack([params["down"][0][first], params["down"][1][second]]),
    }
    jax.tree.map(np.testing.assert_array_equal, small, by_hand)
    apart = oracle.difference(stack, params, (X,), removed, tolerance=TOLERANCE["float32"])
    assert max(apart) <= TOLERANCE["float32"]
    zeroed = surgery.zero_params(params, removed)
    np.testing.assert_allclose(
        stack(zeroed, X), surgery.shrink(stack, removed)(small, X), rtol=1e-5
    )


def test_a_training_step_shrinks_with_its_statistics():
    def train_fn(params, x, *, key):
        del key
        hidden = x @ params["in"]
        mean = 0.9 * params["mean"] + 0.1 * hidden.mean(0)
        return (hidden - mean[None]) @ params["out"], {**params, "mean": mean}

    def step(params, x):
        return train_fn(params, x, key=jax.random.key(0))

    params = {"in": PARAMS["in"], "mean": PARAMS["bias"], "out": PARAMS["out"]}
    removed = removal([1, 4], step, params)
    small = surgery.slice_params(params, removed)
    outputs, new = surgery.shrink(step, removed)(small, X)
    whole, whole_new = surgery.masked(step, removed)(params, X)
    np.testing.assert_allclose(outputs, whole, rtol=1e-5)
    np.testing.assert_allclose(
        new["mean"], surgery.slice_params(whole_new, removed)["mean"], rtol=1e-5
    )


def test_effects_happen_once():
    seen = []

    def fn(params, x):
        jax.debug.callback(seen.append, x.sum())
        return two_layers(params, x)

    removed = removal([1], fn)
    surgery.shrink(fn, removed)(surgery.slice_params(PARAMS, removed), X)
    jax.effects_barrier()
    assert len(seen) == 1


def test_compressed_leaves_are_materialized():
    def packed(params):
        return params | {name: quantized(params[name], SQUARE) for name in ("in", "out")}

    removed = removal([1, 6])
    leaves = packed(surgery.slice_params(PARAMS, removed))
    shrunk = jax.jit(surgery.shrink(two_layers, removed))
    np.testing.assert_allclose(shrunk(leaves, X), shrunk(oracle.plain(leaves), X), rtol=1e-5)
    with pytest.raises(TypeError, match=r"slice_params: leaf 'in' is compressed"):
        surgery.slice_params(packed(PARAMS), removed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda removed: surgery.shrink(two_layers, removed)(PARAMS, X),
            r"leaf 'bias' has size 8 along axis 0",
        ),
        (
            lambda removed: surgery.slice_params({"in": X}, removed),
            r"leaf 'bias', which the params do not have",
        ),
        (
            lambda removed: surgery.slice_params(surgery.slice_params(PARAMS, removed), removed),
            r"leaf 'bias' has shape \(6,\); the removal was made for 8 indices along axis 0",
        ),
        (
            lambda removed: surgery.shrink(
                lambda p, x: two_layers(p, x).sum() + p["in"].cumsum(1), removed
            )(surgery.slice_params(PARAMS, removed), X),
            r"shrink: the removal from .* does not fit the program: an axis must stay whole",
        ),
        (
            lambda removed: surgery.shrink(
                lambda p, x: (x @ p["in"]).reshape(5, 2, 4).sum((1, 2)), removed
            )(surgery.slice_params(PARAMS, removed), X),
            r"does not fit the program: the axes are coupled otherwise",
        ),
    ],
)
def test_params_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(removal([1, 6]))


def test_the_check_measures_both_differences():
    check = surgery.check_removal(two_layers, PARAMS, removal([1, 6]), X)
    assert check.shrunk <= TOLERANCE["float32"]
    assert check.zeroed <= TOLERANCE["float32"]

    def fn(params, x):
        return jax.nn.softmax(x @ params["in"]) @ params["out"]

    check = surgery.check_removal(fn, PARAMS, removal([1, 6], fn), X)
    assert check.shrunk <= TOLERANCE["float32"]
    assert check.zeroed > 1e-2


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharded_params_stay_sharded(mesh, axis_type):
    devices = mesh(data=2, model=2, axis_type=axis_type)
    with jax.set_mesh(devices):
        layout = {"in": P(None, "model"), "bias": P("model"), "out": P("model", None)}
        params = {
            name: jax.device_put(leaf, NamedSharding(devices, layout[name]))
            for name, leaf in PARAMS.items()
        }
        x = jax.device_put(normal(4, 4, 3), NamedSharding(devices, P("data", None)))
        fn = explicit if axis_type == AxisType.Explicit else two_layers
        removed = removal([1, 6], fn, params, x)
        small = surgery.slice_params(params, removed)
        assert {name: leaf.sharding.spec for name, leaf in small.items()} == layout
        shrunk = jax.jit(surgery.shrink(fn, removed))(small, x)
        whole = jax.jit(surgery.masked(fn, removed))(params, x)
    np.testing.assert_allclose(shrunk, whole, rtol=1e-5)


def explicit(params, x):
    """Two layers whose contraction along a sharded axis says where its result lies."""
    hidden = jax.nn.relu(x @ params["in"] + params["bias"][None])
    return jnp.einsum("bh,ho->bo", hidden, params["out"], out_sharding=P("data", None))


def test_sizes_that_a_mesh_does_not_divide_are_refused(mesh):
    devices = mesh(model=2, axis_type=AxisType.Explicit)
    removed = removal([1])
    sharding = NamedSharding(devices, P(None, "model"))
    params = {**PARAMS, "in": jax.device_put(PARAMS["in"], sharding)}
    with pytest.raises(
        ValueError, match=r"leaf 'in' keeps 7 of 8 indices along axis 1.* 2 devices"
    ):
        surgery.slice_params(params, removed)
