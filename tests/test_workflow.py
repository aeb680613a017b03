"""The workflow's steps work in what `make` builds, where uv is and where it is not."""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = sorted(
    {
        target
        for path in WORKFLOWS
        for target in re.findall(r"\bmake ([\w./-]+)", path.read_text(encoding="utf-8"))
    }
)


@pytest.fixture(params=["uv", "pip"])
def dry_run(request, tmp_path):
    """What `make` would run where uv is there, and where it is not."""
    make = shutil.which("make") or pytest.skip("There is no make.")
    stub = tmp_path / "uv"
    stub.write_text(f"#!/bin/sh\nexit {int(request.param == 'pip')}\n")
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    environment = {name: text for name, text in os.environ.items() if name != "MAKEFLAGS"}
    environment["PATH"] = f"{tmp_path}{os.pathsep}{environment['PATH']}"

    def commands(target: str) -> list[str]:
        done = subprocess.run(
            # Everything is made anew, whatever this checkout has already.
            [make, "--dry-run", "--no-print-directory", "--always-make", target],
            capture_output=True,
            check=True,
            cwd=ROOT,
            env=environment,
            text=True,
        )
        return done.stdout.splitlines()

    return request.param, commands


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_of_the_workflow_uses_one_installer(dry_run, target):
    installer, commands = dry_run
    lines = "\n".join(commands(target))
    assert ("uv pip install" in lines) == (installer == "uv")
    assert ("-m pip" in lines) == (installer == "pip")
    assert ("uv venv" in lines) == (installer == "uv")


def test_no_step_calls_pip_in_the_environment_itself():
    for path in WORKFLOWS:
        assert not re.search(r"\.venv/bin/(python -m )?pip", path.read_text(encoding="utf-8"))


def test_the_oldest_versions_are_the_floors(dry_run):
    line = dry_run[1]("oldest")[-1]
    fields = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = dict(re.split(">=", each) for each in fields["project"]["dependencies"])
    pins = dict(re.findall(r"(\w+)==([\d.]+)", line))
    assert pins == {"jax": floors["jax"], "jaxlib": floors["jax"], "flax": floors["flax"]}


def test_the_environment_without_flax_loses_flax(dry_run):
    assert re.search(r"pip uninstall .*\bflax orbax-checkpoint$", dry_run[1]("without-flax")[-1])
