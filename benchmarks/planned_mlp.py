"""Is a model as planned never slower than the dense one, whatever its batch?

A Flax MLP of four layers of 1024 with biases and ReLU, weights as int8 codes, planned
and run by `quantize.plan_execution` and `quantize.run` at batch 1, 8 and 64. Each call
is timed in turn with the dense model in one process; besides each form at all sites,
which is what the plan chose from.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

import jaxcompress as jc
from benchmarks import runner

WIDTH = 1024
BATCHES = (1, 8, 64)
REPEATS = 100
FORMS = ("integer", "scaled", "materialized")


class MLP(nn.Module):
    """Four layers of 1024."""

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.relu(nn.Dense(WIDTH)(x))
        return nn.Dense(WIDTH)(x)


def measure(batch: int, seed: int) -> dict[str, Any]:
    """The plan, and times of the model: dense, as planned, in one form throughout."""
    first, second = jax.random.split(jax.random.key(seed))
    model = MLP()
    x = jax.random.normal(first, (batch, WIDTH))
    params = model.init(second, x)
    axes = jc.graph.axes(model.apply, params, x)
    codes, _ = jc.quantize.quantize(params, jc.quantize.int8(), axes=axes)
    plan = jc.quantize.plan_execution(model.apply, codes, x)
    # Pairs, so that no third set of weights drives the model's out of the cache.
    planned = paired(model.apply, params, x, plan, plan.hold(codes))
    forms = {
        form: paired(
            model.apply,
            params,
            x,
            jc.quantize.plan_execution(model.apply, codes, x, probe=only(form)),
            codes,
        )
        for form in FORMS
    }
    return {
        "planned": planned,
        "forms": forms,
        "chosen": {choice.site: choice.form for choice in plan.choices},
        "dense_leaves": plan.dense_leaves,
        "plan_seconds": dict(plan.seconds),
    }


def only(form: str):
    """A probe that chooses one form everywhere without timing."""
    return lambda calls: {name: 1.0 if name in (form, "planned") else 2.0 for name in calls}


def paired(fn, params, x, plan: jc.quantize.ExecutionPlan, held) -> dict[str, float]:
    """Milliseconds of the model dense and as planned, called in turn."""
    calls = {
        "dense": partial(jax.jit(fn), params, x),
        "planned": partial(jax.jit(jc.quantize.run(fn, plan)), held, x),
    }
    timings = runner.interleaved(calls, repeats=REPEATS)
    return {
        "dense_ms": timings["dense"].median_seconds * 1e3,
        "planned_ms": timings["planned"].median_seconds * 1e3,
        "times_as_fast": timings["planned"].ratio,
        "spread": timings["planned"].spread,
    }


def main() -> None:
    """Measures what is missing and prints all of it."""
    options = runner.arguments("Times a planned MLP on int8 codes.").parse_args()
    for batch in BATCHES:
        figures = runner.record(
            "planned_mlp",
            partial(measure, batch, 0),
            settings={"batch": batch, "repeats": REPEATS, "jax": jax.__version__},
            seed=0,
            out=options.out,
        )["figures"]
        rows = {"as planned": figures["planned"], **figures["forms"]}
        for name, row in rows.items():
            print(
                f"jax {jax.__version__} batch {batch:3} {name:12} {row['planned_ms']:7.3f} ms "
                f"{row['times_as_fast']:5.2f} x dense"
            )


if __name__ == "__main__":
    main()
