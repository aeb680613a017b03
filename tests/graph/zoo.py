"""Small models of every kind, each as (fn, params, inputs), for the laws of `graph`.

A newcomer adds one function and its name to `ZOO`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inputs import on_device


def reverse(loss: Callable, params):
    """The gradient; a bool or integer leaf has none."""
    return jax.grad(loss, allow_int=True)(params)


def forward(loss: Callable, params):
    """The derivative along the params themselves, where no gradient exists."""
    return jax.jvp(loss, (params,), (params,))


class Model(NamedTuple):
    """A model in evaluation mode with params and inputs it runs on.

    Attributes:
      same_text: False where an identity rewrite writes the same program in another way.
      derivative: how a loss of the params is differentiated.
      mapped: False where JAX itself cannot map the model over examples.
      captured: False where sites lie in while loops or custom derivatives.
    """

    fn: Any
    params: Any
    inputs: tuple
    same_text: bool = True
    derivative: Callable = reverse
    mapped: bool = True
    captured: bool = True


def normal(seed: int, *shape: int) -> jax.Array:
    scale = shape[-2] ** -0.5 if len(shape) > 1 else 1.0
    return on_device(np.random.default_rng(seed).normal(scale=scale, size=shape))


def filled(init: Callable, *args):
    """Params of the shapes that `init` gives, cheaper than running it."""
    shapes, structure = jax.tree.flatten(jax.eval_shape(init, *args))
    drawn = [np.asarray(normal(seed, *leaf.shape)) for seed, leaf in enumerate(shapes)]
    arrays = [on_device(np.abs(array) + np.float32(0.1)) for array in drawn]
    return jax.tree.unflatten(structure, arrays)


def tokens(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(9).integers(0, 11, shape), jnp.int32)


def mlp() -> Model:
    """Plain JAX, a tuple of params."""

    def fn(params, x):
        hidden, bias, output = params
        return jax.nn.relu(x @ hidden + bias[None]) @ output

    return Model(fn, (normal(1, 6, 8), normal(2, 8), normal(3, 8, 4)), (normal(4, 5, 6),))


def linen_cnn() -> Model:
    """Strided, depthwise and grouped convolutions, batch norm, a residual, pooling."""
    nn = pytest.importorskip("flax.linen")

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(8, (3, 3), strides=2)(x)))
            depthwise = nn.Conv(8, (3, 3), feature_group_count=8)(x)
            x = x + nn.relu(nn.Conv(8, (1, 1), feature_group_count=2)(depthwise))
            x = nn.ConvTranspose(4, (2, 2), strides=(2, 2))(x)
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
            return nn.Dense(3)(x.reshape(x.shape[0], -1))

    x = normal(4, 2, 8, 8, 3)
    network = Network()
    return Model(network.apply, filled(network.init, jax.random.key(0), x), (x,))


def linen_transformer() -> Model:
    """Attention and a wide layer in each of three scanned, rematerialised layers."""
    nn = pytest.importorskip("flax.linen")

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            normed = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(num_heads=2)(normed, normed)
            return x + nn.Dense(8)(nn.gelu(nn.Dense(12)(nn.LayerNorm()(x)))), None

    class Network(nn.Module):
        @nn.compact
        def __call__(self, ids):
            x = nn.Embed(11, 8)(ids)
            layers = nn.scan(
                nn.remat(Layer, prevent_cse=False),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
            )
            x, _ = layers()(x, None)
            return nn.Dense(11)(nn.LayerNorm()(x))

    ids = tokens(2, 5)
    network = Network()
    return Model(network.apply, filled(network.init, jax.random.key(0), ids), (ids,))


def _heads(x: jax.Array, count: int) -> jax.Array:
    return x.reshape(*x.shape[:-1], count, -1)


def _attention(query, key, value) -> jax.Array:
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(causal[None, None], scores, -1e9), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(*query.shape[:2], -1)


def tied_gpt() -> Model:
    """Plain JAX: one fused qkv kernel, an output tied to the embedding, positions."""

    def fn(params, ids):
        x = params["embed"][ids] + params["positions"][: ids.shape[1]][None]
        for layer in params["layers"]:
            query, key, value = jnp.split(x @ layer["qkv"], 3, axis=-1)
            heads = [_heads(each, 2) for each in (query, key, value)]
            x = x + _attention(*heads) @ layer["out"]
            x = x + jax.nn.gelu(x @ layer["up"]) @ layer["down"]
        return x @ params["embed"].T

    layers = [
        {
            "qkv": normal(5 + i, 8, 24),
            "out": normal(7 + i, 8, 8),
            "up": normal(9 + i, 8, 16),
            "down": normal(11 + i, 16, 8),
        }
        for i in range(2)
    ]
    params = {"embed": normal(1, 11, 8), "positions": normal(2, 6, 8), "layers": layers}
    return Model(fn, params, (tokens(2, 5),))


def nnx_attention() -> Model:
    """NNX modules as (static graph, state)."""
    nnx = pytest.importorskip("flax.nnx")

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(11, 8, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.norm = nnx.LayerNorm(8, rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, ids):
            x = self.embed(ids)
            return self.head(self.norm(x + self.attention(x)))

    graph, params, others = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)

    def fn(params, ids):
        return nnx.merge(graph, params, others)(ids)

    return Model(fn, params, (tokens(2, 5),))


def linen_lstm() -> Model:
    """A recurrent layer: its kernels are fixed while the scan runs over time."""
    nn = pytest.importorskip("flax.linen")

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.RNN(nn.OptimizedLSTMCell(6))(x)[:, -1])

    x = normal(4, 2, 5, 4)
    network = Network()
    return Model(network.apply, filled(network.init, jax.random.key(0), x), (x,))


def nnx_lstm() -> Model:
    """The same in NNX, whose scan carries the module's state."""
    nnx = pytest.importorskip("flax.nnx")

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.rnn = nnx.RNN(nnx.LSTMCell(4, 6, rngs=rngs), rngs=rngs)
            self.head = nnx.Linear(6, 3, rngs=rngs)

        def __call__(self, x):
            return self.head(self.rnn(x)[:, -1])

    graph, params, others = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)

    def fn(params, x):
        # What is no parameter would keep this trace's tracers: each trace gets a copy.
        return nnx.merge(graph, params, jax.tree.map(jnp.copy, others))(x)

    # A rebuilt scan takes fixed operands in the order in which its body reads them.
    return Model(fn, params, (normal(4, 2, 5, 4),), same_text=False)


def llama() -> Model:
    """Fused qkv, fewer key than query heads, rotary positions, a gate, RMS norm."""

    def rotate(x):
        first, second = jnp.split(x, 2, axis=-1)
        angle = jnp.arange(x.shape[1])[:, None] * 10.0 ** -jnp.arange(first.shape[-1])[None]
        cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
        return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)

    def norm(x, scale):
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * scale[None, None]

    def layer(x, params):
        qkv = norm(x, params["norm1"]) @ params["qkv"]
        query, key, value = jnp.split(qkv, [8, 12], axis=-1)
        key, value = (jnp.repeat(_heads(each, 1), 2, axis=2) for each in (key, value))
        attended = _attention(rotate(_heads(query, 2)), rotate(key), value)
        x = x + attended @ params["out"]
        gate, up = jnp.split(norm(x, params["norm2"]) @ params["gate_up"], 2, axis=-1)
        return x + (jax.nn.silu(gate) * up) @ params["down"], None

    def fn(params, ids):
        x, _ = jax.lax.scan(layer, params["embed"][ids], params["layers"])
        return norm(x, params["norm"]) @ params["head"]

    layers = {
        "norm1": jnp.ones((2, 8)),
        "norm2": jnp.ones((2, 8)),
        "qkv": normal(1, 2, 8, 16),
        "out": normal(2, 2, 8, 8),
        "gate_up": normal(3, 2, 8, 24),
        "down": normal(4, 2, 12, 8),
    }
    ends = {"embed": normal(5, 11, 8), "norm": jnp.ones(8), "head": normal(6, 8, 11)}
    return Model(fn, {"layers": layers, **ends}, (tokens(2, 5),))


def experts() -> Model:
    """A soft mixture: every expert is a slice of one leaf, multiplied at once."""

    def fn(params, x):
        routes = jax.nn.softmax(x @ params["router"], axis=-1)
        slots = routes.T[:, :, None] * x[None]  # (expert, token, feature)
        hidden = jax.nn.relu(jnp.einsum("etd,edf->etf", slots, params["up"]))
        return jnp.einsum("etf,efd->etd", hidden, params["down"]).sum(0)

    params = {"router": normal(1, 6, 3), "up": normal(2, 3, 6, 8), "down": normal(3, 3, 8, 6)}
    return Model(fn, params, (normal(4, 5, 6),))


def branches() -> Model:
    """One branch multiplies with a weight, the other does not."""

    def fn(params, x):
        x = jax.lax.cond(x.sum() > 0, lambda x: x @ params["a"], lambda x: 2 * x, x)
        index = jnp.argmax(x[0]) % 3
        return jax.lax.switch(index, [jnp.sin, lambda x: x @ params["b"], lambda x: -x], x)

    # A rebuilt branch clamps its index once more.
    params = {"a": normal(1, 4, 4), "b": normal(2, 4, 4)}
    return Model(fn, params, (normal(4, 3, 4),), same_text=False)


def counted_loop() -> Model:
    """A loop that runs until the data say so; its test multiplies with a weight too."""

    def fn(params, x):
        def unfinished(state):
            count, x = state
            return (count < 5) & (jnp.sum(x @ params["test"]) < 100)

        def body(state):
            count, x = state
            return count + 1, jnp.tanh(x @ params["step"]) + x

        return jax.lax.while_loop(unfinished, body, (0, x))[1]

    params = {"step": normal(1, 4, 4), "test": normal(2, 4, 1)}
    return Model(fn, params, (normal(4, 3, 4),), derivative=forward, captured=False)


def custom_derivatives() -> Model:
    """Layers whose derivative is deliberately not that of their body."""

    @jax.custom_jvp
    def scaled(x, w):
        return jnp.sin(x @ w)

    @scaled.defjvp
    def derivative(primals, tangents):
        (x, w), (dx, dw) = primals, tangents
        return scaled(x, w), 2 * (dx @ w) + x @ dw

    @jax.custom_vjp
    def straight(x, w):
        return jnp.round(4 * (x @ w)) / 4

    def keep(x, w):
        return straight(x, w), (x, w)

    def backward(residuals, cotangent):
        x, w = residuals
        return cotangent @ w.T, x.T @ cotangent

    straight.defvjp(keep, backward)

    def fn(params, x):
        return straight(scaled(x, params["a"]), params["b"])

    params = {"a": normal(1, 4, 4), "b": normal(2, 4, 4)}
    return Model(fn, params, (normal(4, 3, 4),), captured=False)


def nested_calls() -> Model:
    """Jitted helpers that share one inner program, and a scan inside a scan."""

    @jax.jit
    def dense(x, w):
        return jnp.tanh(x @ w)

    def fn(params, x):
        def block(x, stack):
            x, _ = jax.lax.scan(lambda x, w: (dense(x, w), x.sum()), x, stack)
            return jax.checkpoint(dense)(x, params["shared"]), None

        x, _ = jax.lax.scan(block, dense(x, params["first"]), params["stacks"])
        return jax.lax.fori_loop(0, 2, lambda i, x: x @ params["indexed"][i], x)

    params = {
        "first": normal(1, 4, 4),
        "stacks": normal(2, 2, 3, 4, 4),
        "shared": normal(3, 4, 4),
        "indexed": normal(5, 2, 4, 4),
    }
    # The helper is emitted once per site.
    return Model(fn, params, (normal(4, 3, 4),), same_text=False)


def equinox_mlp() -> Model:
    """Equinox: (out, in) kernels, arrays parted from the rest."""
    eqx = pytest.importorskip("equinox")
    network = eqx.filter_eval_shape(eqx.nn.MLP, 6, 3, 8, 2, key=jax.random.key(0))
    shapes, static = eqx.partition(network, lambda leaf: hasattr(leaf, "shape"))
    params = filled(lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes))

    def fn(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    return Model(fn, params, (normal(4, 5, 6),))


def equinox_tokens() -> Model:
    """Equinox: each token alone through an embedding and layers, under two `vmap`s."""
    eqx = pytest.importorskip("equinox")
    network = {
        "embed": eqx.filter_eval_shape(eqx.nn.Embedding, 11, 6, key=jax.random.key(0)),
        "hidden": eqx.filter_eval_shape(eqx.nn.Linear, 6, 8, key=jax.random.key(0)),
        "head": eqx.filter_eval_shape(eqx.nn.Linear, 8, 11, key=jax.random.key(0)),
    }
    shapes, static = eqx.partition(network, lambda leaf: hasattr(leaf, "shape"))
    params = filled(lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes))

    def fn(params, ids):
        model = eqx.combine(params, static)

        def of_token(token):
            return model["head"](jax.nn.gelu(model["hidden"](model["embed"](token))))

        return jax.vmap(jax.vmap(of_token))(ids)

    return Model(fn, params, (tokens(2, 3),))


def routed() -> Model:
    """Experts by groups of rows, behind a kernel with a low-rank update."""

    def fn(params, x, sizes):
        x = jnp.tanh(x @ (params["kernel"] + params["a"] @ params["b"]))
        hidden = jnp.tanh(jax.lax.ragged_dot(x, params["up"], sizes))
        return jax.lax.ragged_dot(hidden, params["down"], sizes)

    params = {
        "kernel": normal(1, 6, 8),
        "a": normal(2, 6, 2),
        "b": normal(3, 2, 8),
        "up": normal(4, 3, 8, 5),
        "down": normal(5, 3, 5, 4),
    }
    return Model(fn, params, (normal(6, 5, 6), jnp.array([2, 0, 3])), mapped=False)


def haiku_mlp() -> Model:
    """Haiku."""
    hk = pytest.importorskip("haiku")
    network = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([8, 3])(x)))
    x = normal(4, 5, 6)
    return Model(network.apply, filled(network.init, jax.random.key(0), x), (x,))


def standardized() -> Model:
    """Weights that reach their site through arithmetic among parameters."""

    def fn(params, x):
        kernel = params["kernel"]
        centred = (kernel - kernel.mean(0, keepdims=True)) / kernel.std(0, keepdims=True)
        x = x @ (centred * params["gain"][None])
        return x @ (params["mask"] * params["masked"])

    params = {
        "kernel": normal(1, 6, 8),
        "gain": jnp.ones(8),
        "mask": normal(2, 8, 3) > 0,
        "masked": normal(3, 8, 3),
    }
    return Model(fn, params, (normal(4, 5, 6),))


ZOO = [
    mlp,
    linen_cnn,
    linen_transformer,
    tied_gpt,
    nnx_attention,
    linen_lstm,
    nnx_lstm,
    llama,
    experts,
    branches,
    counted_loop,
    custom_derivatives,
    nested_calls,
    equinox_mlp,
    equinox_tokens,
    haiku_mlp,
    routed,
    standardized,
]
