"""Is a dense layer faster on int8 codes than in float32, and how exact is it?

A 4096 × 4096 layer at batch 1, 4, 16 and 64, run by `quantize.run` as planned on this
machine: weights of 8 bits with activations of 8 bits (W8A8), and with activations of
two 8-bit digits (W8A16). All variants of a batch size are timed in turn in one process.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner

WIDTH = 4096
BATCHES = (1, 4, 16, 64)
REPEATS = 60
ACTIVATIONS = {
    "w8a8": jc.quantize.execution.dynamic(),
    "w8a16": jc.quantize.execution.dynamic(digits=2),
}


def dense(params, x):
    """The layer."""
    return x @ params["kernel"]


def measure(batch: int, seed: int) -> dict[str, Any]:
    """Times and errors of every variant at one batch size."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) / np.sqrt(WIDTH)
    params = {"kernel": jnp.asarray(kernel)}
    x = jnp.asarray(rng.normal(size=(batch, WIDTH)), jnp.float32)
    stored, report = jc.quantize.quantize(params, jc.quantize.int8())
    plans = {
        name: jc.quantize.plan_execution(dense, stored, x, activations=activations)
        for name, activations in ACTIVATIONS.items()
    }
    calls = {"float32": (jax.jit(dense), params)}
    calls |= {
        name: (jax.jit(jc.quantize.run(dense, plan)), plan.hold(stored))
        for name, plan in plans.items()
    }
    timings = runner.interleaved(
        {name: lambda fn=fn, held=held: fn(held, x) for name, (fn, held) in calls.items()},
        repeats=REPEATS,
    )
    exact = np.asarray(x, np.float64) @ kernel.astype(np.float64)
    rounded = np.asarray(x, np.float64) @ np.asarray(stored["kernel"].materialize(), np.float64)
    variants = {
        name: {
            "form": "dense"
            if name == "float32" or plans[name].dense_leaves
            else plans[name].choices[0].form,
            "median_ms": timings[name].median_seconds * 1e3,
            "times_as_fast": timings[name].ratio,
            "spread": timings[name].spread,
            "error": relative(fn(held, x), exact),
            "error_beside_rounded_weights": relative(fn(held, x), rounded),
        }
        for name, (fn, held) in calls.items()
    }
    return {
        "variants": variants,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
    }


def relative(found, exact: np.ndarray) -> float:
    """Norm of the difference over the norm of the exact output."""
    return float(np.linalg.norm(np.asarray(found, np.float64) - exact) / np.linalg.norm(exact))


def main() -> None:
    """Measures what is missing and prints all of it."""
    options = runner.arguments("Times a dense layer on int8 codes.").parse_args()
    for batch in BATCHES:
        settings = {"width": WIDTH, "batch": batch, "repeats": REPEATS, "jax": jax.__version__}
        figures = runner.record(
            "integer_matmul",
            lambda batch=batch: measure(batch, 0),
            settings=settings,
            seed=0,
            out=options.out,
        )["figures"]
        for name, row in figures["variants"].items():
            print(
                f"batch {batch:3} {name:8} {row['form']:9} {row['median_ms']:8.3f} ms "
                f"{row['times_as_fast']:5.2f} x  error {row['error']:.2e}"
            )


if __name__ == "__main__":
    main()
