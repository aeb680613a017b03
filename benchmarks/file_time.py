"""How long saving, sizing, loading and describing a tree of 90 MiB takes, and took.

    python -m benchmarks.file_time [--before CHECKOUT] [--out DIR]

Fresh processes of this code and of an older checkout take turns; files are in the page
cache, and `save` waits for the disk.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TURNS = 3
ROUNDS = 3
TREES = ("dense", "pruned", "int4")
VERBS = ("save", "size", "load", "describe")


def tree(name: str):
    """30 matrices of 512 × 1536: as they are, nine of ten weights 0, or in 4 bits."""
    import jax
    import numpy as np

    from jaxcompress import quantize

    random = np.random.default_rng(0)
    dense = {f"{i:02}": random.standard_normal((512, 1536), np.float32) for i in range(30)}
    if name == "pruned":
        dense = {key: np.where(random.random(x.shape) < 0.9, 0, x) for key, x in dense.items()}
    params = jax.device_put({key: x.astype(np.float32) for key, x in dense.items()})
    return quantize.quantize(params, quantize.int4())[0] if name == "int4" else params


def one(name: str) -> dict[str, float | int]:
    """Median seconds of each verb in this process, by the package that it imports."""
    import jax

    from jaxcompress import storage

    params = jax.block_until_ready(tree(name))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.safetensors"
        calls = {
            "save": lambda: storage.save(path, params),
            "size": lambda: storage.size(params),
            "load": lambda: jax.block_until_ready(storage.load(path)),
            "describe": lambda: storage.describe(path),
        }
        storage.size({"a": params["00"]})
        seconds = {verb: [] for verb in VERBS}
        for _ in range(ROUNDS):
            for verb, call in calls.items():
                begin = time.perf_counter()
                call()
                seconds[verb].append(time.perf_counter() - begin)
        file_bytes = os.path.getsize(path)
    medians = {verb: statistics.median(found) for verb, found in seconds.items()}
    return {"file_bytes": file_bytes, **medians}


def measure(name: str, checkouts: dict[str, pathlib.Path]) -> dict:
    """Medians over processes that take turns."""
    runs = {label: [] for label in checkouts}
    for _ in range(TURNS):
        for label, checkout in checkouts.items():
            command = [sys.executable, __file__, "--one", name]
            environment = os.environ | {"PYTHONPATH": str(checkout)}
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            runs[label].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        label: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for label, found in runs.items()
    }


def main() -> None:
    """Measures what has no record yet and prints it."""
    if "--one" in sys.argv:
        print(json.dumps(one(sys.argv[-1])))
        return
    from benchmarks import runner

    parser: argparse.ArgumentParser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=pathlib.Path, help="an older checkout to time as well")
    options = parser.parse_args()
    here = pathlib.Path(__file__).parent.parent
    checkouts = {"after": here} | ({"before": options.before} if options.before else {})
    for name in TREES:
        settings = {"tree": name, "mib": 90, "rounds": ROUNDS, "turns": TURNS}
        found = runner.record(
            "file_time",
            lambda name=name: measure(name, checkouts),
            settings=settings,
            seed=0,
            out=options.out,
        )["figures"]
        for label, figures in found.items():
            times = ", ".join(f"{verb} {figures[verb]:.3f} s" for verb in VERBS)
            print(f"{name:8s}{label:8s}{figures['file_bytes']:>12,} bytes: {times}")


if __name__ == "__main__":
    main()
