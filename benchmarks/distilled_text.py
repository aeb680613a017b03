"""What a two-layer transformer learns from one of six layers, on tiny Shakespeare.

    python -m benchmarks.distilled_text [--data DIR] [--seeds 0 1 2] [--part validation]

Character transformers of width 128. All students get the same steps and windows: on the
labels alone, on the teacher's answers for the same characters, and on text that the
student has written half of (GKD); from random weights, and from the first and last
layer of the teacher. Nothing was tuned; test windows are opened once per seed.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import jaxcompress as jc
from benchmarks import runner
from benchmarks.shakespeare import (
    CONTEXT,
    STACKED,
    batch,
    decoder,
    empty_cache,
    gpt,
    initial,
    loss,
    text,
    windows,
)
from jaxcompress.core.types import Array, Key, Params

TEACHER_LAYERS, TAKEN = 6, (0, 5)
TEACHER_STEPS, STEPS, BATCH, RATE, JUDGED = 1000, 600, 16, 3e-3, 1536
SOFT, SHARE, PROMPT, SKEW = 0.9, 0.5, 32, 0.5
SETTINGS = {
    "layers": [TEACHER_LAYERS, len(TAKEN)],
    "steps": [TEACHER_STEPS, STEPS],
    "batch": BATCH,
    "rate": RATE,
    "soft": SOFT,
    "share": SHARE,
    "prompt": PROMPT,
    "skew": SKEW,
}
outputs, sequences = jc.distill.outputs, jc.distill.sequences

Objective = Callable[[Params, Array, Key], Array]
"""(params, windows (n, CONTEXT + 1), key) to the loss of a batch."""


class Method(NamedTuple):
    """How a student learns.

    Attributes:
      objective: teacher's params to what is minimized.
      from_teacher: whether it starts from the teacher's layers.
    """

    objective: Callable[[Params], Objective]
    from_teacher: bool


def on_labels(teacher: Params) -> Objective:
    """Cross-entropy of the next characters."""
    del teacher
    return lambda params, codes, key: loss(params, codes)


def on_answers(teacher: Params) -> Objective:
    """Mixed with the divergence from the teacher's answers for the same characters."""

    def objective(params: Params, codes: Array, key: Key) -> Array:
        del key
        logits = gpt(params, codes[:, :-1])
        soft = outputs.soft_targets(logits, gpt(teacher, codes[:, :-1]))
        hard = outputs.hard_targets(logits, codes[:, 1:])
        return jc.distill.mix(hard, soft, weight=SOFT).mean()

    return objective


def on_own_text(teacher: Params) -> Objective:
    """The same, where half of the windows go on as the student writes them."""

    def objective(params: Params, codes: Array, key: Key) -> Array:
        drawing, mixing = jax.random.split(key)
        fixed = jax.lax.stop_gradient(params)
        written = sequences.generate(
            decoder,
            fixed,
            decoder(fixed, codes[:, :PROMPT], empty_cache(params, len(codes))),
            steps=CONTEXT - PROMPT,
            sample=sequences.at_temperature(drawing),
        )
        own = jnp.concatenate([codes[:, :PROMPT], written.tokens], axis=1)
        fed = sequences.student_share(mixing, own, codes[:, :-1], share=SHARE)
        logits = gpt(params, fed)
        soft = outputs.jensen_shannon(logits, gpt(teacher, fed), beta=SKEW)
        # Labels are the data's: where the student wrote the text there are none.
        given = jnp.all(fed == codes[:, :-1], axis=1)[:, None]
        hard = jnp.where(given, outputs.hard_targets(logits, codes[:, 1:]), 0.0)
        return jc.distill.mix(hard, soft / (SKEW * (1 - SKEW)), weight=SOFT).mean()

    return objective


METHODS = {
    "labels": Method(on_labels, False),
    "answers": Method(on_answers, False),
    "labels, teacher's layers": Method(on_labels, True),
    "answers, teacher's layers": Method(on_answers, True),
    "own text, teacher's layers": Method(on_own_text, True),
}


def taken(teacher: Params) -> Params:
    """A student of some of the teacher's layers, and all that is not in layers."""
    chosen = jnp.array(TAKEN)
    return {name: leaf[chosen] if name in STACKED else leaf for name, leaf in teacher.items()}


def fitted(objective: Objective, params: Params, codes: Array, steps: int, seed: int) -> Params:
    """Params after training on windows at random."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, RATE, steps // 20, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))

    def step(carry: tuple, key: Key) -> tuple[tuple, None]:
        params, state = carry
        drawing, own = jax.random.split(key)
        grads = jax.grad(objective)(params, batch(codes, BATCH, drawing), own)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(seed), steps)
    run = jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[0])
    return run((params, optimizer.init(params)))[0]


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Losses of the teacher and of every student."""
    parts = text(options.data)
    codes = jnp.asarray(parts.train)
    held_out, judge = windows(getattr(parts, options.part), JUDGED), jax.jit(loss)
    first, second = jax.random.split(jax.random.key(1000 + seed))
    teacher = fitted(on_labels({}), initial(first, TEACHER_LAYERS), codes, TEACHER_STEPS, 10 + seed)
    losses = {"teacher": float(judge(teacher, held_out))}
    for name, method in METHODS.items():
        start = taken(teacher) if method.from_teacher else initial(second, len(TAKEN))
        student = fitted(method.objective(teacher), start, codes, STEPS, 20 + seed)
        losses[name] = float(judge(student, held_out))
        print(seed, name, losses[name], flush=True)
    return {options.part: losses}


def main() -> None:
    """Runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    options = parser.parse_args()
    records = [
        runner.record(
            "distilled_text",
            functools.partial(measure, options, seed),
            settings=SETTINGS | {"part": options.part},
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for name in ("teacher", *METHODS):
        found = runner.summary([record["figures"][options.part][name] for record in records])
        print(f"{name:28} {found.mean:.4f} ± {found.standard_error:.4f}")


if __name__ == "__main__":
    main()
