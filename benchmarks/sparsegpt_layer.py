"""What SparseGPT costs on one layer: to compile and to run, beside NumPy.

The same algorithm in plain NumPy, float32, gives the time to compare and the result
that masks and weights must have. Solvers that take longer for less error run once.
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

SIZES, SPARSITY, BLOCK_SIZE, DAMPING = (256, 512, 1024), 0.5, 128, 0.01


def main() -> None:
    """Measures each size and pattern once and prints what was found."""
    options = runner.arguments(__doc__ or "").parse_args()
    jax.block_until_ready(jnp.linalg.cholesky(jnp.eye(8)))  # The backend is up.
    for size in SIZES:
        for pattern in PATTERNS:
            settings = {"size": size, "pattern": pattern, "block_size": BLOCK_SIZE}
            run = runner.record(
                "sparsegpt_layer",
                functools.partial(measure, size, pattern),
                settings=settings,
                seed=0,
                out=options.out,
            )
            print(settings, run["figures"])


def measure(size: int, name: str) -> dict[str, Any]:
    """Seconds of both, and how their results differ, for a (size, size) layer."""
    pattern, choose = PATTERNS[name]
    weight, second_moment = layer(size)
    arrays = jnp.asarray(weight), jnp.asarray(second_moment)
    solver = jc.prune.solvers.sparsegpt(pattern=pattern, block_size=BLOCK_SIZE, damping=DAMPING)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    compiled = jax.jit(solver, static_argnums=2).lower(*arrays, SPARSITY).compile()
    compile_seconds = time.perf_counter() - begin
    compile_cpu_seconds = time.process_time() - begin_cpu
    timings = runner.interleaved(
        {
            "numpy": lambda: by_numpy(weight, second_moment, choose),
            "jaxcompress": lambda: compiled(*arrays),
        },
        repeats=5,
        warmup=1,
    )
    found, keep = map(np.asarray, compiled(*arrays))
    expected, kept = by_numpy(weight, second_moment, choose)
    alike = np.all(keep == kept, axis=1)  # An output with another mask has other weights.
    whole = rise(weight, 0.0, second_moment)
    return {name: timing._asdict() for name, timing in timings.items()} | {
        "compile_seconds": compile_seconds,
        "compile_cpu_seconds": compile_cpu_seconds,
        "differing_mask_entries": int(np.sum(keep != kept)),
        "outputs_of_equal_masks": int(np.sum(alike)),
        "largest_weight_difference_there": np.max(np.abs(found - expected)[alike])
        / np.max(np.abs(expected)),
        "error": rise(weight, found, second_moment) / whole,
        "error_of_numpy": rise(weight, expected, second_moment) / whole,
        "error_of_magnitude": rise(weight, by_size(weight, choose), second_moment) / whole,
        "refitted": once(jc.prune.solvers.refitted(solver), weight, second_moment),
        "least_squares": once(
            jc.prune.solvers.least_squares(pattern=pattern, damping=DAMPING), weight, second_moment
        ),
    }


def once(
    solver: jc.prune.solvers.SparsitySolver, weight: np.ndarray, second_moment: np.ndarray
) -> dict[str, float]:
    """Seconds of one run, compiled before, and the error that is left."""
    solve = jax.jit(solver, static_argnums=2)
    solve(weight, second_moment, SPARSITY)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    found, _ = jax.block_until_ready(solve(weight, second_moment, SPARSITY))
    return {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - begin_cpu,
        "error": rise(weight, np.asarray(found), second_moment) / rise(weight, 0.0, second_moment),
    }


def layer(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and the second moment of 2 · size inputs of energies 1, 1 / 2, 1 / 3."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((size, size)) / size**0.5
    basis, _ = np.linalg.qr(random.standard_normal((size, size)))
    inputs = random.standard_normal((2 * size, size)) / np.arange(1, size + 1) ** 0.5 @ basis
    second_moment = inputs.T @ inputs / len(inputs)
    return weight.astype(np.float32), second_moment.astype(np.float32)


def by_numpy(
    weight: np.ndarray, second_moment: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1 of arXiv:2301.00774 in float32, written as the paper has it."""
    weight = weight.copy()
    size = len(second_moment)
    damped = second_moment + DAMPING * np.mean(np.diag(second_moment)) * np.eye(
        size, dtype=np.float32
    )
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    keep = np.ones(weight.shape, bool)
    for begin in range(0, size, BLOCK_SIZE):
        end = min(begin + BLOCK_SIZE, size)
        block = weight[:, begin:end]
        own = factor[begin:end, begin:end]
        keep[:, begin:end] = ~choose(np.square(block / np.diag(own)))
        errors = np.zeros_like(block)
        for j in range(end - begin):
            stays = keep[:, begin + j]
            errors[:, j] = np.where(stays, 0, block[:, j]) / own[j, j]
            block[:, j:] -= np.outer(errors[:, j], own[j, j:])
            block[~stays, j] = 0
        weight[:, end:] -= errors @ factor[begin:end, end:]
    return weight, keep


def lowest_of_all(scores: np.ndarray) -> np.ndarray:
    """Marks the lowest half of a block."""
    gone = np.zeros(scores.size, bool)
    gone[np.argpartition(scores.ravel(), scores.size // 2)[: scores.size // 2]] = True
    return gone.reshape(scores.shape)


def lowest_of_runs(scores: np.ndarray) -> np.ndarray:
    """Marks the lowest two of every run of four."""
    runs = scores.reshape(len(scores), -1, 4)
    return (np.argsort(np.argsort(runs, axis=-1), axis=-1) < 2).reshape(scores.shape)


def by_size(weight: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The weights without the smallest, as they were."""
    return np.where(choose(np.square(weight)), 0, weight)


def rise(weight: np.ndarray, changed: np.ndarray | float, second_moment: np.ndarray) -> float:
    """E[|(W - W') x|²]."""
    error = (weight - changed).astype(np.float64)
    return float(np.sum((error @ second_moment) * error))


PATTERNS = {
    "unstructured": (jc.prune.patterns.unstructured, lowest_of_all),
    "2:4": (jc.prune.patterns.n_of_m(2, 4), lowest_of_runs),
}


if __name__ == "__main__":
    main()
