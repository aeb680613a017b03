"""What solvers leave as error of a layer's outputs, at what sparsity and in what time.

    python -m benchmarks.solver_errors [--seeds 0 1 2]

A layer of random weights on inputs of unequal energies that go together, twice as many
rows as inputs; errors are shares of the outputs' energy, on these rows and on as many
others. Seconds are the processor's, of one run once it is compiled.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from jaxcompress.core.types import Array

SEEDS, OUTPUTS, INPUTS = (0, 1, 2), 256, 512
TWO_OF_FOUR, ANYWHERE = jc.prune.patterns.n_of_m(2, 4), jc.prune.patterns.unstructured
CASES = {
    "50 %": (ANYWHERE, 128, 0.5),
    "70 %": (ANYWHERE, 128, 0.7),
    "90 %": (ANYWHERE, 128, 0.9),
    "2:4": (TWO_OF_FOUR, 4, 0.5),
}
"""Pattern, block size of SparseGPT, sparsity."""


def solvers(case: str) -> dict[str, jc.prune.solvers.SparsitySolver]:
    """The solvers of a case."""
    pattern, block_size, _ = CASES[case]
    one_pass = jc.prune.solvers.sparsegpt(pattern=pattern, block_size=block_size)
    return {
        "sparsegpt": one_pass,
        "sparsegpt, refitted": jc.prune.solvers.refitted(one_pass),
        "least squares": jc.prune.solvers.least_squares(pattern=pattern),
        "alps": jc.prune.solvers.alps(pattern=pattern),
    }


@functools.cache
def compiled(case: str, name: str) -> Any:
    """A solver's program, and the seconds that it took to compile."""
    shapes = [jax.ShapeDtypeStruct((rows, INPUTS), jnp.float32) for rows in (OUTPUTS, INPUTS)]
    begin = time.process_time()
    program = jax.jit(solvers(case)[name], static_argnums=2).lower(*shapes, CASES[case][2])
    return program.compile(), time.process_time() - begin


def layer(seed: int) -> tuple[Array, Array, Array]:
    """Weights, and the second moments of calibration and of held-out inputs."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((INPUTS, INPUTS)) / INPUTS**0.5
    mixed *= np.exp(-3 * np.arange(INPUTS) / INPUTS)[:, None]
    x = random.standard_normal((4 * INPUTS, INPUTS)) @ (0.3 * np.eye(INPUTS) + mixed)
    weight = random.standard_normal((OUTPUTS, INPUTS))
    moments = [half.T @ half / len(half) for half in (x[: 2 * INPUTS], x[2 * INPUTS :])]
    return single(weight), single(moments[0]), single(moments[1])


def single(x: np.ndarray) -> Array:
    """The array in float32."""
    return jnp.asarray(x, jnp.float32)


def energy(weight: Array, moment: Array) -> float:
    """E[|W x|²]."""
    rows, between = np.asarray(weight, np.float64), np.asarray(moment, np.float64)
    return float(np.sum((rows @ between) * rows))


def measure(seed: int) -> dict[str, Any]:
    """Errors and seconds of all solvers in all cases."""
    weight, seen, held_out = layer(seed)
    figures: dict[str, Any] = {}
    for case in CASES:
        for name in solvers(case):
            program, compile_seconds = compiled(case, name)
            begin = time.process_time()
            found, _ = jax.block_until_ready(program(weight, seen))
            figures[f"{name}, {case}"] = {
                "cpu_seconds": time.process_time() - begin,
                "compile_cpu_seconds": compile_seconds,
                "error": energy(weight - found, seen) / energy(weight, seen),
                "held_out": energy(weight - found, held_out) / energy(weight, held_out),
            }
    return figures


def main() -> None:
    """Measures each seed once and prints means over all."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    settings = {"outputs": OUTPUTS, "inputs": INPUTS, "rows": 2 * INPUTS}
    records = [
        runner.record(
            "solver_errors",
            functools.partial(measure, seed),
            settings=settings,
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]
    for name in records[0]["figures"]:
        row = [record["figures"][name] for record in records]
        means = {key: runner.summary([each[key] for each in row]).mean for key in row[0]}
        print(f"{name:28}", *(f"{key} {mean:.4f}" for key, mean in means.items()))


if __name__ == "__main__":
    main()
