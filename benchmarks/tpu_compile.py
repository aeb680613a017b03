"""How long a TPU's compiler takes over every method, and what memory its programs need.

    python -m benchmarks.tpu_compile [--only optimizer: kernel:] [--out DIR]
    python -m benchmarks.tpu_compile --show

It needs no TPU, only its compiler: `pip install "jax[tpu]"`. Programs are those of
`tpu_programs`, compiled for one core of a v5e that is described, not there.
"""

import functools
import importlib.util
import os
import pathlib
import time
from typing import Any

import jax
from jax.experimental import topologies

from benchmarks import runner
from benchmarks.tpu_programs import PROGRAMS, Program

TARGET = "v5e:2x2"
MOST_SECONDS = 30.0
"""What a program may take to compile, in seconds of a processor."""

SLOW = {"solver: refitted": 60.0, "solver: least_squares": 60.0, "solver: corrected": 60.0}
"""Programs that take longer, by name, with the most that they may take: triangular
solves of a thousand rows are unrolled."""


def missing() -> str:
    """Why nothing can be compiled here; empty where the compiler is installed."""
    if importlib.util.find_spec("libtpu") is None:
        return 'there is no compiler for TPUs here: pip install "jax[tpu]"'
    return ""


@functools.cache
def core() -> jax.sharding.Sharding:
    """One core of the described TPU."""
    described = {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    for name, value in described.items():
        os.environ.setdefault(name, value)
    found = topologies.get_topology_desc(topology_name=TARGET, platform="tpu")
    return jax.sharding.SingleDeviceSharding(found.devices[0])


def measure(program: Program) -> dict[str, Any]:
    """Seconds of one compilation and the bytes of the program."""
    where = core()
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), program.shapes
    )
    lowered = jax.jit(program.function).trace(*shapes).lower(lowering_platforms=("tpu",))
    begin, begin_cpu = time.perf_counter(), time.process_time()
    compiled = lowered.compile()
    seconds = {
        "compile_seconds": time.perf_counter() - begin,
        "compile_cpu_seconds": time.process_time() - begin_cpu,
    }
    memory: Any = compiled.memory_analysis()
    return seconds | {
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
    }


def recorded(name: str, out: pathlib.Path) -> dict[str, Any]:
    """The figures of one program, from the file or anew."""
    return runner.record(
        "tpu_compile",
        lambda: {"libtpu": runner.version("libtpu")} | measure(PROGRAMS[name]()),
        settings={"program": name, "target": TARGET},
        seed=0,
        out=out,
    )["figures"]


def show(out: pathlib.Path) -> None:
    """Prints what is on record, the slowest first."""
    records = runner.read(out / "tpu_compile.json")
    for record in sorted(records, key=lambda record: -record["figures"]["compile_cpu_seconds"]):
        print_row(record["settings"]["program"], record["figures"])


def print_row(name: str, figures: dict[str, Any]) -> None:
    """One line: seconds, and MB of arguments, temporaries and code."""
    sizes = [figures[f"{kind}_bytes"] / 1e6 for kind in ("argument", "temporary", "code")]
    print(f"{name:36}{figures['compile_seconds']:8.1f} s", *(f"{size:9.2f}" for size in sizes))


def main() -> None:
    """Compiles what is not on record yet and prints it."""
    parser = runner.arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", default=[""], help="how names begin (default: all)")
    parser.add_argument("--show", action="store_true", help="only print what is on record")
    options = parser.parse_args()
    if options.show:
        show(options.out)
        return
    if missing():
        raise SystemExit(missing())
    # Once, so that no program's time has the compiler's own start.
    measure(Program(jax.numpy.negative, (jax.ShapeDtypeStruct((8, 128), "float32"),)))
    for name in PROGRAMS:
        if name.startswith(tuple(options.only)):
            print_row(name, recorded(name, options.out))


if __name__ == "__main__":
    main()
