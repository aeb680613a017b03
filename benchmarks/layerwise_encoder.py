"""How the time of layer-wise pruning grows with depth.

    python -m benchmarks.layerwise_encoder

Half of every matrix of an encoder goes by SparseGPT. Encoders have 2, 4, 8 and 16 equal
layers of `linearized_encoder` and 64 sentences of 32 tokens, then the six layers of
small pretrained ones and 256 sentences. Weights are random, as only time is asked for.
Beside the time stand the programs that were compiled for it, and what one run of the
whole model over the same sentences takes: a method that runs the model once for each
matrix needs at least as many of those as there are matrices.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from benchmarks.linearized_encoder import LENGTH, ROWS, encoder, pooled, weights

SETTINGS = ((2, 64), (4, 64), (8, 64), (16, 64), (6, 256))
"""Layers, and sentences."""
BATCH, MATRICES, REPEATS = 32, 6, 3
"""Sentences in a batch, matrices in a layer, calls of which the fastest counts."""


def main() -> None:
    """Measures each depth once and prints what was found."""
    options = runner.arguments(__doc__ or "").parse_args()
    for layers, sentences in SETTINGS:
        run = runner.record(
            "layerwise_encoder",
            functools.partial(measure, layers, sentences),
            settings={"layers": layers, "sentences": sentences},
            seed=0,
            out=options.out,
        )
        print(run["settings"], run["figures"])


def measure(layers: int, sentences: int) -> dict[str, Any]:
    """Seconds of one call, its compilations, and seconds of one run of the model."""
    fn, params = encoder(pooled), weights(0, layers)
    ids = np.random.default_rng(0).integers(0, ROWS, (sentences, LENGTH))
    batches = [jnp.asarray(each) for each in np.split(ids, sentences // BATCH)]
    runs = [once(fn, params, batches) for _ in range(REPEATS)]
    seconds, programs = min(runs)
    run = jax.jit(fn)
    whole = runner.interleaved(
        {"model": lambda: [run(params, each) for each in batches]}, repeats=10, warmup=1
    )["model"]
    return {
        "matrices": layers * MATRICES,
        "seconds": seconds,
        "slowest_seconds": max(runs)[0],
        "compilations": programs,
        "model_seconds": whole.median_seconds,
    }


def once(fn: Callable, params: dict[str, Any], batches: list[jax.Array]) -> tuple[float, int]:
    """Seconds of one call that has to compile everything, and compilations."""
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    jax.clear_caches()
    begin = time.perf_counter()
    pruned, _ = jc.prune.reconstruct(fn, params, batches, jc.prune.solvers.sparsegpt(), 0.5)
    jax.block_until_ready(pruned)
    return time.perf_counter() - begin, len(compiled)


if __name__ == "__main__":
    main()
