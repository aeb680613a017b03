"""K-FAC: the layers that are found, their factors by hand, and the natural gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcompress import optimizers
from tests.optimizers.test_contract import ROUNDING, SIZES

KEY = np.array([0, 7], np.uint32)


def a_key():
    return jax.random.wrap_key_data(jnp.asarray(KEY))


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def conv(x, kernel, numbers, **options):
    return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=numbers, **options)


def once_more(carry, w):
    return jnp.tanh(carry @ w["kernel"] + w["bias"][None]), None


def repeated(carry, w):
    return jnp.tanh(carry @ w), None


class Model(NamedTuple):
    """A model with the layers that are there to be found, and what is left out."""

    name: str
    fn: object
    params: dict
    x: object
    layers: dict
    """kernel -> bias"""
    left_out: tuple = ()


X = jnp.ones((4, 3))
IMAGES = jnp.ones((2, 5, 5, 2))
W, B = jnp.ones((3, 6)), jnp.ones(6)
MODELS = [
    Model("dense", lambda p, x: x @ p["w"] + p["b"][None], {"w": W, "b": B}, X, {"w": "b"}),
    Model("bias first", lambda p, x: p["b"][None] + x @ p["w"], {"w": W, "b": B}, X, {"w": "b"}),
    Model("no bias", lambda p, x: x @ p["w"], {"w": W}, X, {"w": ""}),
    Model(
        "rows are units",
        lambda p, x: x @ p["w"].T + p["b"][None],
        {"w": W.T, "b": B},
        X,
        {"w": "b"},
    ),
    Model(
        "heads",
        lambda p, x: jnp.einsum("bi,ihd->bhd", x, p["w"]) + p["b"][None],
        {"w": jnp.ones((3, 2, 4)), "b": jnp.ones((2, 4))},
        X,
        {"w": "b"},
    ),
    Model(
        "narrow arithmetic",
        lambda p, x: (
            (x.astype("bfloat16") @ p["w"].astype("bfloat16")).astype("float32") + p["b"][None]
        ),
        {"w": W, "b": B},
        X,
        {"w": "b"},
    ),
    Model(
        "convolution",
        lambda p, x: (
            conv(x, p["w"], ("NHWC", "HWIO", "NHWC"), window_strides=(1, 1), padding="SAME")
            + p["b"][None, None, None]
        ),
        {"w": jnp.ones((3, 3, 2, 6)), "b": B},
        IMAGES,
        {"w": "b"},
    ),
    Model(
        "grouped convolution",
        lambda p, x: conv(
            x,
            p["w"],
            ("NHWC", "HWIO", "NHWC"),
            window_strides=(1, 1),
            padding="SAME",
            feature_group_count=2,
        ),
        {"w": jnp.ones((3, 3, 1, 6))},
        IMAGES,
        {},
        ("w",),
    ),
    Model(
        "inside jit and checkpoint",
        lambda p, x: jax.jit(jax.checkpoint(lambda p: x @ p["w"] + p["b"][None]))(p),
        {"w": W, "b": B},
        X,
        {"w": "b"},
    ),
    Model(
        "stacked layers",
        lambda p, x: jax.lax.scan(once_more, x, p)[0],
        {"kernel": jnp.ones((2, 3, 3)), "bias": jnp.ones((2, 3))},
        X,
        {"kernel": "bias"},
    ),
    Model(
        "experts",
        lambda p, x: jnp.einsum("bi,eio->ebo", x, p["w"]),
        {"w": jnp.ones((2, 3, 6))},
        X,
        {"w": ""},
    ),
    Model(
        "the same layer in each turn",
        lambda p, x: jax.lax.scan(lambda x, _: repeated(x, p["w"]), x, length=2)[0],
        {"w": jnp.ones((3, 3))},
        X,
        {},
        ("w",),
    ),
    Model("tied", lambda p, x: x @ p["w"] @ p["w"].T, {"w": W}, X, {}, ("w",)),
    Model("masked", lambda p, x: x @ (p["w"] * p["b"][None]), {"w": W, "b": B}, X, {}, ("w",)),
    Model(
        "embedding",
        lambda p, x: p["table"][x] @ p["w"],
        {"table": jnp.ones((5, 3)), "w": W},
        jnp.zeros(4, int),
        {"w": ""},
        ("table",),
    ),
    Model(
        "branch",
        lambda p, x: jax.lax.cond(x[0, 0] > 0, lambda: x @ p["w"], lambda: jnp.ones((4, 6))),
        {"w": W},
        X,
        {},
        ("w",),
    ),
    Model(
        "a bias with two uses",
        lambda p, x: x @ p["w"] + p["b"][None] + jnp.sum(p["b"]),
        {"w": W, "b": B},
        X,
        {"w": ""},
    ),
    Model(
        "an output with two uses",
        lambda p, x: (lambda y: y + p["b"][None] + jnp.tanh(y))(x @ p["w"]),
        {"w": W, "b": B},
        X,
        {"w": ""},
    ),
    Model(
        "a bias by row",
        lambda p, x: x @ p["w"] + p["b"][:, None],
        {"w": jnp.ones((3, 4)), "b": jnp.ones(4)},
        X,
        {"w": ""},
    ),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_layers_are_found_and_what_is_none_is_named(model):
    found = optimizers.kfac_layers(model.fn, model.params, model.x)
    assert {layer.kernel: layer.bias for layer in found.layers} == model.layers
    assert tuple(found.left_out) == model.left_out


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_factors_have_the_shapes_of_the_layers(model):
    def factors(params, x, key):
        likelihood = lambda y, key: optimizers.gaussian(y.reshape(len(y), -1), key)  # noqa: E731
        return optimizers.kfac_factors(model.fn, params, (x,), key, likelihood)

    shapes = jax.eval_shape(factors, model.params, model.x, a_key())
    scaled = optimizers.scale_by_kfac(
        optimizers.kfac_layers(model.fn, model.params, model.x).layers, a_key()
    )
    state = jax.eval_shape(scaled.init, model.params)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, state.factors)


LABELS = np.array([0, 2, 1, 1, 0])


def of_labels(logits, key):
    """Not drawn: what a hand-made gradient knows."""
    del key
    return -jax.nn.log_softmax(logits)[np.arange(len(LABELS)), LABELS]


def softmax_gradient(logits):
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return chances - np.eye(logits.shape[1])[LABELS]


def with_one(a):
    return np.concatenate([a, np.ones((*a.shape[:-1], 1))], axis=-1)


def check_factors(factors, inputs, gradients, examples=len(LABELS)):
    """Of (rows, n) in float64; the sums have few terms of order 1."""
    a, s = inputs.T @ inputs / examples, gradients.T @ gradients / len(gradients)
    np.testing.assert_allclose(factors.inputs, a, rtol=0, atol=32 * ROUNDING * np.abs(a).max())
    np.testing.assert_allclose(factors.outputs, s, rtol=0, atol=64 * ROUNDING * np.abs(s).max())


def measured(fn, params, x):
    call = jax.jit(lambda p, x: optimizers.kfac_factors(fn, p, (x,), a_key(), of_labels))
    return call(params, x)


@pytest.mark.parametrize("turned", [False, True])
def test_factors_of_two_dense_layers_are_those_by_hand(turned):
    """Neither is square; `turned` kernels have a row for each unit."""
    x = normal(5, 4)
    params = {
        "first": {"w": normal(4, 6, seed=1), "b": normal(6, seed=2)},
        "last": {"w": normal(6, 3, seed=3)},
    }

    def fn(params, x):
        first, last = params["first"]["w"], params["last"]["w"]
        if turned:
            first, last = first.T, last.T
        return jnp.tanh(x @ first + params["first"]["b"][None]) @ last

    given = params
    if turned:
        given = {name: {**layer, "w": layer["w"].T} for name, layer in params.items()}
    factors = measured(fn, given, x)
    wide = jax.tree.map(np.float64, params)
    hidden = np.tanh(x.astype(np.float64) @ wide["first"]["w"] + wide["first"]["b"])
    last = softmax_gradient(hidden @ wide["last"]["w"])
    first = (last @ wide["last"]["w"].T) * (1 - hidden**2)
    check_factors(factors["first/w"], with_one(x.astype(np.float64)), first)
    check_factors(factors["last/w"], hidden, last)


@pytest.mark.parametrize("layout", ["HWIO", "OIHW"])
def test_factors_of_a_convolution_are_those_by_hand(layout):
    """With stride 2 and padding 1; patches are in the order of the kernel's axes."""
    images, kernel = normal(5, 5, 4, 2), normal(3, 3, 2, 4, seed=1)
    head = normal(4, 3, seed=2)
    numbers = ("NHWC", "HWIO", "NHWC") if layout == "HWIO" else ("NCHW", "OIHW", "NCHW")
    channels_last = layout == "HWIO"

    def fn(params, x):
        y = conv(x, params["w"], numbers, window_strides=(2, 2), padding=((1, 1), (1, 1)))
        return jnp.mean(y, axis=(1, 2) if channels_last else (2, 3)) @ params["head"]

    w = kernel if channels_last else kernel.transpose(3, 2, 0, 1)
    x = images if channels_last else images.transpose(0, 3, 1, 2)
    factors = measured(fn, {"w": w, "head": head}, x)["w"]

    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches, pooled = [], np.zeros((5, 4))
    for n in range(5):
        for i in range(3):
            for j in range(2):
                patch = padded[n, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                pooled[n] += np.einsum("hwi,hwio->o", patch, kernel) / 6
                patches.append((patch if channels_last else patch.transpose(2, 0, 1)).reshape(-1))
    gradient = softmax_gradient(pooled @ head) @ head.T / 6
    check_factors(factors, np.array(patches), np.repeat(gradient, 6, axis=0))


def test_factors_of_stacked_layers_are_one_pair_each():
    params = {"kernel": normal(2, 3, 3), "bias": normal(2, 3, seed=1)}
    x = normal(5, 3, seed=2)
    factors = measured(lambda p, x: jax.lax.scan(once_more, x, p)[0], params, x)["kernel"]
    a = [x.astype(np.float64)]
    for kernel, bias in zip(params["kernel"], params["bias"], strict=True):
        a.append(np.tanh(a[-1] @ kernel + bias))
    gradient = softmax_gradient(a[2])
    for layer in (1, 0):
        gradient = gradient * (1 - a[layer + 1] ** 2)
        pair = jax.tree.map(lambda factor, at=layer: factor[at], factors)
        check_factors(pair, with_one(a[layer]), gradient)
        gradient = gradient @ params["kernel"][layer].T


def test_the_factors_are_the_fisher_matrix_where_it_factors():
    """At weights of zero chances are equal, so that s has no part in a.

    The mean over labels is taken exactly: each is given to all examples in turn.
    """
    x, params = normal(5, 3), {"w": jnp.zeros((3, 4)), "b": jnp.zeros(4)}

    def fn(params, x):
        return x @ params["w"] + params["b"][None]

    @jax.jit
    def measure(label):
        def of_one(logits, key):
            del key
            return -jax.nn.log_softmax(logits)[:, label]

        return optimizers.kfac_factors(fn, params, (x,), a_key(), of_one)["w"]

    a = s = exact = 0.0
    for label in range(4):
        pair = measure(label)
        a, s = pair.inputs, s + np.asarray(pair.outputs) / 4
        gradient = np.full(4, 0.25) - np.eye(4)[label]
        for row in with_one(x.astype(np.float64)):
            g = np.outer(gradient, row).reshape(-1)  # (outputs, inputs)
            exact = exact + np.outer(g, g) / 4 / len(x)
    np.testing.assert_allclose(np.kron(s, a), exact, rtol=0, atol=32 * ROUNDING * exact.max())


def test_labels_are_drawn_from_the_model():
    """The mean of s sᵀ is diag(p) - p pᵀ; the labels of the data are never seen."""
    logits = np.array([0.0, 1.0, -1.0], np.float32)
    params = {"w": jnp.asarray(logits)[None]}
    call = jax.jit(
        lambda key, x: optimizers.kfac_factors(lambda p, x: x @ p["w"], params, (x,), key)["w"]
    )
    factors = call(a_key(), jnp.ones((4000, 1)))
    p = np.exp(logits) / np.exp(logits).sum()
    # Entries of s sᵀ are within 1: four standard errors of a mean over 4000.
    np.testing.assert_allclose(factors.outputs, np.diag(p) - np.outer(p, p), rtol=0, atol=0.064)
    assert not np.array_equal(factors.outputs, call(jax.random.key(1), jnp.ones((4000, 1))).outputs)


def positive(side, seed):
    half = np.random.default_rng(seed).standard_normal((side, side + 1))
    return half @ half.T / side


def solved(gradient, a, s, damping):
    """By one dense solve with the Kronecker product, (outputs, inputs) row by row."""
    share = np.sqrt((np.trace(a) / len(a)) / (np.trace(s) / len(s)))
    left = s + np.sqrt(damping) / share * np.eye(len(s))
    right = a + np.sqrt(damping) * share * np.eye(len(a))
    return np.linalg.solve(np.kron(left, right), gradient.reshape(-1)).reshape(gradient.shape)


@pytest.mark.parametrize("turned", [False, True])
def test_updates_are_those_of_the_kronecker_product(turned):
    """Means of factors, inverses that last two steps, a bias as the last column."""
    params = {"w": jnp.zeros((3, 5)), "b": jnp.zeros(5), "norm": jnp.ones(5)}

    def fn(params, x):
        w = params["w"].T if turned else params["w"]
        return (x @ w + params["b"][None]) * params["norm"][None]

    if turned:
        params["w"] = params["w"].T
    (layer,) = optimizers.kfac_layers(fn, params, jnp.ones((2, 3))).layers
    scaled = optimizers.scale_by_kfac(
        [layer], a_key(), decay=0.9, damping=0.01, every=2, others=optax.scale(3.0)
    )
    state, a, s = scaled.init(params), 0.0, 0.0
    step = jax.jit(lambda g, s, pair: scaled.update(g, s, factors=lambda key: {"w": pair}))
    for t in range(4):
        pair = optimizers.Factors(positive(4, t), positive(5, 9 + t))
        a, s = 0.9 * a + 0.1 * pair.inputs, 0.9 * s + 0.1 * pair.outputs
        if t % 2 == 0:
            used = a / (1 - 0.9 ** (t + 1)), s / (1 - 0.9 ** (t + 1))
        gradient = normal(5, 4, seed=t)
        kernel = gradient[:, :3] if turned else gradient[:, :3].T
        grads = {"w": kernel, "b": gradient[:, 3], "norm": jnp.ones(5)}
        updates, state = step(grads, state, jax.tree.map(jnp.float32, pair))
        expected = solved(gradient.astype(np.float64), *used, 0.01)
        found = updates["w"] if turned else updates["w"].T
        # Float32 inverses are off by the condition numbers of both factors.
        bound = 64 * ROUNDING * np.abs(expected).max() * sum(map(np.linalg.cond, used))
        np.testing.assert_allclose(found, expected[:, :3], rtol=0, atol=bound)
        np.testing.assert_allclose(updates["b"], expected[:, 3], rtol=0, atol=bound)
        assert updates["norm"].tolist() == [3.0] * 5


def test_stacked_layers_are_solved_one_by_one():
    params = {"kernel": jnp.zeros((2, 3, 3)), "bias": jnp.zeros((2, 3))}
    fn = lambda p, x: jax.lax.scan(once_more, x, p)[0]  # noqa: E731
    layers = optimizers.kfac_layers(fn, params, jnp.ones((2, 3))).layers
    scaled = optimizers.scale_by_kfac(layers, a_key(), damping=0.01)
    a, s = (np.stack([positive(side, seed) for seed in (1, 2)]) for side in (4, 3))
    pair = {"kernel": optimizers.Factors(jnp.float32(a), jnp.float32(s))}
    gradient = normal(2, 3, 4)
    grads = {"kernel": gradient[..., :3].swapaxes(1, 2), "bias": gradient[..., 3]}
    updates, _ = jax.jit(lambda g: scaled.update(g, scaled.init(params), factors=lambda key: pair))(
        grads
    )
    for layer in range(2):
        expected = solved(gradient[layer].astype(np.float64), a[layer], s[layer], 0.01)
        bound = 256 * ROUNDING * np.abs(expected).max() * np.linalg.cond(a[layer])
        np.testing.assert_allclose(updates["kernel"][layer].T, expected[:, :3], rtol=0, atol=bound)
        np.testing.assert_allclose(updates["bias"][layer], expected[:, 3], rtol=0, atol=bound)


@pytest.mark.parametrize("limit", [1e-3, 1e9])
def test_a_step_is_clipped_by_the_divergence_it_causes(limit):
    gradient = {"w": normal(3, 2), "b": normal(2, seed=1)}
    schedule = optax.linear_schedule(0.5, 0.1, 4)
    clipped = optimizers.clip_kl(optax.scale(2.0), schedule, limit=limit)
    state = clipped.init(gradient)
    for t in range(3):
        updates, state = clipped.update(gradient, state)
        product = sum(2 * np.sum(np.float64(leaf) ** 2) for leaf in gradient.values())
        share = min(1.0, np.sqrt(limit / ((0.5 - 0.1 * t) ** 2 * product)))
        for name, leaf in gradient.items():
            np.testing.assert_allclose(updates[name], 2 * share * leaf, rtol=16 * ROUNDING)


def test_what_goes_up_or_nowhere_is_not_clipped():
    for factor in (-1.0, 0.0):
        clipped = optimizers.clip_kl(optax.scale(factor), 0.1)
        gradient = jnp.array([1e3])
        updates, _ = clipped.update(gradient, clipped.init(gradient))
        assert updates.tolist() == [factor * 1e3]


INPUTS = normal(32, 4, seed=5) * np.float32([1.0, 0.3, 0.1, 0.03])
TARGETS = INPUTS @ normal(4, 3, seed=6) + 0.5


def regression(params, x):
    return x @ params["w"] + params["b"][None]


def squared(params):
    return jnp.mean(jnp.sum((regression(params, INPUTS) - TARGETS) ** 2, axis=1)) / 2


def of_regression(params, key):
    return optimizers.kfac_factors(
        regression, params, (jnp.asarray(INPUTS),), key, optimizers.gaussian
    )


START = {"w": np.zeros((4, 3), np.float32), "b": np.zeros(3, np.float32)}


@pytest.fixture(scope="module")
def layers():
    return optimizers.kfac_layers(regression, START, INPUTS).layers


def run(optimizer, params, steps, factors=of_regression, grads_of=jax.grad(squared)):
    """(params, state) and the loss after each step, by one scan."""

    @jax.jit
    def scan(carry):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(
                grads_of(params), state, params, factors=lambda key: factors(params, key)
            )
            params = optax.apply_updates(params, updates)
            return (params, state), squared(params)

        return jax.lax.scan(step, carry, length=steps)

    params = jax.tree.map(jnp.asarray, params)
    return scan((params, optimizer.init(params)))


def test_it_converges_where_gradients_do_not(layers):
    """Inputs of very different sizes; with Gaussian labels S is near the identity."""
    natural = optimizers.kfac(0.5, layers, a_key(), damping=1e-6, limit=1e3)
    _, losses = run(natural, START, 40)
    largest = np.linalg.eigvalsh(with_one(INPUTS).T @ with_one(INPUTS) / len(INPUTS))[-1]
    _, plain = run(optax.with_extra_args_support(optax.sgd(1 / largest)), START, 40)
    assert losses[-1] < 1e-6 * squared(START)
    assert plain[-1] > 1e-3 * squared(START)


def test_clipping_and_decay_are_in_the_alias(layers):
    """The first step causes the divergence that is the limit; only kernels decay."""
    params = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}
    options = {"free": {"limit": 1e9}, "limited": {"limit": 1e-4}}
    options["decaying"] = {**options["limited"], "weight_decay": 0.1}

    @jax.jit
    def first_steps(params):
        grads = jax.grad(squared)(params)
        steps = {"grads": grads}
        for name, more in options.items():
            optimizer = optimizers.kfac(0.5, layers, a_key(), damping=1e-6, **more)
            factors = lambda key: of_regression(params, key)  # noqa: E731
            steps[name] = optimizer.update(grads, optimizer.init(params), params, factors=factors)[
                0
            ]
        return steps

    steps = jax.device_get(first_steps(params))
    free, limited, decaying = (steps[name] for name in options)
    # The rate is in the updates once, and the divergence wants it twice.
    divergence = -0.5 * sum(np.sum(np.float64(free[name]) * steps["grads"][name]) for name in START)
    for name in START:
        expected = free[name] * np.sqrt(1e-4 / divergence)
        np.testing.assert_allclose(limited[name], expected, rtol=64 * ROUNDING)
    np.testing.assert_allclose(decaying["w"] - limited["w"], -0.05, rtol=0, atol=16 * ROUNDING)
    np.testing.assert_array_equal(decaying["b"], limited["b"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_stay_finite(dtype, layers):
    """Zero, tiny and large gradients; factors of zeros at first."""
    params = {name: jnp.full(leaf.shape, 0.5, dtype) for name, leaf in START.items()}
    optimizer = optimizers.scale_by_kfac(layers, a_key(), every=3)
    sizes = jnp.asarray(SIZES, dtype)

    @jax.jit
    def scan(params):
        def step(state, row):
            size, count = row
            grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, size), params)
            pair = jax.tree.map(lambda factor: factor * jnp.minimum(count, 4.0), state.factors)
            pair = jax.tree.map(lambda x: x + count * jnp.eye(x.shape[-1]), pair)
            updates, state = optimizer.update(grads, state, params, factors=lambda key: pair)
            return state, updates

        counts = jnp.arange(len(SIZES), dtype=jnp.float32)
        return jax.lax.scan(step, optimizer.init(params), (sizes, counts))

    state, updates = scan(params)
    for leaf in jax.tree.leaves(updates):
        assert leaf.dtype.name == dtype
        assert np.all(np.isfinite(leaf.astype(jnp.float32)))
        assert not np.any(leaf[:2])
    for leaf in jax.tree.leaves((state.factors, state.inverses)):
        assert leaf.dtype == jnp.float32
        assert np.all(np.isfinite(leaf))


def test_a_model_in_bfloat16_gives_float32_factors():
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), START)
    x = jnp.asarray(INPUTS, jnp.bfloat16)
    measure = jax.jit(
        lambda p, x: optimizers.kfac_factors(regression, p, (x,), a_key(), optimizers.gaussian)
    )
    factors, wide = measure(params, x), measure(START, INPUTS)
    a = with_one(np.float64(x)).T @ with_one(np.float64(x)) / len(x)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(factors)} == {"float32"}
    np.testing.assert_allclose(factors["w"].inputs, a, rtol=0, atol=32 * ROUNDING * a.max())
    # Gradients are rounded to 8 bits before their products are formed.
    np.testing.assert_allclose(factors["w"].outputs, wide["w"].outputs, rtol=0, atol=0.05)


def test_optax_goes_around_it(layers):
    labels = {"w": "ours", "b": "ours", "scale": "other"}
    own = lambda tree: jax.tree.map(lambda label: label == "ours", labels)  # noqa: E731
    make = lambda: optimizers.kfac(0.25, layers, a_key())  # noqa: E731
    static = ("layers", "key", "damping", "every", "measure_every", "others")
    injected = optax.inject_hyperparams(optimizers.kfac, static, hyperparam_dtype=jnp.float32)
    around = {
        "masked": optax.chain(optax.identity(), optax.masked(make(), own)),
        "partition": optax.partition({"ours": make(), "other": optax.set_to_zero()}, labels),
        "guarded": optimizers.skip_nonfinite(make()),
        "injected": injected(learning_rate=0.25, layers=layers, key=a_key()),
        "compressed": optimizers.quantize_state(make()),
    }
    params = {**START, "scale": np.zeros(3, np.float32)}

    def three_steps(optimizer):
        tree = jax.tree.map(jnp.asarray, params)
        state = optimizer.init(tree)

        def step(carry, _):
            tree, state = carry
            updates, state = optimizer.update(
                jax.grad(squared)(tree), state, tree, factors=lambda key: of_regression(tree, key)
            )
            return (optax.apply_updates(tree, updates), state), None

        return jax.lax.scan(step, (tree, state), length=3)[0][0]

    with jax.numpy_dtype_promotion("standard"):
        found = jax.jit(
            lambda: {name: three_steps(each) for name, each in {"": make(), **around}.items()}
        )()
    for name in around:
        for leaf in START:
            np.testing.assert_allclose(
                found[name][leaf], found[""][leaf], rtol=0, atol=64 * ROUNDING
            )


def test_one_trace_and_a_run_may_be_resumed(layers):
    optimizer, traces = optimizers.kfac(0.25, layers, a_key(), every=2), []

    @jax.jit
    def step(params, state):
        traces.append(None)
        updates, state = optimizer.update(
            jax.grad(squared)(params), state, params, factors=lambda key: of_regression(params, key)
        )
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.asarray, START)
    carry, stored = (params, optimizer.init(params)), None
    for count in range(5):
        if count == 2:
            stored = jax.tree.map(jnp.copy, carry)
        carry = step(*carry)
    for _ in range(2, 5):
        stored = step(*stored)
    jax.tree.map(np.testing.assert_array_equal, stored[0], carry[0])
    assert len(traces) == 1


def test_eight_devices_give_what_one_gives(mesh):
    """Images and gradients are sharded; explicit axes are the stricter."""
    params = {"conv": normal(2, 2, 1, 8), "bias": normal(8, seed=1), "head": normal(8, 3, seed=2)}
    x = normal(8, 3, 3, 1, seed=3)

    def fn(params, x):
        y = conv(
            x, params["conv"], ("NHWC", "HWIO", "NHWC"), window_strides=(1, 1), padding="VALID"
        )
        return jnp.mean(y + params["bias"][None, None, None], axis=(1, 2)) @ params["head"]

    layers = optimizers.kfac_layers(fn, params, x).layers
    scaled = optimizers.scale_by_kfac(layers, a_key())

    @jax.jit
    def one_step(params, grads, x):
        factors = lambda key: optimizers.kfac_factors(fn, params, (x,), key)  # noqa: E731
        return scaled.update(grads, scaled.init(grads), grads, factors=factors)[0]

    alone = one_step(params, params, x)
    devices = mesh(rows=8, axis_type=AxisType.Explicit)
    rows, columns = (
        NamedSharding(devices, P("rows")),
        NamedSharding(devices, P(*[None] * 3, "rows")),
    )
    place = {"conv": columns, "bias": rows, "head": rows}
    with jax.set_mesh(devices):
        whole = jax.device_put(params, NamedSharding(devices, P()))
        shared = one_step(whole, jax.device_put(params, place), jax.device_put(x, rows))
    for name, leaf in alone.items():
        assert shared[name].sharding.is_equivalent_to(place[name], leaf.ndim)
        # Inverses with a damping of 1e-3 turn roundings into a thousand times as much.
        np.testing.assert_allclose(
            shared[name], leaf, rtol=0, atol=4000 * ROUNDING * np.abs(leaf).max()
        )


def test_factors_are_measured_only_when_due(layers):
    asked = []

    def ask(key):
        jax.debug.callback(
            lambda data: asked.append(tuple(data.tolist())), jax.random.key_data(key)
        )
        return {"w": optimizers.Factors(2 * jnp.eye(5), 3 * jnp.eye(3))}

    scaled = optimizers.scale_by_kfac(layers, a_key(), every=1, measure_every=3, damping=1e-8)

    @jax.jit
    def scan(state):
        def step(state, _):
            updates, state = scaled.update(jax.tree.map(jnp.ones_like, START), state, factors=ask)
            return state, updates["b"]

        return jax.lax.scan(step, state, length=7)[1]

    updates = scan(scaled.init(START))
    jax.effects_barrier()
    assert len(set(asked)) == len(asked) == 3
    # Each mean is divided by what it has been given: the factors stay as they are.
    np.testing.assert_allclose(updates, 1 / 6, rtol=1e-3)


def test_map_params_leaves_factors_alone(layers):
    optimizer = optimizers.kfac(0.1, layers, a_key(), others=optax.trace(0.9))
    params = {**START, "scale": np.zeros(3, np.float32)}
    state = optimizer.init(params)
    marked = optax.tree.map_params(optimizer, jnp.ones_like, state)
    assert jax.tree.structure(marked) == jax.tree.structure(state)
    assert optax.tree.get(marked, "trace")["scale"].tolist() == [1.0] * 3
    assert not np.any(optax.tree.get(marked, "factors")["w"].inputs)


def told(*given, **extra):
    found = optimizers.kfac_layers(regression, START, INPUTS).layers
    optimizer = optimizers.scale_by_kfac(found, a_key())
    return optimizer.update(START, optimizer.init(START), *given, **extra)


def made(make, **options):
    return make(layers=(), key=a_key(), **options)


def started(params):
    found = optimizers.kfac_layers(regression, START, INPUTS).layers
    return optimizers.scale_by_kfac(found, a_key()).init(params)


WRONG = [
    (lambda: told(), ValueError, r"^scale_by_kfac\(...\).* needs the extra argument factors="),
    (lambda: told(factors={}), TypeError, r"^scale_by_kfac\(...\).* got a dict, which cannot"),
    (
        lambda: told(factors=lambda key: {}),
        ValueError,
        r"layer 'w' has factors of shapes \(\(5, 5\), \(3, 3\)\), but factors= gave None",
    ),
    (
        lambda: told(factors=lambda key: {"w": optimizers.Factors(jnp.eye(4), jnp.eye(3))}),
        ValueError,
        r"but factors= gave \(\(4, 4\), \(3, 3\)\). Take layers= and factors= from the same",
    ),
    (
        lambda: started({"w": START["w"]}),
        ValueError,
        r"layer of 'w' wants leaf 'b' of shape \(3,\), but the params have no such leaf",
    ),
    (
        lambda: started({**START, "w": jnp.ones((2, 3))}),
        ValueError,
        r"wants leaf 'w' of shape \(4, 3\), but the params have shape \(2, 3\)",
    ),
    (
        lambda: started({**START, "w": jnp.ones((4, 3), int)}),
        TypeError,
        r"^scale_by_kfac: leaf 'w' has dtype int32",
    ),
    (lambda: optimizers.clip_kl(optax.identity(), -0.1), ValueError, r"^clip_kl\(learning_rate=-"),
    (lambda: optimizers.clip_kl(optax.identity(), 1, limit=-1.0), ValueError, r"^clip_kl\(limit="),
    *(
        (
            lambda option=option, value=value: made(optimizers.scale_by_kfac, **{option: value}),
            ValueError,
            rf"^scale_by_kfac\({option}={value}\) must be ",
        )
        for option, value in [("decay", 1.0), ("damping", 0.0), ("every", 0), ("measure_every", 0)]
    ),
    *(
        (
            lambda option=option, value=value: made(
                optimizers.kfac, **{"learning_rate": 0.1, option: value}
            ),
            ValueError,
            rf"^kfac\({option}={value}\) must be ",
        )
        for option, value in [
            ("learning_rate", -0.1),
            ("decay", -0.1),
            ("damping", 0.0),
            ("limit", -1.0),
            ("weight_decay", -1.0),
        ]
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[row[2] for row in WRONG])
def test_what_is_wrong_is_said(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
