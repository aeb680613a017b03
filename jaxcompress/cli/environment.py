"""`jaxcompress report-environment`, for the forms of issues."""

import argparse
import importlib.metadata
import os
import pathlib
import platform
from typing import Any

from jaxcompress.cli import answers
from jaxcompress.core.version import VERSION

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "ml_dtypes")
SETTINGS = ("JAX_PLATFORMS", "JAX_ENABLE_X64", "XLA_FLAGS")
"""Variables of the environment that change what programs compute."""


def add(commands: Any) -> None:
    """Adds the command."""
    answers.add(
        commands,
        report_environment,
        "versions, devices and processor, for a report of a bug",
        "jaxcompress report-environment",
    )


def report_environment(options: argparse.Namespace) -> answers.Answer:
    """Says what a bug may depend on; of the variables of the shell only `SETTINGS`."""
    del options
    record = {
        "jaxcompress": VERSION,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        **{name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "devices": _devices(),
        **{name: os.environ[name] for name in SETTINGS if name in os.environ},
    }
    width = max(map(len, record))
    lines = [f"{name:{width}}  {_shown(value)}" for name, value in record.items()]
    return answers.Answer("\n".join(lines), record)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def _devices() -> list[str]:
    """Kind and platform of each device, or why there is none."""
    import jax

    try:
        return [f"{device.device_kind} ({device.platform})" for device in jax.devices()]
    except RuntimeError as error:
        return [f"none: {str(error).splitlines()[0]}"]


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    counts = {each: value.count(each) for each in value}
    return ", ".join(f"{count} × {each}" for each, count in counts.items())
