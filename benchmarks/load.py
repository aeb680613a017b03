"""How much memory and time loading a file takes, beside safetensors and NumPy.

    python -m benchmarks.load [--out DIR]

Fresh processes in turn, since a peak is a process's. Each starts JAX, loads one file to
JAX arrays that it keeps, and tells by how much its resident memory rose at most.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable

import jax
import numpy as np

from benchmarks import runner
from jaxcompress import quantize, storage

MEBIBYTE = 1 << 20
ROUNDS = 5
SIZES_MIB = {"one array": 400, "fifty shapes": 400, "int8": 100}


def load_ours(path: str):
    """`storage.load` of the safetensors file that `storage.save` wrote."""
    return storage.load(path)


def load_safetensors(path: str):
    """The reference package on the same file; it verifies no checksum."""
    from safetensors.flax import load_file

    return load_file(path)


def load_numpy(path: str):
    """`numpy.load` of the same arrays, and JAX arrays of them."""
    import jax.numpy as jnp

    with np.load(pathlib.Path(path).with_suffix(".npz")) as arrays:
        return {name: jnp.asarray(arrays[name]) for name in arrays}


LOADERS = {
    "jaxcompress": load_ours,
    "safetensors.flax": load_safetensors,
    "numpy": load_numpy,
}
"""Who reads dense files; a quantized one is ours alone."""


def dense(shapes: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Random float32 arrays by name."""
    draw = np.random.default_rng(0).standard_normal
    return {f"{i:02}": draw(shape, np.float32) for i, shape in enumerate(shapes)}


def trees() -> dict[str, Callable[[], dict]]:
    """What is saved, by name."""
    columns = 1024
    rows = MEBIBYTE // 4 // columns  # of one MiB of float32
    uneven = [8 * rows + 3 * (i - 24) for i in range(50)]
    return {
        "one array": lambda: dense([(SIZES_MIB["one array"] * rows, columns)]),
        "fifty shapes": lambda: dense([(n, columns) for n in uneven]),
        "int8": lambda: quantize.quantize(
            dense([(4 * rows, columns)] * SIZES_MIB["int8"]), quantize.int8()
        )[0],
    }


def one(loader: str, path: str) -> dict:
    """What one load costs this process; run in a fresh one."""
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    import time

    np.asarray(jax.jit(lambda x: x + 1)(jax.device_put(np.ones(3, np.float32))))
    LOADERS[loader](str(pathlib.Path(path).with_name("small.safetensors")))  # imports
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts afresh
    before, programs = status("VmRSS"), len(compiled)
    begin = time.perf_counter()
    loaded = jax.block_until_ready(LOADERS[loader](path))
    seconds = time.perf_counter() - begin
    peak = status("VmHWM") - before
    arrays = sum(leaf.on_device_size_in_bytes() for leaf in jax.tree.leaves(loaded))
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "array_bytes": arrays,
        "compilations": len(compiled) - programs,
    }


def status(field: str) -> int:
    """Bytes of a memory field of this process (Linux)."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise KeyError(field)


def measure(name: str) -> dict:
    """Medians over fresh processes that take turns, the file in the page cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.safetensors"
        tree = trees()[name]()
        file_bytes = storage.save(path, tree)
        small = {"x": np.arange(9, dtype=np.float32)}
        storage.save(path.with_name("small.safetensors"), small)
        np.savez(path.with_name("small.npz"), allow_pickle=False, **small)
        loaders = list(LOADERS)[:1] if name == "int8" else list(LOADERS)
        if len(loaders) > 1:
            np.savez(path.with_suffix(".npz"), allow_pickle=False, **tree)
        del tree
        runs = {loader: [] for loader in loaders}
        for _ in range(ROUNDS):
            for loader in loaders:
                runs[loader].append(in_a_fresh_process(loader, path))
    return {"file_bytes": file_bytes} | {
        loader: {key: statistics.median(run[key] for run in found) for key in found[0]}
        | {"peak_of_file": statistics.median(run["peak_bytes"] for run in found) / file_bytes}
        for loader, found in runs.items()
    }


def in_a_fresh_process(loader: str, path: pathlib.Path) -> dict:
    """What `one` gives there."""
    command = [sys.executable, "-m", "benchmarks.load", "--one", loader, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures what has no record yet and prints it."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--one", nargs=2, metavar=("LOADER", "FILE"))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one)))
        return
    for name in SIZES_MIB:
        settings = {"file": name, "mib": SIZES_MIB[name], "rounds": ROUNDS}
        found = runner.record(
            "load", lambda name=name: measure(name), settings=settings, seed=0, out=options.out
        )["figures"]
        print(f"{name}, {found['file_bytes']:,} bytes")
        for loader, figures in found.items():
            if isinstance(figures, dict):
                print(
                    f"  {loader:18s} peak {figures['peak_of_file']:.2f} of the file, "
                    f"{figures['seconds']:.3f} s, {figures['compilations']:.0f} compilations"
                )


if __name__ == "__main__":
    main()
