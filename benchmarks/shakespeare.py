"""A small character transformer on tiny Shakespeare, for benchmarks.

Four layers of 128, as nanoGPT has them for a CPU: pre-norm, no biases, the table of
characters tied to the output, layers stacked for a scan.
"""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from jaxcompress.core.types import Array, Key, Params

CHARACTERS, LAYERS, HEADS, WIDTH, CONTEXT = 65, 4, 4, 128, 64
STACKED = ("qkv", "attended", "up", "down", "norm_1", "norm_2")
"""The leaves that have an entry for each layer."""


class Text(NamedTuple):
    """Characters as codes 0 … 64, (n,) int32: 90, 5 and 5 % of the file, in order."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def text(data: pathlib.Path) -> Text:
    """The file, split."""
    raw = np.frombuffer((data / "tinyshakespeare" / "input.txt").read_bytes(), np.uint8)
    codes = np.unique(raw, return_inverse=True)[1].astype(np.int32)
    return Text(*np.split(codes, [len(codes) * 90 // 100, len(codes) * 95 // 100]))


def batch(codes: Array, size: int, key: Key) -> Array:
    """Windows at random: (size, CONTEXT + 1)."""
    starts = jax.random.randint(key, (size, 1), 0, codes.size - CONTEXT)
    return codes[starts + jnp.arange(CONTEXT + 1)]


def windows(codes: np.ndarray, count: int) -> np.ndarray:
    """Windows evenly apart: (count, CONTEXT + 1), the same at each call."""
    starts = np.linspace(0, codes.size - CONTEXT - 1, count).astype(int)[:, None]
    return codes[starts + np.arange(CONTEXT + 1)]


def initial(key: Key, layers: int = LAYERS) -> Params:
    """Normal of deviation 0.02, smaller where a residual branch ends; norms of 1."""
    deep = 0.02 / np.sqrt(2 * layers)
    shapes = {
        "embedding": ((CHARACTERS, WIDTH), 0.02),
        "positions": ((CONTEXT, WIDTH), 0.02),
        "qkv": ((layers, WIDTH, 3, HEADS, WIDTH // HEADS), 0.02),
        "attended": ((layers, HEADS, WIDTH // HEADS, WIDTH), deep),
        "up": ((layers, WIDTH, 4 * WIDTH), 0.02),
        "down": ((layers, 4 * WIDTH, WIDTH), deep),
    }
    keys = jax.random.split(key, len(shapes))
    drawn = {
        name: deviation * jax.random.normal(each, shape)
        for each, (name, (shape, deviation)) in zip(keys, shapes.items(), strict=True)
    }
    norms = {"norm_1": (layers, WIDTH), "norm_2": (layers, WIDTH), "norm": (WIDTH,)}
    return drawn | {name: jnp.ones(shape) for name, shape in norms.items()}


def gpt(params: Params, codes: Array) -> Array:
    """Logits of the next character: (n, length) int32 to (n, length, CHARACTERS)."""
    x = params["embedding"][codes] + params["positions"][None, : codes.shape[1]]
    layers = {name: params[name] for name in STACKED}
    x, _ = jax.lax.scan(lambda x, layer: (block(layer, x), None), x, layers)
    return normalized(x, params["norm"]) @ params.get("readout", params["embedding"]).T


def block(layer: Params, x: Array) -> Array:
    """One layer: (n, length, WIDTH) to the same."""
    x = x + attention(layer, normalized(x, layer["norm_1"]))
    hidden = jax.nn.gelu(normalized(x, layer["norm_2"]) @ layer["up"])
    return x + hidden @ layer["down"]


def attention(layer: Params, x: Array) -> Array:
    """Causal self-attention."""
    q, k, v = jnp.einsum("nld,dphe->pnhle", x, layer["qkv"])
    scores = jnp.einsum("nhle,nhme->nhlm", q, k) / np.sqrt(WIDTH // HEADS)
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    shares = jax.nn.softmax(jnp.where(causal[None, None], scores, -jnp.inf))
    return jnp.einsum("nhlm,nhme,hed->nld", shares, v, layer["attended"])


def decoder(params: Params, codes: Array, cache: Params) -> tuple[Array, Params]:
    """The same as `gpt`, n characters after those that the cache holds keys of.

    Args:
      params: as `gpt` takes them.
      codes: (batch, n) int32.
      cache: from `empty_cache`.

    Returns:
      Logits (batch, n, CHARACTERS), and the cache with these characters in it.
    """
    used, length = cache["used"], codes.shape[1]
    here = jax.lax.dynamic_slice_in_dim(params["positions"], used, length)
    seen = jnp.arange(CONTEXT)[None, :] <= used + jnp.arange(length)[:, None]

    def turn(x: Array, entry: tuple) -> tuple[Array, tuple]:
        layer, keys, values = entry
        fed = normalized(x, layer["norm_1"])
        q, k, v = jnp.einsum("nld,dphe->pnhle", fed, layer["qkv"])
        keys = jax.lax.dynamic_update_slice_in_dim(keys, k, used, axis=2)
        values = jax.lax.dynamic_update_slice_in_dim(values, v, used, axis=2)
        scores = jnp.einsum("nhle,nhme->nhlm", q, keys) / np.sqrt(WIDTH // HEADS)
        shares = jax.nn.softmax(jnp.where(seen[None, None], scores, -jnp.inf))
        x = x + jnp.einsum("nhlm,nhme,hed->nld", shares, values, layer["attended"])
        hidden = jax.nn.gelu(normalized(x, layer["norm_2"]) @ layer["up"])
        return x + hidden @ layer["down"], (keys, values)

    layers = {name: params[name] for name in STACKED}
    entries = layers, cache["keys"], cache["values"]
    x, (keys, values) = jax.lax.scan(turn, params["embedding"][codes] + here[None], entries)
    logits = normalized(x, params["norm"]) @ params.get("readout", params["embedding"]).T
    return logits, {"keys": keys, "values": values, "used": used + length}


def empty_cache(params: Params, size: int) -> Params:
    """A cache of no characters yet, for a batch of that size."""
    space = jnp.zeros((len(params["qkv"]), size, HEADS, CONTEXT, WIDTH // HEADS))
    return {"keys": space, "values": space, "used": jnp.zeros((), jnp.int32)}


def normalized(x: Array, scale: Array) -> Array:
    """Layer norm over the last axis, without a bias."""
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5)
    return x / deviation * scale.reshape(1, 1, -1)


def loss(params: Params, codes: Array) -> Array:
    """Mean cross-entropy of the characters of windows, in nats: ()."""
    return jc.distill.outputs.hard_targets(gpt(params, codes[:, :-1]), codes[:, 1:]).mean()
