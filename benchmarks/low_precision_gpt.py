"""What training on 8-bit products costs a transformer in loss, against float32.

    python -m benchmarks.low_precision_gpt [--data DIR] [--seeds 0 1 2] [--steps 300]

The character transformer on tiny Shakespeare, trained by AdamW as in `benchmarks.race`
at the rate chosen there. In every matrix of its layers the forward product and both
backward ones have low-bit operands; the table of characters, which also gives the
outputs, and attention's own products stay in float32. Seeds share the first params and
all batches. Validation windows are judged; the last two were added after the first fp8.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import race, runner
from benchmarks.shakespeare import batch, gpt, initial, loss, text, windows
from jaxcompress.core.types import Array, PyTree
from jaxcompress.quantize import training

STEPS, RATE, JUDGED = 300, 8e-3, 384
MATRICES = ("qkv", "attended", "up", "down")
formats = jc.quantize.formats

PRECISIONS: dict[str, training.Precision | None] = {
    "float32": None,
    "int8": training.precision(),
    "int8, stochastic gradients": training.precision(gradients=training.round_stochastic),
    "fp8, delayed": training.precision(
        formats.fp8_e4m3(per="tensor"),
        formats.fp8_e5m2(per="tensor"),
        scaling=training.delayed_scaling(),
    ),
    "fp8, delayed, margin 1": training.precision(
        formats.fp8_e4m3(per="tensor"),
        formats.fp8_e5m2(per="tensor"),
        scaling=training.delayed_scaling(margin=1.0),
    ),
    "fp8, dynamic": training.precision(
        formats.fp8_e4m3(per="tensor"), formats.fp8_e5m2(per="tensor")
    ),
}
"""None for the model as it is."""


IN_FLOATS = training.LowPrecision(
    lambda params, *inputs: {},
    lambda params, histories, *inputs, step=jc.Step(): gpt(params, *inputs),
    lambda histories, met: histories,
)


class Course(NamedTuple):
    """Compiled training: carries are (params, opt_state, histories).

    Attributes:
      start: a carry.
      advance: (carry, the step to begin with) to the carry `race.EVERY` steps later.
    """

    start: PyTree
    advance: Callable[[PyTree, Array], PyTree]


def course(precision: training.Precision | None, steps: int, codes: Array, seed: int) -> Course:
    """The training of one seed at one precision."""
    key = jax.random.key(seed)
    params = initial(key)
    technique = IN_FLOATS
    if precision is not None:
        technique = training.low_precision(gpt, jc.Rules(dict.fromkeys(MATRICES, precision)))
    racer = race.RACERS["adamw"]
    optimizer = optax.chain(
        optax.clip_by_global_norm(race.LONGEST), racer.make(racer.schedule(RATE, steps), None)
    )

    def step(carry: PyTree, count: Array) -> tuple[PyTree, None]:
        params, opt_state, histories = carry
        drawn = batch(codes, race.BATCH, jax.random.fold_in(key, count))
        at = jc.Step(count, jax.random.fold_in(jax.random.fold_in(key, count), 1))

        def error(params: PyTree, histories: PyTree) -> Array:
            logits = technique.model(params, histories, drawn[:, :-1], step=at)
            return jc.distill.outputs.hard_targets(logits, drawn[:, 1:]).mean()

        grads, met = jax.grad(error, (0, 1))(params, histories)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        return (params, opt_state, technique.renew(histories, met)), None

    @functools.partial(jax.jit, donate_argnums=0)
    def advance(carry: PyTree, begin: Array) -> PyTree:
        return jax.lax.scan(step, carry, begin + jnp.arange(race.EVERY))[0]

    start = params, optimizer.init(params), technique.init(params, codes[None, :8])
    return Course(start, advance)


def measure(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Losses on validation windows on the way; the last is of four times as many."""
    parts = text(options.data)
    train = course(PRECISIONS[name], options.steps, jnp.asarray(parts.train), seed)
    judge = jax.jit(loss)
    few, many = windows(parts.validation, race.WINDOWS), windows(parts.validation, JUDGED)
    carry, found = train.start, []
    for begin in range(0, options.steps, race.EVERY):
        carry = train.advance(carry, jnp.int32(begin))
        # A run that is lost has a loss that JSON can hold.
        found.append(float(np.nan_to_num(judge(carry[0], few), nan=99.0, posinf=99.0)))
    last = float(np.nan_to_num(judge(carry[0], many), nan=99.0, posinf=99.0))
    return {"on_the_way": found, "validation": last}


def main() -> None:
    """Every precision and seed that has no record yet, then means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    options = parser.parse_args()
    known = race.settings("adamw", RATE, options.steps) | {
        "judged": JUDGED,
        "low_precision": MATRICES,
    }
    losses: dict[str, list[float]] = {name: [] for name in options.precisions}
    for seed in options.seeds:
        for name in options.precisions:
            record = runner.record(
                "low_precision_gpt",
                functools.partial(measure, options, name, seed),
                settings=known | {"precision": name},
                seed=seed,
                out=options.out,
            )
            losses[name].append(record["figures"]["validation"])
            print(name, seed, losses[name][-1], record["wall_seconds"], flush=True)
    for name, found in losses.items():
        told = runner.summary(found)
        print(f"{name:30} {told.mean:.4f} ± {told.standard_error:.4f}")


if __name__ == "__main__":
    main()
