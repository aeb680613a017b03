"""The one way a benchmark runs: settings and a seed in, one JSON record out.

A benchmark is a module beside this one, run as `python -m benchmarks.NAME` from the
root of the repository. It says what to measure; this file says on what machine, runs
nothing twice, writes it down and sums it up.
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcompress.core.timing import Timing as Timing
from jaxcompress.core.timing import interleaved as interleaved
from jaxcompress.validate import mean_interval

RESULTS = pathlib.Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jaxcompress")


class Summary(NamedTuple):
    """A mean over seeds and what is known about it.

    Attributes:
      count: number of values.
      mean: their mean.
      standard_error: standard deviation / sqrt(count); 0 for one value.
      low: lower end of the 95 % interval of Student's t; the mean itself for one value.
      high: upper end.
    """

    count: int
    mean: float
    standard_error: float
    low: float
    high: float


def arguments(description: str) -> argparse.ArgumentParser:
    """The command line that every benchmark has; a benchmark adds its own options.

    `--data` is the folder of data sets (default: the variable `JAXCOMPRESS_DATA`, or
    none) and `--out` the folder of results.

    Example:
      >>> arguments("Times a layer.").parse_args(["--out", "elsewhere"]).out.name
      'elsewhere'
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data",
        default=os.environ.get("JAXCOMPRESS_DATA"),
        help="folder of data sets (default: $JAXCOMPRESS_DATA)",
        type=pathlib.Path,
    )
    parser.add_argument(
        "--out",
        default=RESULTS,
        help="folder of results (default: benchmarks/results)",
        type=pathlib.Path,
    )
    return parser


def environment() -> dict[str, Any]:
    """Versions, device, processor and cores: what figures depend on beside the code."""
    return {
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "device": jax.devices()[0].device_kind,
        "device_count": jax.device_count(),
        "cpu": cpu_model(),
        "cores": core_count(),
    }


def version(package: str) -> str | None:
    """The installed version of `package`, or None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's own name where the system tells it, else its architecture.

    Virtual machines hide names ("AMD EPYC"), so its numbers stand beside the name.
    """
    with contextlib.suppress(OSError):
        return (
            named_cpu(pathlib.Path("/proc/cpuinfo").read_text().splitlines()) or platform.machine()
        )
    return platform.processor() or platform.machine()


def named_cpu(cpuinfo: Sequence[str]) -> str:
    """The first processor of what Linux tells of them; empty where it has no name.

    Example:
      >>> lines = ["cpu family: 26", "model: 2", "model name: AMD EPYC"]
      >>> named_cpu(lines)
      'AMD EPYC (family 26, model 2)'
    """
    lines = [line.partition(":") for line in cpuinfo]
    fields = {label.strip(): value.strip() for label, _, value in reversed(lines)}
    numbers = [
        f"{title} {fields[label]}"
        for label, title in {"cpu family": "family", "model": "model"}.items()
        if label in fields
    ]
    name = fields.get("model name", "")
    return f"{name} ({', '.join(numbers)})" if name and numbers else name


def core_count() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def record(
    name: str,
    measure: Callable[[], Mapping[str, Any]],
    *,
    settings: Mapping[str, Any],
    seed: int,
    out: pathlib.Path = RESULTS,
) -> dict[str, Any]:
    """The record of one run, measured now unless the file already has it.

    A run is known by its settings and its seed. So a benchmark that was stopped goes on
    where it was, and one whose code changed starts afresh once its file is removed.
    Processes that measure different runs may share a file.

    Args:
      name: the benchmark; records go to `out / f"{name}.json"`.
      measure: returns the figures: numbers, strings, arrays, lists and dicts of them.
      settings: everything but the seed that the figures depend on, as JSON values.
      seed: the run's seed.
      out: folder of results, made where missing.

    Returns:
      `settings`, `seed`, `figures`, `wall_seconds` and the `environment` of that run.

    Raises:
      ValueError: a setting or a figure is NaN or infinite, which JSON cannot hold.
      TypeError: a setting or a figure has no form in JSON.
    """
    path = out / f"{name}.json"
    identity = json_text({"settings": settings, "seed": seed})
    for known in read(path):
        if json_text({"settings": known["settings"], "seed": known["seed"]}) == identity:
            return known
    begin = time.perf_counter()
    figures = measure()
    new = {
        "settings": settings,
        "seed": seed,
        "figures": figures,
        "wall_seconds": round(time.perf_counter() - begin, 3),
        "environment": environment(),
    }
    write(path, [*read(path), new])
    return json.loads(json_text(new))


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a results file; none where there is no file yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def write(path: pathlib.Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Replaces a results file whole: a reader sees the old records or the new."""
    text = json_text(records, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = pathlib.Path(folder) / path.name
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON with sorted keys, so equal values have equal text; arrays become lists."""
    return json.dumps(value, allow_nan=False, default=plain, indent=indent, sort_keys=True)


def plain(value: Any) -> Any:
    """Arrays, NumPy scalars and paths as JSON values."""
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    raise TypeError(f"{type(value).__name__} {value!r} has no form in JSON.")


def summary(values: Sequence[float]) -> Summary:
    """The mean over seeds with its standard error and 95 % interval.

        low, high = mean ∓ t(0.975, count - 1) · standard_error

    Args:
      values: one figure per seed, finite.

    Returns:
      A `Summary`. One value has no spread: its interval is the value itself.

    Raises:
      ValueError: there is no value, or one is not finite.

    Example:
      >>> summary([1.0, 2.0, 3.0])
      Summary(count=3, mean=2.0, standard_error=0.577, low=-0.484, high=4.484)
    """
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"summary(values={values}) takes one finite figure or more.")
    count, mean = len(values), statistics.fmean(values)
    if count == 1:
        return Summary(1, mean, 0.0, mean, mean)
    standard_error = statistics.stdev(values) / math.sqrt(count)
    return Summary(count, mean, standard_error, *mean_interval(np.asarray(values)))
