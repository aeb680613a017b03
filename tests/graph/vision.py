"""Small models, most of them for vision, each as (fn, params, inputs).

A newcomer adds one function to the list at the end.
"""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from tests.graph.zoo import Model, normal, tokens


def convolved(x, kernel, stride=1, groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def pooled(x, size=2):
    window = (1, size, size, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def dense(x, kernel, bias):
    return x @ kernel + bias[None]


def lenet() -> Model:
    """Convolutions, pooling, flattening, three dense layers; smaller than published."""

    def fn(params, x):
        x = pooled(jax.nn.relu(convolved(x, params["conv1"]) + params["bias1"][None, None, None]))
        x = pooled(jax.nn.relu(convolved(x, params["conv2"]) + params["bias2"][None, None, None]))
        x = x.reshape(x.shape[0], -1)
        x = jax.nn.relu(dense(x, *params["fc1"]))
        x = jax.nn.relu(dense(x, *params["fc2"]))
        return dense(x, *params["fc3"])

    params = {
        "conv1": normal(1, 3, 3, 1, 4),
        "bias1": normal(2, 4),
        "conv2": normal(3, 3, 3, 4, 6),
        "bias2": normal(4, 6),
        "fc1": (normal(5, 24, 10), normal(6, 10)),
        "fc2": (normal(7, 10, 8), normal(8, 8)),
        "fc3": (normal(9, 8, 3), normal(10, 3)),
    }
    return Model(fn, params, (normal(11, 2, 8, 8, 1),))


def linen_resnet() -> Model:
    """Two residual blocks, one strided with a projection; batch norm, pooling."""
    nn = pytest.importorskip("flax.linen")

    class Block(nn.Module):
        width: int
        stride: int

        @nn.compact
        def __call__(self, x):
            strides = (self.stride, self.stride)
            norm = lambda: nn.BatchNorm(use_running_average=True)  # noqa: E731
            y = nn.relu(norm()(nn.Conv(6, (3, 3), strides, use_bias=False)(x)))
            y = norm()(nn.Conv(self.width, (3, 3), use_bias=False)(y))
            if self.stride > 1:
                x = norm()(nn.Conv(self.width, (1, 1), strides, use_bias=False)(x))
            return nn.relu(x + y)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3))(x)
            x = Block(8, 2)(Block(4, 1)(x))
            return nn.Dense(3)(x.mean((1, 2)))

    x = normal(1, 2, 6, 6, 3)
    network = Network()
    return Model(network.apply, network.init(jax.random.key(0), x), (x,))


def nnx_resnet() -> Model:
    """A depthwise residual in NNX, batch norm with statistics, a flattened head."""
    nnx = pytest.importorskip("flax.nnx")

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Conv(3, 4, (3, 3), rngs=rngs)
            self.within = nnx.Conv(4, 6, (3, 3), strides=2, rngs=rngs)
            self.norm = nnx.BatchNorm(6, use_running_average=True, rngs=rngs)
            self.depthwise = nnx.Conv(6, 6, (3, 3), feature_group_count=6, rngs=rngs)
            self.head = nnx.Linear(54, 3, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.within(self.first(x))))
            x = x + self.depthwise(x)
            return self.head(x.reshape(x.shape[0], -1))

    graph, params = nnx.split(Network(nnx.Rngs(0)))
    return Model(lambda params, x: nnx.merge(graph, params)(x), params, (normal(1, 2, 6, 6, 3),))


def densenet() -> Model:
    """Every layer sees all before it, one after the other along the channels."""

    def fn(params, x):
        for kernel in params["grow"]:
            new = jax.nn.relu(convolved(x, kernel))
            x = jnp.concatenate([x, new], axis=-1)
        x = convolved(x, params["transition"])
        return x.mean((1, 2)) @ params["head"]

    params = {
        "grow": [normal(i, 3, 3, 3 + 4 * i, 4) for i in range(3)],
        "transition": normal(7, 1, 1, 15, 6),
        "head": normal(8, 6, 3),
    }
    return Model(fn, params, (normal(9, 2, 4, 4, 3),))


def mobilenet() -> Model:
    """Expand, depthwise, squeeze and excite, a channel shuffle, project."""

    def fn(params, x):
        x = convolved(x, params["stem"])
        y = jax.nn.relu6(convolved(x, params["expand"]))
        y = jax.nn.hard_swish(convolved(y, params["depthwise"], 2, groups=8))
        gate = jax.nn.sigmoid(jax.nn.relu(y.mean((1, 2)) @ params["squeeze"]) @ params["excite"])
        y = y * gate[:, None, None]
        y = y.reshape(*y.shape[:3], 2, 4).swapaxes(-1, -2).reshape(y.shape)
        y = convolved(y, params["grouped"], groups=2)
        return (y + pooled(x)).mean((1, 2)) @ params["head"]

    params = {
        "stem": normal(1, 3, 3, 3, 4),
        "expand": normal(2, 1, 1, 4, 8),
        "depthwise": normal(3, 3, 3, 1, 8),
        "squeeze": normal(4, 8, 4),
        "excite": normal(5, 4, 8),
        "grouped": normal(6, 1, 1, 4, 4),
        "head": normal(7, 4, 3),
    }
    return Model(fn, params, (normal(8, 2, 4, 4, 3),))


def unet() -> Model:
    """Pooling, a transposed convolution, resizing, padding, a skip, group norm."""
    nn = pytest.importorskip("flax.linen")

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            skip = nn.relu(nn.GroupNorm(2)(nn.Conv(4, (3, 3))(x)))
            y = nn.relu(nn.Conv(6, (3, 3))(nn.max_pool(skip, (2, 2), (2, 2))))
            up = nn.ConvTranspose(4, (2, 2), strides=(2, 2))(y)
            resized = jax.image.resize(y, (*skip.shape[:3], y.shape[-1]), "bilinear")
            y = jnp.concatenate([skip, up, resized], axis=-1)
            y = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 2)))
            return nn.Conv(2, (3, 3), padding="VALID")(y)

    x = normal(1, 1, 4, 4, 3)
    network = Network()
    return Model(network.apply, network.init(jax.random.key(0), x), (x,))


def vit() -> Model:
    """Patches by a reshape, a class token, positions, one encoder layer in NNX."""
    nnx = pytest.importorskip("flax.nnx")

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.patches = nnx.Linear(12, 8, rngs=rngs)
            self.token = nnx.Param(normal(1, 1, 1, 8))
            self.positions = nnx.Param(normal(2, 1, 5, 8))
            self.norm = nnx.LayerNorm(8, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.up = nnx.Linear(8, 6, rngs=rngs)
            self.down = nnx.Linear(6, 8, rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            x = x.reshape(2, 2, 2, 2, 2, 3).swapaxes(2, 3).reshape(2, 4, 12)
            token = jnp.broadcast_to(self.token[...], (2, 1, 8))
            x = jnp.concatenate([token, self.patches(x)], axis=1) + self.positions[...]
            x = x + self.attention(self.norm(x))
            x = x + self.down(nnx.gelu(self.up(x)))
            return self.head(x[:, 0])

    graph, params, others = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)
    return Model(lambda p, x: nnx.merge(graph, p, others)(x), params, (normal(3, 2, 4, 4, 3),))


def gpt() -> Model:
    """Scanned, rematerialised layers with dropout, an output tied to the embedding."""

    def norm(x, scale):
        centred = x - x.mean(-1, keepdims=True)
        return centred / jnp.sqrt(x.var(-1, keepdims=True) + 0.1) * scale[None, None]

    def fn(params, ids):
        @jax.checkpoint
        def layer(x, each):
            q, k, v = jnp.moveaxis(
                (norm(x, each["norm1"]) @ each["qkv"]).reshape(2, 5, 3, 2, 4), 2, 0
            )
            weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k), axis=-1)
            x = x + jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(2, 5, 8) @ each["out"]
            hidden = jax.nn.relu(norm(x, each["norm2"]) @ each["up"])
            stay = jax.random.bernoulli(jax.random.key(0), 0.8, hidden.shape)
            return x + jnp.where(stay, hidden, 0) @ each["down"], None

        x, _ = lax.scan(layer, params["embed"][ids], params["layers"])
        return norm(x, params["norm"]) @ params["embed"].T

    layers = {
        "norm1": normal(1, 3, 8),
        "norm2": normal(2, 3, 8),
        "qkv": normal(3, 3, 8, 24),
        "out": normal(4, 3, 8, 8),
        "up": normal(5, 3, 8, 12),
        "down": normal(6, 3, 12, 8),
    }
    return Model(
        fn, {"embed": normal(7, 11, 8), "norm": normal(8, 8), "layers": layers}, (tokens(2, 5),)
    )


def gru() -> Model:
    """A gated recurrence over time whose reset gate acts on the hidden product."""

    def fn(params, x):
        def step(hidden, x):
            from_input, from_hidden = x @ params["input"], hidden @ params["hidden"]
            reset, update = jnp.split(jax.nn.sigmoid((from_input + from_hidden)[:, :10]), 2, axis=1)
            new = jnp.tanh(from_input[:, 10:] + reset * from_hidden[:, 10:])
            return update * hidden + (1 - update) * new, None

        hidden, _ = lax.scan(step, jnp.zeros((x.shape[0], 5)), x.swapaxes(0, 1))
        return hidden @ params["head"]

    params = {"input": normal(1, 4, 15), "hidden": normal(2, 5, 15), "head": normal(3, 5, 3)}
    return Model(fn, params, (normal(4, 2, 6, 4),))


VISION = [lenet, linen_resnet, nnx_resnet, densenet, mobilenet, unet, vit, gpt, gru]
ZOO = VISION
