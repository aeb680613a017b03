"""How long it takes to trace a transformer and to couple its axes.

    python -m benchmarks.coupling_time

Shapes only: nothing is computed, so the figures are Python's. The best of some rounds,
since a slow moment of the machine only ever adds time.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import runner
from jaxcompress import graph

LAYERS, WIDTH, HIDDEN, HEADS, VOCABULARY = 12, 768, 3072, 12, 50_257
BATCH, LENGTH = 8, 128


def layer_shapes(*stack: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The params of one layer, or of a stack of layers."""
    shapes = {
        "norm1": (WIDTH,),
        "qkv": (WIDTH, 3 * WIDTH),
        "out": (WIDTH, WIDTH),
        "norm2": (WIDTH,),
        "up": (WIDTH, HIDDEN),
        "up_bias": (HIDDEN,),
        "down": (HIDDEN, WIDTH),
    }
    return {name: struct(*stack, *shape) for name, shape in shapes.items()}


def struct(*shape: int) -> jax.ShapeDtypeStruct:
    """A float32 shape."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def norm(x, scale):
    """Layer norm without a shift."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5) * scale


def layer(x, params):
    """One layer: attention through a fused kernel, then a wide one."""
    qkv = norm(x, params["norm1"]) @ params["qkv"]
    query, key, value = (
        part.reshape(*part.shape[:-1], HEADS, -1) for part in jnp.split(qkv, 3, axis=-1)
    )
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9), axis=-1)
    x = x + jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape) @ params["out"]
    hidden = jax.nn.gelu(norm(x, params["norm2"]) @ params["up"] + params["up_bias"])
    return x + hidden @ params["down"]


def unrolled(params, tokens):
    """The model with its layers one after the other."""
    x = params["embed"][tokens]
    for each in params["layers"]:
        x = layer(x, each)
    return norm(x, params["norm"]) @ params["embed"].T


def scanned(params, tokens):
    """The model with its layers in a scan."""
    x = params["embed"][tokens]
    x, _ = jax.lax.scan(lambda x, each: (layer(x, each), None), x, params["layers"])
    return norm(x, params["norm"]) @ params["embed"].T


def seconds(function: Callable[[], Any], rounds: int) -> float:
    """The best of some rounds, caches cleared before each."""
    taken = []
    for _ in range(rounds):
        jax.clear_caches()
        begin = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def measure(fn: Callable, layers: Any, rounds: int) -> dict[str, Any]:
    """Seconds to trace, to couple, and to trace the shrunk program."""
    params = {"embed": struct(VOCABULARY, WIDTH), "norm": struct(WIDTH), "layers": layers}
    tokens = jax.ShapeDtypeStruct((BATCH, LENGTH), jnp.int32)
    couplings = graph.couplings(fn, params, tokens)
    removed = couplings.removal({family.name: [0] for family in couplings.families})
    small = graph.surgery.slice_params(params, removed)
    shrunk = graph.surgery.shrink(fn, removed)
    return {
        "families": len(couplings.families),
        "trace_seconds": seconds(lambda: jax.make_jaxpr(fn)(params, tokens), rounds),
        "couplings_seconds": seconds(lambda: graph.couplings(fn, params, tokens), rounds),
        "shrink_seconds": seconds(lambda: jax.make_jaxpr(shrunk)(small, tokens), rounds),
    }


def main():
    """Measures both models."""
    parser = runner.arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts")
    options = parser.parse_args()
    for fn, layers in (
        (unrolled, [layer_shapes() for _ in range(LAYERS)]),
        (scanned, layer_shapes(LAYERS)),
    ):
        settings = {
            "model": fn.__name__,
            "layers": LAYERS,
            "width": WIDTH,
            "rounds": options.rounds,
        }
        run = functools.partial(measure, fn, layers, options.rounds)
        result = runner.record("coupling_time", run, settings=settings, seed=0, out=options.out)
        print(fn.__name__, result["figures"])


if __name__ == "__main__":
    main()
