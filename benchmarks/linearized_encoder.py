"""What linearized scores cost on an encoder of the size of small pretrained ones.

    python -m benchmarks.linearized_encoder

Six layers, 384 wide, 12 heads, 1,536 wide inside, a table of 30,522 rows, norms after
the additions: 9,288 units, heads and inner ones. Weights are random, as only time is
asked for. The scores of some sentences are timed, beside one pass of the model over as
many, and beside the plain way: `jax.jacrev` or `jax.jacfwd` of all outputs in all
gates, every pass and every sentence side by side, as it was done before.
"""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import runner
from jaxcompress import graph, structure
from jaxcompress.graph.surgery import open_gates, with_unit_gates

LAYERS, WIDTH, HEADS, HIDDEN, ROWS, LENGTH = 6, 384, 12, 1536, 30_522, 32


class Setting(NamedTuple):
    """What comes out of the encoder, how many sentences, and the scored layers."""

    outputs: Callable
    sentences: int
    layers: tuple[int, ...]


def pooled(x, params):
    """One vector per sentence: 384 outputs, fewer than units."""
    del params
    return x.mean(axis=1)


def two_classes(x, params):
    """A head on the first token."""
    return x[:, 0] @ params["head"]


def tokens(x, params):
    """A vector per token: 12,288 outputs, more than units."""
    del params
    return x.reshape(len(x), -1)


SETTINGS = {
    "pooled": Setting(pooled, sentences=4, layers=tuple(range(LAYERS))),
    "two classes": Setting(two_classes, sentences=32, layers=tuple(range(LAYERS))),
    "tokens": Setting(tokens, sentences=1, layers=(LAYERS - 1,)),
}


def encoder(outputs: Callable) -> Callable:
    """The model: token numbers (sentences, tokens) to outputs."""

    def norm(x, scale, shift):
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.mean(centred**2, -1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + 1e-12) * scale + shift

    def layer(x, w):
        query, key, value = (
            (x @ w[name]).reshape(*x.shape[:-1], HEADS, -1) for name in ("query", "key", "value")
        )
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)
        x = norm(x + mixed.reshape(x.shape) @ w["out"], w["scale1"], w["shift1"])
        hidden = jax.nn.gelu(x @ w["up"] + w["bias"], approximate=False)
        return norm(x + hidden @ w["down"], w["scale2"], w["shift2"])

    def fn(params, ids):
        x = params["embed"][ids] + params["positions"][: ids.shape[1]]
        for w in params["layers"]:
            x = layer(x, w)
        return outputs(x, params)

    return fn


def weights(seed: int, layers: int = LAYERS) -> dict[str, Any]:
    """Random weights of the encoder's sizes."""
    random = np.random.default_rng(seed)

    def normal(*shape: int):
        return jnp.asarray(random.standard_normal(shape) / shape[0] ** 0.5, jnp.float32)

    def layer():
        square = {name: normal(WIDTH, WIDTH) for name in ("query", "key", "value", "out")}
        norms = {f"scale{i}": jnp.ones(WIDTH) for i in (1, 2)}
        norms |= {f"shift{i}": jnp.zeros(WIDTH) for i in (1, 2)}
        wide = {
            "up": normal(WIDTH, HIDDEN),
            "bias": jnp.zeros(HIDDEN),
            "down": normal(HIDDEN, WIDTH),
        }
        return square | norms | wide

    return {
        "embed": normal(ROWS, WIDTH) * ROWS**0.5,
        "positions": normal(LENGTH, WIDTH),
        "layers": [layer() for _ in range(layers)],
        "head": normal(WIDTH, 2),
    }


def squares(outputs, targets):
    """One number per sentence."""
    return jnp.sum((outputs - targets) ** 2, axis=-1)


def of_heads_and_hidden(couplings: graph.Couplings, layers: tuple[int, ...]) -> graph.Couplings:
    """The families of heads and of inner units of these layers."""
    chosen = tuple(
        family
        for family in couplings.families
        if family.size in (HEADS, HIDDEN)
        and family.name.startswith(tuple(f"layers/{layer}/" for layer in layers))
    )
    return dataclasses.replace(couplings, all=chosen)


def side_by_side(fn: Callable, params, couplings: graph.Couplings, ids, targets):
    """The scores in the plain way: all passes of a sentence at once."""
    program = with_unit_gates(fn, couplings.families)
    gates = open_gates(couplings.families)

    def of_sentence(ids, target):
        def outputs(gates):
            return program(params, ids[None], gates=gates)[0]

        before = outputs(gates)
        units = sum(gate.size for gate in gates.values())
        jacobian = (jax.jacrev if before.size < units else jax.jacfwd)(outputs)(gates)

        def rise(change):
            return jnp.sum((before - change - target) ** 2) - jnp.sum((before - target) ** 2)

        return {name: jax.vmap(rise)(each.T) for name, each in jacobian.items()}

    return jax.tree.map(lambda rise: rise.mean(0), jax.vmap(of_sentence)(ids, targets))


def measure(name: str, seed: int) -> dict[str, Any]:
    """Seconds of the scores, in both ways, and of one pass over as many sentences."""
    setting = SETTINGS[name]
    fn, params = encoder(setting.outputs), weights(seed)
    random = np.random.default_rng(seed + 1)
    ids = jnp.asarray(random.integers(0, ROWS, (setting.sentences, LENGTH)), jnp.int32)
    run = jax.jit(fn)
    targets = run(params, ids) + 1
    found = of_heads_and_hidden(graph.couplings(fn, params, ids), setting.layers)

    # Each call compiles anew what the first has put into the cache, so that the
    # difference of two calls is what a batch takes.
    def scored(batches: int):
        importance = structure.importance.linearized(squares, [(ids, targets)] * batches)
        return jax.block_until_ready(importance(fn, params, found))

    plain = jax.jit(functools.partial(side_by_side, fn, couplings=found))
    whole = plain(params, ids=ids, targets=targets)  # compiles
    first, scores = seconds(lambda: scored(1))
    again, thrice = (seconds(functools.partial(scored, batches))[0] for batches in (1, 3))
    batch = (thrice - again) / 2
    plainly, _ = seconds(lambda: plain(params, ids=ids, targets=targets))
    model = runner.interleaved({"model": lambda: run(params, ids)}, repeats=10)["model"]
    largest = max(float(jnp.max(jnp.abs(each))) for each in whole.values())
    return {
        "units": sum(family.size for family in found.families),
        "outputs": int(targets.size // len(targets)),
        "linearized_seconds": batch,
        "compile_seconds": first - batch,
        "plain_seconds": plainly,
        "model_seconds": model.median_seconds,
        "linearized_seconds_of_128": batch * 128 / setting.sentences,
        "plain_seconds_of_128": plainly * 128 / setting.sentences,
        "model_seconds_of_128": model.median_seconds * 128 / setting.sentences,
        "difference": max(
            float(jnp.max(jnp.abs(scores[name] - whole[name]))) / largest for name in whole
        ),
    }


def seconds(function: Callable) -> tuple[float, Any]:
    """What one call takes, and its result."""
    begin = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - begin, result


def main():
    """Measures every setting that is asked for."""
    parser = runner.arguments(__doc__ or "")
    parser.add_argument("--outputs", nargs="*", default=list(SETTINGS), help="which settings")
    options = parser.parse_args()
    for name in options.outputs:
        setting = SETTINGS[name]
        settings = {
            "outputs": name,
            "layers": LAYERS,
            "width": WIDTH,
            "heads": HEADS,
            "hidden": HIDDEN,
            "rows": ROWS,
            "tokens": LENGTH,
            "sentences": setting.sentences,
            "scored_layers": list(setting.layers),
        }
        with tempfile.TemporaryDirectory() as cache:
            jax.config.update("jax_compilation_cache_dir", cache)
            run = functools.partial(measure, name, 0)
            result = runner.record(
                "linearized_encoder", run, settings=settings, seed=0, out=options.out
            )
        print(name, result["figures"])


if __name__ == "__main__":
    main()
