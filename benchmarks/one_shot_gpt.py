"""What pruning a trained transformer at once costs in loss, and what data win back.

    python -m benchmarks.one_shot_gpt [--data DIR] [--seeds 0 1 2] [--trained DIR]

The character transformer on tiny Shakespeare, trained by Muon as in `benchmarks.race`,
then pruned without training: half of the weights of every matrix, anywhere or two of
four. By magnitude; by magnitude times the input's (Wanda); and with the weights that
stay making up for those that went, half-way corrected also for the matrices before. The
table of characters, which also gives the outputs, stays whole. The share won back is
that of the gap in loss between magnitude and the dense model. Blocks and damping of
SparseGPT, damping of ALPS and the share of the correction were chosen on validation,
seed 0.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import race, runner
from benchmarks.shakespeare import gpt, loss, text, windows
from jaxcompress.core.axes import Axes
from jaxcompress.core.types import Array, Params

SEEDS, STEPS, RATE = (0, 1, 2), 1000, 8e-3
CALIBRATION, BATCH, JUDGED, CORRECTION = 512, 64, 1536, 0.5
MATRICES = jc.matching("qkv", "attended", "up", "down")
SPARSITIES = {"anywhere": 0.5, "2:4": 0.5, "70 % anywhere": 0.7}
HALF = ("anywhere", "2:4")
TWO_OF_FOUR = jc.prune.patterns.n_of_m(2, 4)

Method = Callable[[Params, Axes, list[Array], str], Params]
"""Params, axes, calibration data and which of `SPARSITIES` -> what is left."""


def by_magnitude(params: Params, axes: Axes, batches: list[Array], pattern: str) -> Params:
    """The smallest of each layer's matrix, or of each four."""
    del batches
    where = TWO_OF_FOUR if pattern == "2:4" else jc.prune.patterns.unstructured
    target = jc.prune.Target(SPARSITIES[pattern], where, select=MATRICES, axes=axes)
    return jc.prune.one_shot(params, jc.prune.criteria.magnitude(), target)[0]


def by_wanda(params: Params, axes: Axes, batches: list[Array], pattern: str) -> Params:
    """Those that do least to each output."""
    criterion = jc.prune.criteria.wanda(gpt, params, batches)
    where = TWO_OF_FOUR if pattern == "2:4" else jc.prune.patterns.within_outputs
    target = jc.prune.Target(SPARSITIES[pattern], where, select=MATRICES, axes=axes)
    return jc.prune.one_shot(params, criterion, target)[0]


def by(solvers: dict[str, jc.prune.solvers.SparsitySolver], correction: float = 0.0) -> Method:
    """Matrix after matrix, what stays making up for what goes."""

    def method(params: Params, axes: Axes, batches: list[Array], pattern: str) -> Params:
        del axes
        return jc.prune.reconstruct(
            gpt,
            params,
            batches,
            solvers["2:4" if pattern == "2:4" else "anywhere"],
            jc.prune.Target(SPARSITIES[pattern], select=MATRICES),
            correction=correction,
        )[0]

    return method


SPARSEGPT = {
    "anywhere": jc.prune.solvers.sparsegpt(block_size=8, damping=1e-3),
    "2:4": jc.prune.solvers.sparsegpt(pattern=TWO_OF_FOUR, block_size=4),
}
LEAST_SQUARES = {
    "anywhere": jc.prune.solvers.least_squares(),
    "2:4": jc.prune.solvers.least_squares(pattern=TWO_OF_FOUR),
}
ALPS = {
    "anywhere": jc.prune.solvers.alps(),
    "2:4": jc.prune.solvers.alps(pattern=TWO_OF_FOUR),
}
METHODS: dict[str, Method] = {
    "magnitude": by_magnitude,
    "wanda": by_wanda,
    "sparsegpt": by(SPARSEGPT),
    "sparsegpt, refitted": by(
        {pattern: jc.prune.solvers.refitted(solver) for pattern, solver in SPARSEGPT.items()}
    ),
    "least squares": by(LEAST_SQUARES),
}
CORRECTED: dict[str, Method] = {
    "magnitude": by_magnitude,
    "least squares, corrected": by(LEAST_SQUARES, CORRECTION),
}
WITH_ALPS: dict[str, Method] = {
    "magnitude": by_magnitude,
    "least squares, corrected": by(LEAST_SQUARES, CORRECTION),
    "alps": by(ALPS),
    "alps, corrected": by(ALPS, CORRECTION),
}


def trained(data: pathlib.Path, seed: int, folder: pathlib.Path | None) -> Params:
    """The dense model of a seed, from the folder where an earlier run has left it."""
    path = None if folder is None else folder / f"seed{seed}.npz"
    if path is not None and path.exists():
        return {name: jnp.asarray(leaf) for name, leaf in np.load(path).items()}
    codes = jnp.asarray(text(data).train)
    train = race.prepared(race.RACERS["muon"], RATE, STEPS, codes, seed, race.EVERY)
    carry = train.start()
    for begin in range(0, STEPS, race.EVERY):
        carry = train.advance(carry, jnp.int32(begin))
    if path is not None:
        arrays = {name: np.asarray(leaf) for name, leaf in carry[0].items()}
        np.savez(path, allow_pickle=False, **arrays)
    return carry[0]


def measure(
    options: argparse.Namespace,
    methods: dict[str, Method],
    patterns: Iterable[str],
    seed: int,
) -> dict[str, Any]:
    """Test losses of the dense model and of the methods with every pattern."""
    dense, parts = trained(options.data, seed, options.trained), text(options.data)
    seen = jnp.asarray(windows(parts.train, CALIBRATION)[:, :-1])
    batches = list(seen.reshape(-1, BATCH, seen.shape[1]))
    axes = jc.graph.axes(gpt, dense, batches[0])
    held_out, judge = windows(parts.test, JUDGED), jax.jit(loss)
    losses = {"dense": float(judge(dense, held_out))}
    for pattern in patterns:
        for name, method in methods.items():
            pruned = method(dense, axes, batches, pattern)
            losses[f"{name}, {pattern}"] = float(judge(pruned, held_out))
    return {"test": losses, "won_back": won_back(losses, methods, patterns)}


def won_back(
    losses: dict[str, float], methods: Iterable[str], patterns: Iterable[str]
) -> dict[str, float]:
    """The share of the gap between magnitude and dense that each method closes."""
    shares = {}
    for pattern in patterns:
        worst = losses[f"magnitude, {pattern}"]
        for name in methods:
            key = f"{name}, {pattern}"
            shares[key] = (worst - losses[key]) / (worst - losses["dense"])
    return shares


def run(
    options: argparse.Namespace,
    methods: dict[str, Method],
    patterns: Iterable[str],
    known: dict[str, Any],
) -> None:
    """Runs the seeds that have no record yet, then prints means over all."""
    records = [
        runner.record(
            "one_shot_gpt",
            functools.partial(measure, options, methods, patterns, seed),
            settings=known,
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for figure in ("test", "won_back"):
        for name in records[0]["figures"][figure]:
            found = runner.summary([record["figures"][figure][name] for record in records])
            print(f"{figure:9} {name:42} {found.mean:.4f} ± {found.standard_error:.4f}")


def main() -> None:
    """The methods that keep what a matrix makes of its inputs, corrected, and ALPS."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument(
        "--trained", type=pathlib.Path, help="folder that keeps dense models for further runs"
    )
    options = parser.parse_args()
    settings = race.settings("muon", RATE, STEPS) | {
        "calibration": CALIBRATION,
        "judged": JUDGED,
    }
    run(options, METHODS, HALF, settings | {"sparsity": 0.5})
    run(options, CORRECTED, HALF, settings | {"sparsity": 0.5, "correction": CORRECTION})
    both = settings | {"sparsity": SPARSITIES, "correction": CORRECTION, "solver": "alps"}
    run(options, WITH_ALPS, tuple(SPARSITIES), both)


if __name__ == "__main__":
    main()
