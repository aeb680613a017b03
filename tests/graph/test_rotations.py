"""What may be rotated: the same outputs for any orthogonal matrix, and why not."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph
from jaxcompress.core.names import named_leaves
from jaxcompress.core.orthogonal import fixing_ones, hadamard, random_hadamard, random_orthogonal
from jaxcompress.graph.symmetries import random_matrix, rotate, rotations, untied
from tests.graph import random_programs, vision, zoo
from tests.graph.oracle import QUICKLY
from tests.graph.zoo import normal

TOLERANCE = 2e-5
"""Some dozens of products in float32, one after the other, each off by 1e-7 or so."""
FOUND = {
    zoo.tied_gpt: {
        "embed:1": 8,
        "layers/0/qkv:1#2": 4,
        "layers/0/qkv:1#3": 4,
        "layers/1/qkv:1#2": 4,
        "layers/1/qkv:1#3": 4,
    },
    zoo.llama: {"embed:1": 8, "layers/qkv:2#3": 4},
    zoo.linen_transformer: {
        "Embed_0/embedding:1": 8,
        "ScanCheckpointLayer_0/MultiHeadDotProductAttention_0/query/kernel:3": 4,
        "ScanCheckpointLayer_0/MultiHeadDotProductAttention_0/value/kernel:3": 4,
    },
    zoo.linen_lstm: {},
    zoo.nnx_attention: {
        "embed/embedding:1": 8,
        "attention/query/kernel:2": 4,
        "attention/value/kernel:2": 4,
    },
    zoo.routed: {"a:1": 2},
    zoo.equinox_tokens: {"embed/weight:1": 6},
    vision.vit: {"token:2": 8, "attention/query/kernel:2": 4, "attention/value/kernel:2": 4},
    vision.gpt: {"layers/qkv:2#2": 4},
    vision.densenet: {"transition:3": 6},
    vision.lenet: {},
    vision.gru: {},
}
"""By model the rotations of its program, and their sizes."""
LONG = (zoo.linen_transformer, zoo.nnx_attention, zoo.linen_lstm, zoo.equinox_tokens)
"""Models of frameworks, which take long to trace, and much that others hold, too."""
MODELS = [pytest.param(make, marks=pytest.mark.slow) if make in LONG else make for make in FOUND]


def varied(params):
    """The params with no two entries of a scale alike."""

    def each(leaf):
        steps = np.linspace(1, 2, leaf.shape[-1], dtype=leaf.dtype)
        return np.asarray(leaf) * steps + 0.1 * steps

    return jax.tree.map(each, params)


def largest(tree) -> float:
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(jax.device_get(tree)))


def assert_same(fn, params, found, inputs):
    """All rotations at once change the params and not the outputs."""

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def both(params, inputs):
        rotated = params
        for seed, each in enumerate(found):
            rotated = rotate(rotated, each, random_matrix(each, seed))
        return rotated, fn(params, *inputs), fn(rotated, *inputs)

    rotated, before, after = jax.device_get(both(params, inputs))
    before_by_name, after_by_name = named_leaves(jax.device_get(params)), named_leaves(rotated)
    for place in (place for each in found for place in each.places):
        assert largest(before_by_name[place.leaf] - after_by_name[place.leaf]) > 0
    difference = largest(jax.tree.map(lambda a, b: a - b, before, after))
    assert difference <= TOLERANCE * largest(before)


def plain(sizes):
    """Names without their numbers, which go by the order of the program's equations."""
    return sorted((name.partition("#")[0], size) for name, size in sizes.items())


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_models_keep_their_outputs_when_all_that_may_is_rotated(make):
    model = make()
    params = varied(model.params)
    found = rotations(model.fn, params, *model.inputs).found
    assert plain({each.name: each.size for each in found}) == plain(FOUND[make])
    if found:
        assert_same(model.fn, params, found, model.inputs)


@pytest.mark.parametrize(
    "seed", [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(80)]
)
def test_random_programs_keep_their_outputs(seed):
    def single(leaf):
        floating = np.issubdtype(np.asarray(leaf).dtype, np.floating)
        return jnp.asarray(leaf, jnp.float32 if floating else None)

    model = random_programs.program(seed)
    params, inputs = jax.tree.map(single, (model.params, model.inputs))
    found = rotations(model.fn, params, *inputs).found
    if found:
        assert_same(model.fn, params, found, inputs)


X = normal(1, 5, 3)
PARAMS = {
    "in": normal(2, 3, 6),
    "scale": jnp.arange(1.0, 7.0),
    "shift": normal(3, 6),
    "out": normal(4, 6, 2),
}


def rms(x):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True))


def centred(x):
    return rms(x - x.mean(-1, keepdims=True))


def with_norm(norm):
    def fn(params, x):
        h = norm(x @ params["in"]) * params["scale"][None] + params["shift"][None]
        return h @ params["out"]

    return fn


@pytest.mark.parametrize(("norm", "fixes_ones"), [(rms, False), (centred, True)])
def test_scales_fold_into_what_reads_them(norm, fixes_ones):
    fn = with_norm(norm)
    (found,) = rotations(fn, PARAMS, X).found
    assert (found.name, found.fixes_ones) == ("in:1", fixes_ones)
    assert [(place.leaf, place.axis) for place in found.places] == [
        ("in", 1),
        ("shift", 0),
        ("out", 0),
    ]
    (fold,) = found.folds
    assert fold.scale.leaf == "scale"
    assert [place.leaf for place in (*fold.into, *fold.out_of)] == ["out", "shift"]
    turned = rotate(PARAMS, found, random_matrix(found))
    assert_same(fn, PARAMS, [found], (X,))
    np.testing.assert_array_equal(turned["scale"], np.ones(6))
    # By hand: entries rotate as rows, the scale goes to the reader first.
    matrix = random_matrix(found)
    by_hand = matrix.T @ (PARAMS["scale"][:, None] * PARAMS["out"])
    np.testing.assert_allclose(turned["out"], by_hand, rtol=1e-5, atol=1e-5)


def far(x):
    return (x * x).sum(-1, keepdims=True) > 1


def layer_scaled(between):
    def fn(params, x):
        h = x @ params["in"]
        made = jnp.tanh(rms(h) @ params["up"]) @ params["down"]
        return between(h, made, params) @ params["out"]

    return fn


LAYER_SCALE = {
    **{name: PARAMS[name] for name in ("in", "shift", "out")},
    "scale": jnp.arange(6.0) - 2,
    "up": normal(5, 6, 4),
    "down": normal(6, 4, 6),
}


@pytest.mark.parametrize(
    ("between", "into"),
    [
        (lambda h, made, params: h + params["scale"] * made, ["down"]),
        (
            lambda h, made, params: h - params["scale"] * -(made + params["shift"]) / 2,
            ["down", "shift"],
        ),
        (lambda h, made, params: h + params["scale"] * jnp.where(far(h), made, 0), ["down"]),
        (
            lambda h, made, params: h + params["scale"] * jnp.where(far(h), made, params["shift"]),
            ["down", "shift"],
        ),
        (
            lambda h, made, params: (
                h + params["scale"] * jax.lax.fori_loop(0, 3, lambda i, c: c / 2 + made, 0 * made)
            ),
            ["down"],
        ),
        (lambda h, made, params: h + params["scale"] * jnp.where(far(h), made, 1), None),
        (lambda h, made, params: h + (1 + params["scale"]) * made, None),
        (lambda h, made, params: h + params["scale"] * made * (params["scale"] ** 2).sum(), None),
        (lambda h, made, params: h + params["scale"] * made * (params["down"] ** 2).sum(), None),
        # The value is also read without the scale, or is not made of leaves alone.
        (lambda h, made, params: h + params["scale"] * made + made, None),
        (lambda h, made, params: h + params["scale"] * (made + 1), None),
        (lambda h, made, params: h + params["scale"] * rms(made), None),
        (lambda h, made, params: h + params["scale"] * (made + h), None),
        (lambda h, made, params: h + params["scale"] * made + params["scale"], None),
    ],
)
def test_scales_fold_into_what_makes_the_values(between, into):
    fn, params = layer_scaled(between), LAYER_SCALE
    with jax.numpy_rank_promotion("allow"):
        found = {each.name: each for each in rotations(fn, params, X).found}
        if into is None:
            assert "in:1" not in found
            return
        (fold,) = found["in:1"].folds
        assert sorted(place.leaf for place in fold.into) == into
        assert_same(fn, params, [found["in:1"]], (X,))
        turned = rotate(params, found["in:1"], random_matrix(found["in:1"]))
    np.testing.assert_array_equal(turned["scale"], np.ones(6))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stacked_layers_fold_scales_of_their_own(axis):
    def fn(params, x):
        def layer(x, each):
            made = jnp.tanh(rms(x) * each["gain"][None] @ each["up"]) @ each["down"]
            return x + each["scale"][None] * made, None

        layers = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, axis, 0), params["layers"])
        return jax.lax.scan(layer, x @ params["in"], layers)[0] @ params["out"]

    shapes = {"gain": (6,), "up": (6, 4), "down": (4, 6), "scale": (6,)}
    layers = {name: normal(seed, 3, *shapes[name]) for seed, name in enumerate(shapes, 5)}
    layers = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, axis), layers)
    params = {"layers": layers, "in": PARAMS["in"], "out": PARAMS["out"]}
    (found,) = rotations(fn, params, X).found
    assert {fold.scale.leaf: fold.into[0].leaf for fold in found.folds} == {
        "layers/gain": "layers/up",
        "layers/scale": "layers/down",
    }
    assert_same(fn, params, [found], (X,))


def blocked(fn, params, *inputs) -> dict[str, str]:
    return {each.name: each.reason for each in rotations(fn, params, *inputs).blocked}


IN_OUT = {"in": PARAMS["in"], "out": PARAMS["out"], "scale": PARAMS["scale"]}


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda h, params: jax.nn.relu(h), r"^max \("),
        (lambda h, params: jax.lax.max(h, jnp.ones_like(h)), r"^max \(.*test_rotations.py"),
        (lambda h, params: jax.nn.softmax(h), "reduce_max"),
        (lambda h, params: jnp.sort(h), "needed whole by sort"),
        (lambda h, params: h * h, "dot_general .* of a product by mul"),
        (lambda h, params: 1 / h, "div .* as a divisor"),
        (lambda h, params: h * jnp.arange(6.0)[None], "mul"),
        (lambda h, params: jnp.where(jnp.arange(6)[None] < 2, h, 0), "select_n"),
        (lambda h, params: h + h * params["scale"][None], "with the entries of 'scale'"),
        (lambda h, params: jnp.tanh(h * params["scale"][None]), r"^tanh \(.*test_rotations.py"),
        (lambda h, params: h.at[:, 0].set(0), "needed whole by scatter|scatter"),
    ],
)
def test_what_treats_directions_differently_blocks(between, reason):
    def fn(params, x):
        return between(x @ params["in"], params) @ params["out"]

    assert re.search(reason, blocked(fn, IN_OUT, X)["in:1"])


@pytest.mark.parametrize(
    "between",
    [
        lambda h, params: h + h.sum(0, keepdims=True),
        lambda h, params: jnp.where((h * h).sum(-1, keepdims=True) > 1, h, 0),
        lambda h, params: h[::-1] - 3 * h.astype(jnp.float32),
        lambda h, params: jnp.concatenate([h, jnp.zeros((2, 6))])[1:],
        lambda h, params: jnp.flip(h.reshape(5, 2, 3), 2).reshape(5, 6),
        lambda h, params: (h @ h.T) @ h,
        lambda h, params: jnp.cumsum(h, 0),
        lambda h, params: jax.lax.fori_loop(0, 3, lambda i, y: y + h, jnp.zeros_like(h)),
        lambda h, params: jax.lax.cond(h[0] @ h[0] > 1, lambda: h, lambda: -h),
    ],
)
def test_what_treats_all_directions_alike_passes(between):
    def fn(params, x):
        return between(x @ params["in"], params) @ params["out"]

    found = rotations(fn, IN_OUT, X).found
    assert found
    assert not any(each.fixes_ones for each in found)
    assert_same(fn, IN_OUT, found, (X,))


def test_a_tied_table_takes_no_scale_unless_its_entries_are_equal():
    def fn(params, ids):
        return (rms(params["table"][ids]) * params["scale"][None]) @ params["table"].T

    params = {"table": normal(1, 7, 6), "scale": PARAMS["scale"]}
    ids = jnp.arange(4)
    reason = blocked(fn, params, ids)["table:1"]
    assert "'table' would have to take over the scale 'scale' and is also read" in reason
    equal = params | {"scale": jnp.full(6, 2.0)}
    (found,) = rotations(fn, equal, ids).found
    assert [place.leaf for place in found.equal] == ["scale"]
    assert_same(fn, equal, [found], (ids,))
    with pytest.raises(ValueError, match="'scale' along axis 0 were equal when"):
        rotate(params, found, random_matrix(found))


def test_layers_have_scales_of_their_own_only_with_readers_of_their_own():
    def fn(params, x):
        def layer(x, each):
            scale, kernel = each["scale"], each.get("kernel", params.get("kernel"))
            return x + jnp.tanh((rms(x) * scale[None]) @ kernel) @ params["down"], None

        return jax.lax.scan(layer, x @ params["in"], params["layers"])[0] @ params["out"]

    shared = {"in": normal(1, 3, 6), "down": normal(2, 4, 6), "out": normal(3, 6, 2)}
    scale, kernel = normal(4, 2, 6), normal(5, 2, 6, 4)
    own = shared | {"layers": {"scale": scale, "kernel": kernel}}
    (found,) = rotations(fn, own, X).found
    assert_same(fn, own, [found], (X,))
    one = shared | {"layers": {"scale": scale}, "kernel": kernel[0]}
    assert "one for all layers" in blocked(fn, one, X)["in:1"]


def test_a_scaled_value_is_not_carried_to_another_layer():
    def fn(params, x):
        def layer(x, each):
            return rms(x @ each["kernel"]) * each["scale"][None], None

        return jax.lax.scan(layer, jnp.zeros_like(x @ params["in"]), params["layers"])[0]

    def read(params, x):
        return fn(params, x) @ params["out"]

    layers = {"kernel": normal(5, 2, 6, 6), "scale": normal(4, 2, 6)}
    assert not rotations(read, {"layers": layers, **IN_OUT}, X).found


def test_a_product_with_a_leaf_that_is_summed_rotates_the_leaf():
    def fn(params, x):
        return ((x @ params["in"]) * params["scale"][None]).sum(-1)

    (found,) = rotations(fn, IN_OUT, X).found
    assert {place.leaf for place in found.places} == {"in", "scale"}
    assert_same(fn, IN_OUT, [found], (X,))


def test_a_shift_after_a_scale_of_zero_blocks():
    params = PARAMS | {"scale": PARAMS["scale"].at[2].set(0)}
    assert "cannot be divided" in blocked(with_norm(rms), params, X)["in:1"]
    params["shift"] = params["shift"].at[2].set(0)
    (found,) = rotations(with_norm(rms), params, X).found
    assert_same(with_norm(rms), params, [found], (X,))


def test_an_axis_made_of_the_dim_twice_blocks():
    def fn(params, x):
        h = x @ params["in"]
        outer = (h[:, :, None] * h[:, None, :]).reshape(5, 36)
        return outer @ params["pairs"]

    assert not rotations(fn, {"in": normal(1, 3, 6), "pairs": normal(2, 36, 2)}, X).found


def test_heads_of_each_layer_take_a_matrix_of_their_own():
    model = zoo.llama()
    found = {each.name: each for each in rotations(model.fn, model.params, *model.inputs).found}
    heads = found["layers/qkv:2#3"]
    assert heads.layers == 2
    assert random_matrix(heads).shape == (2, 4, 4)
    one = rotate(model.params, heads, random_hadamard(4, 3))
    alike = rotate(model.params, heads, np.stack([random_hadamard(4, 3)] * 2))
    for name in ("qkv", "out"):
        pair = one["layers"][name], alike["layers"][name]
        np.testing.assert_allclose(*pair, rtol=1e-6, atol=1e-6)


def test_shapes_are_enough_and_reports_name_leaves():
    model = vision.vit()
    shapes = jax.eval_shape(lambda: model.params)
    found = rotations(model.fn, shapes, *model.inputs)
    told = str(found)
    assert "token:2: 8 × 8, keeps the ones" in told
    assert "scale norm/scale folds into attention/query/kernel axis 0" in told
    assert "integer_pow (vision.py:" in told


def test_wrong_matrices_and_params_are_refused():
    (found,) = rotations(with_norm(centred), PARAMS, X).found
    good = random_matrix(found)
    with pytest.raises(ValueError, match=r"shape \(3, 3\); 'in:1' takes \(6, 6\)"):
        rotate(PARAMS, found, np.eye(3))
    with pytest.raises(ValueError, match="not orthogonal"):
        rotate(PARAMS, found, 2 * good)
    with pytest.raises(ValueError, match="not orthogonal"):
        rotate(PARAMS, found, np.full((6, 6), np.nan))
    with pytest.raises(ValueError, match="moves the vector of ones"):
        rotate(PARAMS, found, random_orthogonal(6, 0))
    with pytest.raises(ValueError, match="leaf 'out' must have 6 entries along axis 0"):
        rotate(PARAMS | {"out": jnp.ones((5, 2))}, found, good)
    with pytest.raises(TypeError, match="rotation="):
        rotate(PARAMS, found.name, good)


def test_params_keep_dtypes_and_are_not_changed():
    halves = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    (found,) = rotations(with_norm(rms), halves, X).found
    turned = jax.jit(lambda params, matrix: rotate(params, found, matrix))(
        halves, random_matrix(found)
    )
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(turned))
    np.testing.assert_array_equal(halves["scale"], PARAMS["scale"])


@pytest.mark.parametrize("size", [1, 2, 12, 20, 28, 36, 48])
def test_hadamard_matrices_have_orthogonal_rows_of_signs(size):
    matrix = hadamard(size)
    assert set(np.unique(matrix)) <= {-1, 1}
    np.testing.assert_array_equal(matrix @ matrix.T, size * np.eye(size))


@pytest.mark.parametrize("size", [1, 2, 3, 12, 14, 100, 101])
def test_random_matrices_are_orthogonal(size):
    for matrix in (random_hadamard(size, 1), random_orthogonal(size, 1)):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)
        whole = fixing_ones(matrix)
        np.testing.assert_allclose(whole @ whole.T, np.eye(size + 1), atol=1e-12)
        np.testing.assert_allclose(whole.sum(0), 1, atol=1e-12)


def test_sizes_without_a_matrix_have_none():
    assert [hadamard(size) for size in (3, 6, 52, 92)] == [None] * 4


def test_the_door_is_open():
    assert graph.symmetries.rotations is rotations


@pytest.mark.parametrize("wrapped", [lambda fn: fn, jax.jit])
def test_an_untied_table_lets_the_stream_rotate(wrapped):
    model = vision.gpt()
    fn, params = untied(wrapped(model.fn), model.params, *model.inputs)
    assert [*named_leaves(params)] == [*named_leaves(model.params), "untied/embed"]
    before = jax.jit(model.fn)(model.params, *model.inputs)
    np.testing.assert_allclose(jax.jit(fn)(params, *model.inputs), before, rtol=1e-5, atol=1e-5)
    found = {each.name: each for each in rotations(fn, params, *model.inputs).found}
    assert [name.partition("#")[0] for name in found] == ["embed:1", "layers/qkv:2"]
    assert {fold.scale.leaf: fold.into[0].leaf for fold in found["embed:1"].folds} == {
        "layers/norm1": "layers/qkv",
        "layers/norm2": "layers/up",
        "norm": "untied/embed",
    }
    # The second leaf is the one that multiplies, the first is looked up.
    zero = params | {"untied": {"embed": jnp.zeros((11, 8))}}
    assert not jax.jit(fn)(zero, *model.inputs).any()


def test_what_cannot_be_untied_says_so():
    def step(table):
        return lambda x, ids: (x + jnp.tanh(table[ids] @ table.T @ table), None)

    def fn(table, ids):
        return jax.lax.scan(step(table), jnp.zeros((3, 4)), ids)[0]

    table, ids = normal(1, 5, 4), jnp.zeros((2, 3), jnp.int32)
    with pytest.raises(ValueError, match=r"looked up and multiplied inside of one scan \(.*test"):
        untied(fn, table, ids)
    plain = untied(with_norm(rms), PARAMS, X)
    assert plain[1] is PARAMS
    tied = {"untied": table}
    with pytest.raises(ValueError, match="has a key 'untied' already"):
        untied(lambda params, ids: params["untied"][ids] @ params["untied"].T, tied, ids)
    apart, params = untied(lambda table, ids: table[ids] @ table.T, table, ids)
    np.testing.assert_allclose(apart(params, ids), table[ids] @ table.T, rtol=1e-5, atol=1e-5)


def test_experts_read_and_write_the_stream():
    def fn(params, x, sizes):
        h = x @ params["in"]
        up = jax.nn.relu(jax.lax.ragged_dot(rms(h) * params["scale"][None], params["up"], sizes))
        return (h + jax.lax.ragged_dot(up, params["down"], sizes)) @ params["out"]

    params = IN_OUT | {"up": normal(5, 2, 6, 4), "down": normal(6, 2, 4, 6)}
    (found,) = rotations(fn, params, X, jnp.array([2, 3])).found
    assert [(place.leaf, place.axis) for place in found.places] == [
        ("in", 1),
        ("up", 1),
        ("down", 2),
        ("out", 0),
    ]
    assert_same(fn, params, [found], (X, jnp.array([2, 3])))
