"""What a small LSTM learns from one of twice the units, on tiny Shakespeare.

    python -m benchmarks.distilled_lstm [--data DIR] [--seeds 0 1 2]

The teacher is the network of `benchmarks.quantized_lstm`; the student has half of its
units and of its embedding, 28 % of the weights. Students start from the same weights
and see the same windows in the same steps: on labels alone, and on labels and the soft
targets of the teacher. The temperature is chosen first, on validation windows and with
another student than any that is judged; test windows are opened once per seed. Losses
are in nats per character.
"""

import argparse
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import runner
from benchmarks.quantized_lstm import (
    BATCH,
    EMBEDDED,
    JUDGED,
    RATE,
    STEPS,
    UNITS,
    Objective,
    fitted,
    initial,
    loss,
    lstm,
    trained,
)
from benchmarks.shakespeare import text, windows
from jaxcompress.core.types import Array, Params

NARROW, NARROW_EMBEDDED = UNITS // 2, EMBEDDED // 2
TEMPERATURES, SOFT, CHOSEN_AT = (1.0, 2.0), 0.9, 1000
SETTINGS = {
    "units": [UNITS, NARROW],
    "embedded": [EMBEDDED, NARROW_EMBEDDED],
    "steps": STEPS,
    "rate": RATE,
    "batch": BATCH,
    "judged": JUDGED,
    "soft": SOFT,
}
outputs = jc.distill.outputs
judge = jax.jit(loss)


@functools.cache
def teacher_of(data: pathlib.Path, seed: int) -> Params:
    """The trained teacher of a seed, which choice and measurement share."""
    return trained(jnp.asarray(text(data).train), seed)


def on_soft_targets(teacher: Params, temperature: float) -> Objective:
    """Cross-entropy mixed with the divergence from the teacher's next characters."""

    def objective(params: Params, codes: Array) -> Array:
        logits, wanted = lstm(params, codes[:, :-1]), lstm(teacher, codes[:, :-1])
        soft = outputs.soft_targets(logits, wanted, temperature=temperature)
        hard = outputs.hard_targets(logits, codes[:, 1:])
        return jc.distill.mix(hard, soft, weight=SOFT).mean()

    return objective


def student(objective: Objective, codes: Array, seed: int) -> Params:
    """A student after training; of one seed all start and go on alike."""
    key, params_key = jax.random.split(jax.random.key(100 + seed))
    return fitted(objective, initial(params_key, NARROW, NARROW_EMBEDDED), codes, key)


def choice(data: pathlib.Path, seed: int) -> dict[str, Any]:
    """Validation losses of students at each temperature."""
    parts = text(data)
    codes, held_out = jnp.asarray(parts.train), windows(parts.validation, JUDGED)
    teacher = teacher_of(data, seed)
    return {
        "validation": [
            float(judge(student(on_soft_targets(teacher, each), codes, CHOSEN_AT + seed), held_out))
            for each in TEMPERATURES
        ]
    }


def measure(data: pathlib.Path, temperature: float, seed: int) -> dict[str, Any]:
    """Test losses of the teacher and of both students, and their numbers of weights."""
    parts = text(data)
    codes, held_out = jnp.asarray(parts.train), windows(parts.test, JUDGED)
    teacher = teacher_of(data, seed)
    models = {
        "teacher": teacher,
        "labels": student(loss, codes, seed),
        "soft targets": student(on_soft_targets(teacher, temperature), codes, seed),
    }
    return {
        "parameters": {
            name: sum(leaf.size for leaf in jax.tree.leaves(params))
            for name, params in models.items()
        },
        "test": {name: float(judge(params, held_out)) for name, params in models.items()},
    }


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The records of all seeds at the temperature that validation chose."""
    record = functools.partial(runner.record, "distilled_lstm", out=options.out)
    first = record(
        functools.partial(choice, options.data, 0),
        settings=SETTINGS | {"tried": TEMPERATURES, "chosen_at": CHOSEN_AT},
        seed=0,
    )
    losses = first["figures"]["validation"]
    print("validation", dict(zip(TEMPERATURES, losses, strict=True)), flush=True)
    temperature = TEMPERATURES[losses.index(min(losses))]
    return [
        record(
            functools.partial(measure, options.data, temperature, seed),
            settings=SETTINGS | {"temperature": temperature},
            seed=seed,
        )
        for seed in options.seeds
    ]


def main() -> None:
    """Runs the seeds, then prints means and paired differences."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    losses = [record["figures"]["test"] for record in run(parser.parse_args())]
    for name in losses[0]:
        found = runner.summary([each[name] for each in losses])
        print(f"{name:14} {found.mean:.4f} ± {found.standard_error:.4f}")
    found = runner.summary([each["soft targets"] - each["labels"] for each in losses])
    print(f"{'difference':14} {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")


if __name__ == "__main__":
    main()
