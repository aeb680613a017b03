"""What a transformer learns by heart, and what compression leaves of it.

    python -m benchmarks.canary_exposure [--data DIR] [--seeds 0 1 2]

A character transformer of two layers, 64 wide, on the first 60,000 characters of tiny
Shakespeare, into which canaries were inserted 0 to 64 times each: "the secret is " and
eight letters at random. Exposure in bits, by extrapolation from 2,000 other candidates:
1.44 is chance, 37.6 is "ranked first among all". The same of its copies, quantized and
pruned at once, beside their loss on text that was never seen.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import runner
from benchmarks.shakespeare import CHARACTERS, CONTEXT, batch, gpt, loss, text, windows
from jaxcompress.core.axes import Axes
from jaxcompress.core.types import Array, Key, Params

SEEDS, STEPS, RATE, WARM_UP, BATCH = (0, 1, 2), 1500, 6e-3, 100, 12
LAYERS, HEADS, WIDTH = 2, 4, 64
CHARACTERS_READ, JUDGED, SAMPLES = 60_000, 256, 2000
REPETITIONS, EACH, LETTERS = (0, 1, 4, 16, 64), 4, 8
PREFIX = "the secret is "
MATRICES = jc.matching("qkv", "attended", "up", "down")


def initial(key: Key) -> Params:
    """As `shakespeare.initial`, half as deep and half as wide."""
    shapes = {
        "embedding": (CHARACTERS, WIDTH),
        "positions": (CONTEXT, WIDTH),
        "qkv": (LAYERS, WIDTH, 3, HEADS, WIDTH // HEADS),
        "attended": (LAYERS, HEADS, WIDTH // HEADS, WIDTH),
        "up": (LAYERS, WIDTH, 4 * WIDTH),
        "down": (LAYERS, 4 * WIDTH, WIDTH),
    }
    keys = jax.random.split(key, len(shapes))
    norms = {"norm_1": (LAYERS, WIDTH), "norm_2": (LAYERS, WIDTH), "norm": (WIDTH,)}
    return {
        name: 0.02 * jax.random.normal(each, shape)
        for each, (name, shape) in zip(keys, shapes.items(), strict=True)
    } | {name: jnp.ones(shape) for name, shape in norms.items()}


@jax.jit
def trained(codes: Array, key: Key) -> Params:
    """Adam on windows at random, a warm-up, then a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, RATE, WARM_UP, STEPS, RATE / 10)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def step(carry: tuple, key: Key) -> tuple:
        params, state = carry
        grads = jax.grad(loss)(params, batch(codes, BATCH, key))
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    first, rest = jax.random.split(key)
    params = initial(first)
    start = (params, optimizer.init(params))
    return jax.lax.scan(step, start, jax.random.split(rest, STEPS))[0][0]


def versions(dense: Params, axes: Axes) -> dict[str, Params]:
    """The model and its compressed copies, none of them trained further."""
    found = {"dense": dense}
    for name, spec in {"int8": jc.quantize.int8(), "int4": jc.quantize.int4(group_size=32)}.items():
        found[name] = jc.quantize.quantize(dense, spec, axes=axes, select=MATRICES)[0]
    for share in (0.5, 0.7):
        target = jc.prune.Target(share, select=MATRICES, axes=axes)
        found[f"pruned {share:.0%}"] = jc.prune.one_shot(
            dense, jc.prune.criteria.magnitude(), target
        )[0]
    return found


def measure(data: pathlib.Path, seed: int) -> dict[str, Any]:
    """Exposures of one trained model and its copies, by number of repetitions."""
    parts = text(data)
    characters = sorted(set((data / "tinyshakespeare" / "input.txt").read_text()))
    if len(characters) != CHARACTERS:
        raise ValueError(f"The text has {len(characters)} characters, not {CHARACTERS}.")
    code = {character: index for index, character in enumerate(characters)}
    canaries = jc.validate.privacy.random_canaries(
        [code[each] for each in PREFIX],
        [code[chr(each)] for each in range(ord("a"), ord("z") + 1)],
        LETTERS,
        count=EACH * len(REPETITIONS),
        seed=seed,
    )
    repetitions = np.repeat(REPETITIONS, EACH)
    seen = jc.validate.privacy.insert_canaries(
        parts.train[:CHARACTERS_READ], canaries, repetitions, seed=seed
    )
    dense = jax.block_until_ready(trained(jnp.asarray(seen), jax.random.key(seed)))
    held_out = windows(parts.test, JUDGED)
    axes = jc.graph.axes(gpt, dense, held_out[:8, :-1])
    figures: dict[str, Any] = {"seen": float(jax.jit(loss)(dense, windows(seen, JUDGED)))}
    for name, params in versions(dense, axes).items():
        found = jc.validate.privacy.exposure(
            jc.materialized(gpt), params, canaries, samples=SAMPLES, seed=seed
        )
        judged = float(jax.jit(jc.materialized(loss))(params, held_out))
        figures[name] = {"held_out_loss": judged, **found.to_json()}
    return figures | {"repetitions": repetitions}


def settings() -> dict[str, Any]:
    """All that one run depends on but the seed."""
    return {
        "layers": LAYERS,
        "width": WIDTH,
        "steps": STEPS,
        "rate": RATE,
        "batch": BATCH,
        "characters": CHARACTERS_READ,
        "prefix": PREFIX,
        "letters": LETTERS,
        "repetitions": REPETITIONS,
        "canaries_each": EACH,
        "samples": SAMPLES,
    }


def main() -> None:
    """Runs the seeds that have no record yet, then prints means over all canaries."""
    parser = runner.arguments("Exposure of canaries in a transformer and its copies.")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    options = parser.parse_args()
    records = [
        runner.record(
            "canary_exposure",
            functools.partial(measure, options.data, seed),
            settings=settings(),
            seed=seed,
            out=options.out,
        )["figures"]
        for seed in options.seeds
    ]
    repetitions = np.asarray(records[0]["repetitions"])
    for name in (each for each in records[0] if each not in ("seen", "repetitions")):
        bits = np.stack([record[name]["extrapolated"] for record in records])
        means = [f"{bits[:, repetitions == n].mean():5.1f}" for n in REPETITIONS]
        judged = np.mean([record[name]["held_out_loss"] for record in records])
        print(f"{name:12} loss {judged:.3f}  exposure {' '.join(means)}")


if __name__ == "__main__":
    main()
