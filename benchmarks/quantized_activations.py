"""What few bits of weights and data cost a transformer with outlier channels.

    python -m benchmarks.quantized_activations [--data DIR] [--seeds 0 1 2]

The character transformer of `benchmarks.one_shot_gpt`. In its norms four channels of
each layer are planted: their scales are 30 times as large, and what reads them 30 times
as small, so that the model is the same. Data become 8-bit codes under one calibrated
range for each site (W8A8), before and after `equivalent.smooth`, whose strength the
search finds; or 4-bit codes under a range for each row (W4A4) of the model as it was
trained, with and without rotations. Test windows are opened once per seed.
"""

import argparse
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import race, runner
from benchmarks.one_shot_gpt import BATCH, CALIBRATION, JUDGED, RATE, SEEDS, STEPS, trained
from benchmarks.quantized_gpt import CORRECTION, MATRICES, of_matrices, untied
from benchmarks.shakespeare import gpt, text, windows
from jaxcompress.core.types import Array, Model, Params

CHANNELS, FACTOR = 4, 30.0
quantize, equivalent = jc.quantize, jc.quantize.equivalent
INT8, INT4 = quantize.int8(), quantize.int4()
GPTQ = quantize.rounding.gptq(ranges=quantize.ranges.mean_squared_error)


def planted(params: Params, seed: int) -> Params:
    """The same function with a few large channels at the inputs of qkv and up."""
    keys = jax.random.split(jax.random.key(seed), 2)
    changed = {}
    for key, norm, reader in zip(keys, ("norm_1", "norm_2"), ("qkv", "up"), strict=True):
        layers, width = params[norm].shape
        order = jax.random.permutation(
            key, jnp.tile(jnp.arange(width), (layers, 1)), axis=1, independent=True
        )
        large = order < CHANNELS
        factors = jnp.where(large, FACTOR, 1.0)  # (layers, width)
        changed[norm] = params[norm] * factors
        rest = (1,) * (params[reader].ndim - 2)
        changed[reader] = params[reader] / factors.reshape(layers, width, *rest)
    return params | changed


def static(fn: Model, params: Params, batches: list[Array]) -> Model:
    """The model with data of its layers in 8 bits, a calibrated range for each site."""
    watched = jc.Rules((name, quantize.ranges.min_max()) for name in MATRICES)
    readings = jc.graph.calibrate(fn, params, batches, watched)
    fixed = quantize.execution.static(readings, INT8)
    return quantize.fake_quantize_activations(fn, jc.Rules(dict.fromkeys(MATRICES, fixed)))


def eight(params: Params, batches: list[Array]) -> tuple[Model, Params]:
    """W8A8, rounded to nearest."""
    axes = jc.graph.axes(gpt, params, batches[0])
    codes, _ = quantize.quantize(params, of_matrices(INT8), axes=axes)
    return static(jc.materialized(gpt), codes, batches), codes


def four(params: Params, batches: list[Array]) -> tuple[Model, Params]:
    """W4A4, weights by GPTQ, data by rows."""
    codes, _ = quantize.reconstruct(
        gpt, params, batches, of_matrices(INT4), GPTQ, correction=CORRECTION
    )
    rows = jc.Rules(dict.fromkeys(MATRICES, quantize.execution.dynamic(INT4)))
    return quantize.fake_quantize_activations(jc.materialized(gpt), rows), codes


def strengths(report: jc.Report) -> list[str]:
    """What the search says of each leaf that it changed."""
    return [f"{row.name}: {row.reason}" for row in report.leaves if row.changed]


def measure(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Test losses of the float model and of every form."""
    dense, parts = trained(options.data, seed, options.trained), text(options.data)
    seen = jnp.asarray(windows(parts.train, CALIBRATION)[:, :-1])
    batches = list(seen.reshape(-1, BATCH, seen.shape[1]))
    held_out = jnp.asarray(windows(parts.test, JUDGED))
    outliers = planted(dense, seed)
    smoothed, report = equivalent.smooth(
        gpt, outliers, batches, of_matrices(INT8), equivalent.per_site(INT8)
    )
    rotated, _ = equivalent.rotate(gpt, untied(dense), batches[0])
    models = {
        "float": (gpt, dense),
        "planted, float": (gpt, outliers),
        "W8A8 without outliers": eight(dense, batches),
        "planted, W8A8": eight(outliers, batches),
        "planted, smoothed, W8A8": eight(smoothed, batches),
        "rotated, float": (gpt, rotated),
        "W4A4": four(dense, batches),
        "rotated, W4A4": four(rotated, batches),
    }
    losses = {name: loss(fn, params, held_out) for name, (fn, params) in models.items()}
    return {"test": losses, "strengths": strengths(report)}


def loss(fn: Model, params: Params, codes: Array) -> float:
    """Mean cross-entropy over windows, in nats."""
    each = jax.jit(
        lambda params, codes: jc.distill.outputs.hard_targets(
            fn(params, codes[:, :-1]), codes[:, 1:]
        ).mean()
    )
    return float(np.mean([each(params, part) for part in jnp.split(codes, 8)]))


def main() -> None:
    """Runs the seeds that have no record yet, then prints means."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained params")
    options = parser.parse_args()
    settings = race.settings("muon", RATE, STEPS) | {
        "calibration": CALIBRATION,
        "channels": CHANNELS,
        "factor": FACTOR,
        "judged": JUDGED,
    }
    records = [
        runner.record(
            "quantized_activations",
            functools.partial(measure, options, seed),
            settings=settings,
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for name in records[0]["figures"]["test"]:
        found = runner.summary([record["figures"]["test"][name] for record in records])
        print(f"{name:28} {found.mean:.4f} ± {found.standard_error:.4f}")


if __name__ == "__main__":
    main()
