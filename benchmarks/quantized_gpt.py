"""What few bits cost a trained transformer in loss, and what roundings win back.

    python -m benchmarks.quantized_gpt [--data DIR] [--seeds 0 1 2] [--bits 4 3 2 8]

The character transformer on tiny Shakespeare, trained as in `benchmarks.one_shot_gpt`,
then quantized without training: every matrix of its layers, one scale for each output.
The table of characters, which also gives the outputs, stays whole. The share closed is
that of the gap in loss between rounding to nearest and the float model. Options of the
methods were chosen on validation, seed 0; the test windows are opened once per seed.
"""

import argparse
import functools
import itertools
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import race, runner
from benchmarks.one_shot_gpt import BATCH, CALIBRATION, JUDGED, RATE, SEEDS, STEPS, trained
from benchmarks.shakespeare import gpt, loss, text, windows
from jaxcompress.core.types import Array, Params
from jaxcompress.quantize.rounding import Rounding

BITS, CORRECTION = (8, 4, 3, 2), 0.5
MATRICES = ("qkv", "attended", "up", "down")
rounding, ranges, equivalent = jc.quantize.rounding, jc.quantize.ranges, jc.quantize.equivalent

Method = Callable[[Params, list[Array], jc.QuantSpec], Params]
"""Params, calibration data and the format -> params with codes."""


def of_matrices(spec: jc.QuantSpec) -> jc.Rules:
    """The format for the matrices of the layers alone."""
    return jc.Rules(dict.fromkeys(MATRICES, spec))


def on_weights(how: Rounding) -> Method:
    """Rounds by the weights alone."""

    def method(params: Params, batches: list[Array], spec: jc.QuantSpec) -> Params:
        axes = jc.graph.axes(gpt, params, batches[0])
        return jc.quantize.quantize(params, of_matrices(spec), axes=axes, rounding=how)[0]

    return method


def on_data(how: Rounding, correction: float = 0.0) -> Method:
    """Rounds matrix after matrix on the inputs that it meets."""

    def method(params: Params, batches: list[Array], spec: jc.QuantSpec) -> Params:
        chosen = of_matrices(spec)
        return jc.quantize.reconstruct(gpt, params, batches, chosen, how, correction=correction)[0]

    return method


def turned(method: Method) -> Method:
    """Rotates the residual stream and the heads before the method rounds."""

    def after(params: Params, batches: list[Array], spec: jc.QuantSpec) -> Params:
        rotated, _ = equivalent.rotate(gpt, untied(params), batches[0])
        return method(rotated, batches, spec)

    return after


def scaled(method: Method) -> Method:
    """Moves scales to where data are large, before the method rounds."""

    def after(params: Params, batches: list[Array], spec: jc.QuantSpec) -> Params:
        moved, _ = equivalent.activation_aware(gpt, params, batches, of_matrices(spec))
        return method(moved, batches, spec)

    return after


def untied(params: Params) -> Params:
    """The same model whose outputs have a table of their own, to be rotated alone."""
    return params | {"readout": params["embedding"] + 0}


def pruned_first(params: Params, batches: list[Array], spec: jc.QuantSpec) -> Params:
    """Prunes the whole model, then rounds the whole pruned model."""
    target = jc.prune.Target(SPARSITY, select=jc.matching(*MATRICES))
    pruned, _ = jc.prune.reconstruct(gpt, params, batches, ALPS, target, correction=CORRECTION)
    return on_data(rounding.gptq(), CORRECTION)(pruned, batches, spec)


SPARSITY, ALPS = 0.5, jc.prune.solvers.alps()
CLIPPED = rounding.gptq(ranges=ranges.mean_squared_error)
METHODS: dict[str, Method] = {
    "nearest": on_weights(rounding.nearest()),
    "mse ranges": on_weights(rounding.nearest(ranges.mean_squared_error)),
    "hqq": on_weights(rounding.hqq()),
    "gptq": on_data(rounding.gptq()),
    "gptq, corrected": on_data(rounding.gptq(), CORRECTION),
    "gptq, mse ranges": on_data(CLIPPED),
    "gptq, mse ranges, corrected": on_data(CLIPPED, CORRECTION),
    "half pruned, then gptq": pruned_first,
    "half pruned and gptq at once": on_data(rounding.sparse(ALPS, SPARSITY), CORRECTION),
    "ada_round": on_data(rounding.ada_round()),
    "sign_round": on_data(rounding.sign_round()),
    "awq": scaled(on_weights(rounding.nearest())),
    "rotated, gptq": turned(on_data(rounding.gptq())),
    "rotated, gptq, mse ranges, corrected": turned(on_data(CLIPPED, CORRECTION)),
}
GROUPS = {
    "closed forms": (
        "mse ranges",
        "hqq",
        "gptq",
        "gptq, corrected",
        "gptq, mse ranges",
        "gptq, mse ranges, corrected",
    ),
    "pruned": ("half pruned, then gptq", "half pruned and gptq at once"),
    "by gradients": ("ada_round", "sign_round"),
    "moved": ("awq", "rotated, gptq", "rotated, gptq, mse ranges, corrected"),
}
"""What one record holds, beside rounding to nearest."""


def measure(
    options: argparse.Namespace, part: str, methods: Iterable[str], bits: int, seed: int
) -> dict[str, Any]:
    """Losses of the float model and of the methods at one width.

    Args:
      options: of the command line.
      part: "test", or "validation" where options are chosen.
      methods: names among `METHODS`, rounding to nearest among them.
      bits: of a code.
      seed: of the trained model.
    """
    dense, parts = trained(options.data, seed, options.trained), text(options.data)
    seen = jnp.asarray(windows(parts.train, CALIBRATION)[:, :-1])
    batches = list(seen.reshape(-1, BATCH, seen.shape[1]))
    held_out = windows(getattr(parts, part), JUDGED)
    judge = jax.jit(jc.materialized(loss))
    spec = getattr(jc.quantize.formats, f"int{bits}")()
    losses, seconds = {"float": float(judge(dense, held_out))}, {}
    for name in methods:
        begin = time.process_time()
        quantized = METHODS[name](dense, batches, spec)
        jax.block_until_ready(jax.tree.leaves(quantized))
        seconds[name] = time.process_time() - begin
        losses[name] = float(judge(quantized, held_out))
    gap = losses["nearest"] - losses["float"]
    closed = {name: (losses["nearest"] - losses[name]) / gap for name in methods}
    return {part: losses, "closed": closed, "cpu_seconds": seconds}


def main() -> None:
    """Every group, width and seed that has no record yet, then means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--bits", type=int, nargs="+", default=BITS)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained params")
    options = parser.parse_args()
    for bits, group in itertools.product(options.bits, options.groups):
        methods = ("nearest", *GROUPS[group])
        settings = (
            race.settings("muon", RATE, STEPS)
            | {
                "bits": bits,
                "calibration": CALIBRATION,
                "correction": CORRECTION,
                "judged": JUDGED,
                "methods": methods,
                "part": options.part,
            }
            | ({"sparsity": SPARSITY} if group == "pruned" else {})
        )
        records = [
            runner.record(
                "quantized_gpt",
                functools.partial(measure, options, options.part, methods, bits, seed),
                settings=settings,
                seed=seed,
                out=options.out,
            )
            for seed in options.seeds
        ]
        for name in methods:
            loss = runner.summary([each["figures"][options.part][name] for each in records])
            closed = runner.summary([each["figures"]["closed"][name] for each in records])
            told = f"{loss.mean:.4f} ± {loss.standard_error:.4f}"
            print(f"{bits} bits {name:40} {told}, closed {closed.mean:.3f}")


if __name__ == "__main__":
    main()
