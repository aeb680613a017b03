"""What a transformer learns by heart, and what compression leaves of it.

    python -m benchmarks.canary_exposure [--data DIR] [--seeds 0 1] [--steps 1000]

The character transformer on the first 150,000 characters of tiny Shakespeare, into
which canaries were inserted 0 to 64 times each: "the secret is " and eight letters at
random. Exposure in bits, by extrapolation from 2,000 other candidates: 1.44 is chance,
37.6 is "ranked first among all". The same of its copies, quantized and pruned at once,
beside their loss on text that was never seen.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import race, runner
from benchmarks.shakespeare import CHARACTERS, gpt, loss, text, windows
from jaxcompress.core.axes import Axes
from jaxcompress.core.types import Params

SEEDS, STEPS, RATE = (0, 1), 1000, 4e-3
CHARACTERS_READ, JUDGED, SAMPLES = 150_000, 384, 2000
REPETITIONS, EACH, LETTERS = (0, 1, 4, 16, 64), 4, 8
PREFIX = "the secret is "
MATRICES = jc.matching("qkv", "attended", "up", "down")


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


def measure(data: pathlib.Path, steps: int, seed: int) -> dict[str, Any]:
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
    racer = race.RACERS["adamw"]
    train = race.prepared(racer, RATE, steps, jnp.asarray(seen), seed, race.EVERY)
    carry = train.start()
    for begin in range(0, steps, race.EVERY):
        carry = train.advance(carry, jnp.int32(begin))
    dense = carry[0]
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


def settings(steps: int) -> dict[str, Any]:
    """All that one run depends on but the seed."""
    return {
        "steps": steps,
        "rate": RATE,
        "batch": race.BATCH,
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
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    records = [
        runner.record(
            "canary_exposure",
            functools.partial(measure, options.data, options.steps, seed),
            settings=settings(options.steps),
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
