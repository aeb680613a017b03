"""What GPTQ costs on one layer: to compile and to run, beside qwix on the same cores.

4 bits in groups of 128. Both see the same second moment in one process, in turns, each
time compiled anew. Without qwix (`pip install qwix`) only our own figures.
"""

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcompress as jc
from benchmarks import runner
from benchmarks.sparsegpt_layer import layer, rise
from jaxcompress.core.formats.integers import Integers
from jaxcompress.quantize.rounding import gptq, nearest, orders

SIZE, GROUP, COLUMNS = 768, 128, (128, 256, 512, 768)
TURNS = ("jaxcompress", "qwix", "jaxcompress")
"""Who is measured after whom; qwix once, since it compiles for minutes."""
SPEC = jc.quantize.int4(group_size=GROUP)


def main() -> None:
    """Measures compilation, options and both implementations; prints the figures."""
    options = runner.arguments(__doc__ or "").parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    jax.block_until_ready(jnp.linalg.cholesky(jnp.eye(8)))  # The backend is up.
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "compilation": compilation,
        "options": options_of,
        "levels of qwix": on_its_levels,
    }
    if importlib.util.find_spec("qwix") is not None:
        measures["beside qwix"] = beside_qwix
    for name, measure in measures.items():
        settings = {"measured": name, "size": SIZE, "group_size": GROUP, "bits": SPEC.bits}
        run = runner.record("gptq_layer", measure, settings=settings, seed=0, out=options.out)
        print(settings, run["figures"])


def compilation() -> dict[str, Any]:
    """Seconds to compile a layer of 768 outputs, by its inputs."""
    found: dict[str, Any] = {}
    for inputs in COLUMNS:
        square = jax.ShapeDtypeStruct((inputs, inputs), jnp.float32)
        weight = jax.ShapeDtypeStruct((SIZE, inputs), jnp.float32)
        compile_it = partial(compiled_for, gptq().solver(SPEC).solve, weight, square)
        found[str(inputs)] = seconds(compile_it)[1]
    return found


def options_of() -> dict[str, Any]:
    """Errors as shares of the outputs' energy, and seconds of a run, of options.

    Here inputs differ in size, as they do behind a norm: by a normal exponent.
    """
    weight, second_moment = layer(SIZE)
    sizes = np.exp(np.random.default_rng(1).normal(size=SIZE)).astype(np.float32)
    second_moment = second_moment * sizes * sizes[:, None]
    chosen = {orders.natural: (0, 1), orders.by_energy: (0, 1, 4), orders.min_pivot: (0, 1)}
    roundings = {"nearest": nearest()} | {
        f"{order.__name__}, sweeps={sweeps}": gptq(order=order, sweeps=sweeps)
        for order, counts in chosen.items()
        for sweeps in counts
    }
    found = {}
    for name, rounding in roundings.items():
        run = compiled(rounding, weight, second_moment)
        run()
        rounded, times = seconds(run)
        found[name] = {"error": share(weight, rounded, second_moment)} | times
    return found


def on_its_levels() -> dict[str, Any]:
    """The error on the 16 levels that qwix gives int4, where ours has 15.

    From -8 to 7, in steps of the largest weight of a group / 7.5.
    """
    weight, second_moment = layer(SIZE)
    levels = jc.QuantSpec(Integers(4, -8, 7, symmetric=True), SPEC.sharing)

    def ranges(spec, axis):
        whole = jc.quantize.ranges.min_max(jc.quantize.int4(), axis)

        def read(state):
            end = whole.read(state).high / 7.5
            return jc.observers.Range(-8 * end, 7 * end)

        return whole._replace(read=read)

    rounded = compiled(gptq(ranges=ranges), weight, second_moment, levels)()
    return {"error": share(weight, rounded, second_moment)}


def beside_qwix() -> dict[str, Any]:
    """Seconds of compilation and a run of both, and their errors; in turns."""
    weight, second_moment = layer(SIZE)
    made = {"jaxcompress": partial(compiled, gptq()), "qwix": compiled_qwix}
    found: dict[str, Any] = {name: {"first": [], "again": []} for name in made}
    for name in TURNS:
        make = made[name]
        run, first = seconds(lambda make=make: warm(make(weight, second_moment)))
        rounded, again = seconds(run)
        found[name]["first"].append(first)
        found[name]["again"].append(again)
        found[name]["error"] = share(weight, rounded, second_moment)
    least = {name: best(each["first"]) for name, each in found.items()}
    return found | {
        "qwix_version": runner.version("qwix"),
        "times_as_fast": {
            clock: least["qwix"][clock] / least["jaxcompress"][clock]
            for clock in ("seconds", "cpu_seconds")
        },
    }


def compiled_for(program: Callable, *shapes: jax.ShapeDtypeStruct) -> Any:
    """The compiled program."""
    return jax.jit(program).lower(*shapes).compile()


def warm(run: Callable) -> Callable:
    """The same program, run once."""
    run()
    return run


def best(times: list[dict[str, float]]) -> dict[str, float]:
    """The least of each clock."""
    return {clock: min(each[clock] for each in times) for clock in times[0]}


def compiled(
    rounding, weight: np.ndarray, second_moment: np.ndarray, spec: jc.QuantSpec = SPEC
) -> Callable:
    """A run of the compiled rounding, giving the weights that codes stand for."""
    solver = rounding.solver(spec)

    def rounded(weight, second_moment):
        return solver.weight(solver.solve(weight, second_moment))

    arrays = jnp.asarray(weight), jnp.asarray(second_moment)
    program = jax.jit(rounded).lower(*arrays).compile()
    return lambda: program(*arrays)


def compiled_qwix(weight: np.ndarray, second_moment: np.ndarray) -> Callable:
    """As `compiled`, of qwix's."""
    from qwix._src.core import qarray  # pyright: ignore[reportMissingImports]: the peer
    from qwix.contrib import gptq_core  # pyright: ignore[reportMissingImports]: the peer

    how = qarray.HowToQuantize(
        qtype=jnp.int4,
        channelwise_axes=(0,),
        tiled_axes={1: GROUP},
        calibration_method="absmax",
    )

    def rounded(weight, second_moment):
        return qarray.dequantize(gptq_core.quantize_weight(weight, second_moment, how)[0])

    arrays = jnp.asarray(weight), jnp.asarray(second_moment)
    program = jax.jit(rounded).lower(*arrays).compile()
    return lambda: program(*arrays)


def seconds(call: Callable) -> tuple[Any, dict[str, float]]:
    """What a call gives, and its seconds: on the clock and of the processor."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    found = call()
    if not callable(found):
        found = jax.block_until_ready(found)
    taken = time.perf_counter() - begin, time.process_time() - begin_cpu
    return found, {"seconds": taken[0], "cpu_seconds": taken[1]}


def share(weight: np.ndarray, rounded, second_moment: np.ndarray) -> float:
    """The undamped error of the outputs, as a share of their energy."""
    return rise(weight, np.asarray(rounded), second_moment) / rise(weight, 0.0, second_moment)


if __name__ == "__main__":
    main()
