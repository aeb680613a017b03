"""How the time and the memory of GPTQ over a whole model grow with its depth.

    python -m benchmarks.gptq_depth

Every matrix of a transformer, 768 wide and 3,072 inside, gets 4 bits in groups of 128,
on 64 sequences of 64 tokens and in one call of `quantize.reconstruct`: six matrices in
each of 3, 6 and 12 layers. Weights are random, as only time and memory are asked for.
Each depth is a process of its own, whose peak memory holds Python and JAX too.
"""

import concurrent.futures
import functools
import multiprocessing
import resource
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from benchmarks.linearized_encoder import encoder, pooled

DEPTHS, WIDTH, HIDDEN, ROWS = (3, 6, 12), 768, 3072, 512
SEQUENCES, LENGTH, BATCH = 64, 64, 16
SIZES = dict.fromkeys(("query", "key", "value", "out"), (WIDTH, WIDTH)) | {
    "up": (WIDTH, HIDDEN),
    "down": (HIDDEN, WIDTH),
}


def main() -> None:
    """Measures each depth once and prints what was found."""
    options = runner.arguments(__doc__ or "").parse_args()
    for layers in DEPTHS:
        run = runner.record(
            "gptq_depth",
            functools.partial(apart, layers),
            settings={"layers": layers, "sequences": SEQUENCES, "tokens": LENGTH},
            seed=0,
            out=options.out,
        )
        print(run["settings"], run["figures"])


def apart(layers: int) -> dict[str, Any]:
    """`measure` in a fresh process."""
    fresh = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(measure, layers).result()


def measure(layers: int) -> dict[str, Any]:
    """Seconds of one call with its compilations, and the process's peak memory."""
    jax.config.update("jax_enable_compilation_cache", False)
    params = weights(layers)
    tokens = np.random.default_rng(0).integers(0, ROWS, (SEQUENCES, LENGTH))
    batches = [jnp.asarray(each) for each in np.split(tokens, SEQUENCES // BATCH)]
    spec = jc.Rules({f"*/{name}": jc.quantize.int4(group_size=128) for name in SIZES})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, begin_cpu = time.perf_counter(), time.process_time()
    quantized, report = jc.quantize.reconstruct(
        encoder(pooled), params, batches, spec, jc.quantize.rounding.gptq()
    )
    jax.block_until_ready(quantized)
    return {
        "matrices": sum(row.action != "kept" for row in report.leaves),
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - begin_cpu,
        "params_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
        "peak_bytes_before": 1024 * before,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def weights(layers: int) -> dict[str, Any]:
    """Random weights of the transformer."""
    random = np.random.default_rng(0)

    def normal(*shape: int):
        return jnp.asarray(random.standard_normal(shape, np.float32) / shape[0] ** 0.5)

    def layer():
        norms = {f"scale{i}": jnp.ones(WIDTH) for i in (1, 2)}
        norms |= {f"shift{i}": jnp.zeros(WIDTH) for i in (1, 2)}
        matrices = {name: normal(*shape) for name, shape in SIZES.items()}
        return matrices | norms | {"bias": jnp.zeros(HIDDEN)}

    return {
        "embed": normal(ROWS, WIDTH) * ROWS**0.5,
        "positions": normal(LENGTH, WIDTH),
        "layers": [layer() for _ in range(layers)],
    }


if __name__ == "__main__":
    main()
