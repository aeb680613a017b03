"""Which factors may move: known moves of small models, and why others may not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcompress import graph
from jaxcompress.graph.symmetries import scale, scalings
from jaxcompress.graph.symmetries.solving import solutions
from tests.graph import vision, zoo
from tests.graph.zoo import normal

X = normal(1, 5, 6)


def both(fn, found, params, *inputs):
    """Outputs with every scaling moved, and without, in one program."""
    return jax.jit(lambda p, *inputs: (fn(scaled_by_all(found, p), *inputs), fn(p, *inputs)))(
        params, *inputs
    )


def scaled_by_all(found, params, seed=0):
    """The params with every scaling moved by random factors in [1/4, 4]."""
    random = np.random.default_rng(seed)
    for each in found.all:
        factors = np.exp(random.uniform(-np.log(4), np.log(4), each.size))
        params = scale(params, each, jnp.asarray(factors, jnp.float32))
    return params


def moved(found):
    """Every scaling as its size and its leaves with axes and degrees."""
    return {
        (each.size, *sorted((move.leaf, move.axes, move.degree) for move in each.moves))
        for each in found.all
    }


def norm(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * scale[None] + bias[None]


def dense():
    def fn(p, x):
        return jax.nn.relu(x @ p["a"] + p["bias"][None]) @ p["b"]

    params = {"a": normal(1, 6, 8), "bias": normal(2, 8), "b": normal(3, 8, 4)}
    return fn, params, {(8, ("a", (1,), 1), ("b", (0,), -1), ("bias", (0,), 1))}


def leaky():
    def fn(p, x):
        x = jax.nn.leaky_relu(x @ p["a"])
        return jnp.where(x > 0, x, 0.1 * x) @ p["b"]

    params = {"a": normal(1, 6, 8), "b": normal(3, 8, 4)}
    return fn, params, {(8, ("a", (1,), 1), ("b", (0,), -1))}


def squared():
    def fn(p, x):
        return jnp.square(jax.nn.relu(x @ p["a"])) @ p["b"]

    params = {"a": normal(1, 6, 8), "b": normal(3, 8, 4)}
    return fn, params, {(8, ("a", (1,), 1), ("b", (0,), -2))}


def normed():
    def fn(p, x):
        y = norm(x, p["scale"], p["shift"])
        return y @ p["q"] + jnp.tanh(y @ p["k"])

    params = {"scale": normal(1, 6), "shift": normal(2, 6), "q": normal(3, 6, 4)}
    expected = {
        (6, ("k", (0,), -1), ("q", (0,), -1), ("scale", (0,), 1), ("shift", (0,), 1)),
    }
    return fn, params | {"k": normal(4, 6, 4)}, expected


def gated():
    def fn(p, x):
        return (jax.nn.silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"]

    params = {"gate": normal(1, 6, 8), "up": normal(2, 6, 8), "down": normal(3, 8, 4)}
    return fn, params, {(8, ("down", (0,), -1), ("up", (1,), 1))}


def bilinear():
    def fn(p, x):
        return ((x @ p["a"]) * (x @ p["b"])) @ p["c"]

    params = {"a": normal(1, 6, 8), "b": normal(2, 6, 8), "c": normal(3, 8, 4)}
    expected = {
        (8, ("a", (1,), 1), ("b", (1,), -1)),
        (8, ("a", (1,), 1), ("c", (0,), -1)),
        (8, ("b", (1,), 1), ("c", (0,), -1)),
    }
    return fn, params, {frozenset(expected)}


def grouped_queries():
    """Four query heads of width 2 share two heads of keys and values."""

    def fn(p, x):
        query = (x @ p["q"]).reshape(5, 4, 2)
        key, value = ((x @ p[name]).reshape(5, 2, 2).repeat(2, axis=1) for name in "kv")
        weights = jax.nn.softmax(jnp.einsum("qhd,khd->hqk", query, key), axis=-1)
        return jnp.einsum("hqk,khd->qhd", weights, value).reshape(5, 8) @ p["out"]

    params = {"q": normal(1, 6, 8), "k": normal(2, 6, 4), "v": normal(3, 6, 4)}
    expected = {
        (4, ("k", (1,), 1), ("q", (1,), -1)),
        (4, ("out", (0,), -1), ("v", (1,), 1)),
    }
    return fn, params | {"out": normal(4, 8, 3)}, expected


def stacked():
    """Layers of a scan have factors of their own; relu lets pass between them."""

    def fn(p, x):
        def layer(x, each):
            return jax.nn.relu(jax.nn.relu(x @ each["up"]) @ each["down"]), None

        return lax.scan(layer, x, p)[0]

    params = {"up": normal(1, 3, 6, 8), "down": normal(2, 3, 8, 6)}
    between = (12, ("down", (0, 2), 1), ("up", (0, 1), -1))
    return fn, params, {(24, ("down", (0, 1), -1), ("up", (0, 2), 1)), between}


def batch_normed():
    """The batch norm's scale lies between two kernels: three ways, two independent."""

    def fn(p, x):
        y = (x @ p["a"] - p["mean"][None]) * lax.rsqrt(p["var"] + 1e-5)[None] * p["gain"][None]
        return jax.nn.relu(y + p["shift"][None]) @ p["b"]

    vectors = {name: jnp.abs(normal(i, 8)) for i, name in enumerate(("mean", "var", "gain"))}
    params = {"a": normal(5, 6, 8), "b": normal(6, 8, 4), "shift": normal(7, 8), **vectors}
    behind = (8, ("b", (0,), -1), ("gain", (0,), 1), ("shift", (0,), 1))
    before = (8, ("a", (1,), 1), ("gain", (0,), -1), ("mean", (0,), 1))
    across = (8, ("a", (1,), 1), ("b", (0,), -1), ("mean", (0,), 1), ("shift", (0,), 1))
    return fn, params, {behind, before, across}


def tied():
    """An embedding that is also the output projection, behind a norm with a scale."""

    def fn(p, x):
        ids = jnp.argmax(x, -1)
        return norm(p["embed"][ids], p["scale"], p["shift"]) @ p["embed"].T

    params = {"embed": normal(1, 6, 8), "scale": normal(2, 8), "shift": normal(3, 8)}
    return fn, params, set()


def looked_up():
    def fn(p, x):
        return jnp.tanh(p["embed"][jnp.argmax(x, -1)] @ p["a"])

    params = {"embed": normal(1, 6, 8), "a": normal(2, 8, 4)}
    return fn, params, {(8, ("a", (0,), -1), ("embed", (1,), 1))}


def depthwise():
    def fn(p, x):
        image = x.reshape(5, 1, 1, 6)
        y = vision.convolved(image, p["expand"])
        y = jax.nn.relu(vision.convolved(y, p["depthwise"], groups=8))
        return vision.convolved(y, p["project"])

    params = {"expand": normal(1, 1, 1, 6, 8), "depthwise": normal(2, 3, 3, 1, 8)}
    expected = {
        (8, ("depthwise", (3,), 1), ("expand", (3,), -1)),
        (8, ("depthwise", (3,), 1), ("project", (2,), -1)),
        (8, ("expand", (3,), 1), ("project", (2,), -1)),
    }
    return fn, params | {"project": normal(3, 1, 1, 8, 4)}, expected


MODELS = [
    dense,
    leaky,
    squared,
    normed,
    gated,
    grouped_queries,
    stacked,
    batch_normed,
    tied,
    looked_up,
    depthwise,
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_known_moves_are_found_and_leave_the_function(model):
    fn, params, expected = model()
    found = scalings(fn, params, X)
    assert moved(found) == expected
    ours, theirs = both(fn, found, params, X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_of_several_ways_every_one_is_listed():
    fn, params, (expected,) = bilinear()
    assert moved(scalings(fn, params, X)) == expected


@pytest.mark.parametrize(
    "model", [vision.lenet, vision.densenet, vision.mobilenet, vision.gpt, vision.gru]
)
def test_scalings_leave_the_function(model):
    model = model()
    found = scalings(model.fn, model.params, *model.inputs)
    ours, theirs = both(model.fn, found, model.params, *model.inputs)
    # Products of up to four factors in [1/4, 4] and their inverses, in float32.
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(theirs).max()) * 16)


def test_a_scaling_says_which_sites_read_it():
    model = zoo.llama()
    found = scalings(model.fn, model.params, *model.inputs)
    (of_down,) = found.reading("layers/down")
    assert of_down.size == 2 * 12
    assert {move.leaf for move in of_down.moves} == {"layers/down", "layers/gate_up"}
    # The up half of the fused kernel, none of the gate's.
    up = next(move for move in of_down.moves if move.leaf == "layers/gate_up")
    assert up.channels.shape == (2, 1, 24)
    assert (up.channels[0, 0, :12] == -1).all()
    np.testing.assert_array_equal(up.channels[1, 0, 12:], np.arange(12, 24))


def test_what_blocks_is_told_with_its_line():
    model = zoo.linen_transformer()
    found = scalings(model.fn, model.params, *model.inputs)
    (why,) = found.blocked.values()
    assert why.startswith("add (")  # of the cubic inside of gelu
    assert "zoo.py:" in why
    assert why in str(found)


BLOCKERS = {
    "tanh": jnp.tanh,
    "min": lambda x: jnp.minimum(x, 6.0),
    "sort": lambda x: jnp.sort(x, axis=-1),
    "add": lambda x: x + 1.0,
    "sub": lambda x: x - x.sum(-1, keepdims=True),
}


@pytest.mark.parametrize("primitive", BLOCKERS)
def test_a_function_that_is_not_homogeneous_lets_nothing_pass(primitive):
    def fn(p, x):
        return BLOCKERS[primitive](x @ p["a"]) @ p["b"]

    found = scalings(fn, {"a": normal(1, 6, 8), "b": normal(2, 8, 4)}, X)
    assert not found.all
    assert found.blocked["b"].startswith(f"{primitive} (")
    assert found.blocked["a"] == "an input of the model"


def test_a_branch_and_a_loop_move_what_they_share():
    def fn(p, x):
        y = x @ p["a"]
        y = lax.cond(x.sum() > 0, lambda y: 2 * y, lambda y: -y, y)
        y = lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, jax.nn.relu(s[1])), (0, y))[1]
        y = lax.scan(lambda c, _: (jnp.maximum(c, 0), c), y, None, length=2)[1].sum(0)
        return y @ p["b"]

    params = {"a": normal(1, 6, 8), "b": normal(2, 8, 4)}
    found = scalings(fn, params, X)
    assert moved(found) == {(8, ("a", (1,), 1), ("b", (0,), -1))}
    np.testing.assert_allclose(*both(fn, found, params, X), rtol=1e-4, atol=1e-5)


def test_padding_concatenation_and_shuffles_follow_the_channels():
    def fn(p, x):
        y = jnp.concatenate([x @ p["a"], jnp.zeros((5, 2)), x @ p["b"]], axis=1)  # (5, 2 + 2 + 4)
        y = jnp.pad(y, ((0, 0), (0, 1))).reshape(5, 3, 3).swapaxes(1, 2).reshape(5, 9)
        return y[:, ::-1] @ p["c"]

    params = {"a": normal(1, 6, 2), "b": normal(2, 6, 4), "c": normal(3, 9, 4)}
    found = scalings(fn, params, X)
    assert {each.size for each in found.all} == {2, 4}
    np.testing.assert_allclose(*both(fn, found, params, X), rtol=1e-4, atol=1e-5)


def test_elementary_solutions_are_of_least_support():
    assert set(solutions((((0, 1), (1, 1), (2, -1)),), 3)) == {(-1, 1, 0), (1, 0, 1), (0, 1, 1)}
    assert solutions((), 1) == [(1,)]
    assert solutions((((0, 2), (1, -1)),), 2) == [(1, 2)]


def test_abstract_shapes_and_compressed_leaves_give_the_same():
    fn, params, expected = dense()
    shapes = jax.eval_shape(lambda: params)
    assert moved(scalings(fn, shapes, X)) == expected


def test_no_scaling_without_params_that_meet():
    assert scalings(lambda p, x: x + p["a"], {"a": jnp.ones(())}, X).all == ()
    assert scalings(lambda p, x: x, {}, X).all == ()


def test_scale_checks_what_it_is_given():
    fn, params, _ = dense()
    (found,) = scalings(fn, params, X).all
    with pytest.raises(TypeError, match=r"scale\(scaling=3\)"):
        scale(params, 3, jnp.ones(8))
    with pytest.raises(ValueError, match=r"scale\(factors\): shape \(7,\)"):
        scale(params, found, jnp.ones(7))
    with pytest.raises(ValueError, match="positive and finite"):
        scale(params, found, jnp.zeros(8))
    with pytest.raises(TypeError, match="array of real numbers"):
        scale(params, found, "ones")
    with pytest.raises(ValueError, match="no leaf 'b'"):
        scale({"a": params["a"]}, found, jnp.ones(8))
    with pytest.raises(ValueError, match=r"leaf 'b' has shape \(3, 4\)"):
        scale(params | {"b": jnp.ones((3, 4))}, found, jnp.ones(8))


def test_dtypes_stay():
    fn, params, _ = dense()
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    (found,) = graph.symmetries.scalings(fn, params, X.astype(jnp.bfloat16)).all
    after = scale(params, found, jnp.full(8, 2.0))
    assert {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(after["b"], params["b"] / 2)
