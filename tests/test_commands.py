"""Every command that the pages show is run, or says here why no test can run it."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest

from jaxcompress.cli.parser import parser
from tests import commands
from tests.commands import ROOT

BENCHMARKS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if "runner.arguments(" in path.read_text(encoding="utf-8") and path.stem != "runner"
)


def made(line: str) -> None:
    """What `make` would run: its recipes are there, and their commands can be read."""
    make = shutil.which("make") or pytest.skip("There is no make.")
    words = shlex.split(line.replace("…", "demo").replace("python3.12", sys.executable))[1:]
    environment = {name: text for name, text in os.environ.items() if name != "MAKEFLAGS"}
    printed = run([make, "--dry-run", "--no-print-directory", *words], environment=environment)
    for recipe in printed.replace("\\\n", " ").splitlines():
        command = shlex.split(recipe)
        if command[0] == ".venv/bin/jaxcompress":
            parser().parse_args(command[1:])
        for word in command:
            assert not word.startswith("tests/") or (ROOT / word).exists(), recipe


def run(command: list[str], *, environment=os.environ, cwd: pathlib.Path = ROOT) -> str:
    done = subprocess.run(
        command, capture_output=True, check=False, cwd=cwd, env=dict(environment), text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_python(line: str) -> None:
    """The command in a process of its own, by the interpreter of the tests."""
    run([sys.executable, *shlex.split(line)[1:]])


IN_THE_TESTS_OF_THE_DEMO = "run by tests/demo/test_run.py, on files that it writes"
ON_THE_PAGE = "run by tests/cli/test_page.py, which compares what is printed"
FROM_A_REGISTRY = "would install another version; `make wheel-test` installs the wheel of this one"

COMMANDS = {
    "make demo": made,
    "make test": made,
    "make lint": made,
    "make docs": made,
    "make examples-test": made,
    "make wheel-test": made,
    "make .venv/test.installed": made,
    "make PYTHON=python3.12 …": made,
    ".venv/bin/jaxcompress demo --data DIR --out OUT --linen": IN_THE_TESTS_OF_THE_DEMO,
    ".venv/bin/jaxcompress inspect OUT/int8.safetensors": IN_THE_TESTS_OF_THE_DEMO,
    "jaxcompress inspect digits.safetensors": "reads what the page's code saved; as above",
    "jaxcompress COMMAND": ON_THE_PAGE,
    "jaxcompress COMMAND --help": "run for every command by tests/cli/test_main.py",
    "jaxcompress --version": "run by tests/cli/test_main.py",
    "python -m jaxcompress": "run by tests/cli/test_main.py",
    "jaxcompress inspect int8.safetensors": ON_THE_PAGE,
    "jaxcompress inspect --sizes int8.safetensors": ON_THE_PAGE,
    "jaxcompress inspect other.safetensors": ON_THE_PAGE,
    "jaxcompress inspect --depth 2 other.safetensors": ON_THE_PAGE,
    'jaxcompress compare dense.safetensors int8.safetensors || echo "exit status $?"': ON_THE_PAGE,
    "jaxcompress compare --tolerance 0.01 dense.safetensors int8.safetensors": ON_THE_PAGE,
    "jaxcompress report .": ON_THE_PAGE,
    "jaxcompress report-environment": ON_THE_PAGE,
    "jaxcompress completion fish > ~/.config/fish/completions/jaxcompress.fish": (
        "the script is run by tests/cli/test_completion.py"
    ),
    "pip install jaxcompress": FROM_A_REGISTRY,
    "pip install 'jaxcompress[demo]'": FROM_A_REGISTRY,
    "pip install 'jaxcompress[flax]'": FROM_A_REGISTRY,
    "pip install 'jaxcompress[flax]' scikit-learn": FROM_A_REGISTRY,
    "pip install 'jaxcompress[equinox]'": FROM_A_REGISTRY,
    "pip install 'jaxcompress[haiku]'": FROM_A_REGISTRY,
    "jaxcompress inspect --sizes model.safetensors": "another file; the options are run as above",
    "XLA_FLAGS=--xla_force_host_platform_device_count=8 python train.py": (
        "names a program of the reader's"
    ),
    "pip install 'jaxcompress[privacy]'": FROM_A_REGISTRY,
    "pip install orbax-checkpoint": "comes with Flax, and is in the tests' environment",
    "export JAXCOMPRESS_DATA=/path/to/data": "names a folder of the reader's",
    ".venv/bin/python -m pytest -m slow": "would run itself",
    ".venv/bin/python -m benchmarks.NAME [--data DIR] [--out DIR]": (
        "run below for each name, which may take hours, as far as its options"
    ),
    ".venv/bin/python -m tests.pages PAGE": "what it writes is compared by tests/test_readme.py",
    ".venv/bin/python -m mkdocs serve": "serves until it is stopped",
    ".venv/bin/python -m benchmarks.records": "what it writes is compared: tests/test_findings.py",
    ".venv/bin/python -m tests.methods": "what it writes is compared by tests/test_methods.py",
    "python examples/gallery/int8_cnn.py": "run by tests/test_gallery.py",
    "python -m examples.gallery": "would run for minutes; tests/test_gallery.py runs each file",
    "python -m examples.gallery <name>": "writes a page, which tests/test_gallery.py compares",
    "python examples/prune_while_training.py": pytest.param(in_python, marks=pytest.mark.slow),
    "python -m benchmarks.race show": pytest.param(in_python, marks=pytest.mark.slow),
}


def test_the_table_holds_every_command_that_is_shown():
    assert {line for page in commands.PAGES for line in commands.shown(page)} == set(COMMANDS)


@pytest.mark.parametrize(
    ("line", "how"),
    [
        pytest.param(line, *how.values, marks=how.marks) if hasattr(how, "marks") else (line, how)
        for line, how in COMMANDS.items()
        if not isinstance(how, str)
    ],
)
def test_a_command_runs(line, how):
    how(line)


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_takes_the_options_that_are_shown(name, tmp_path):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--data", str(tmp_path), "--help"]
    assert "--out" in run(command)


@pytest.mark.slow
def test_a_benchmark_runs_as_shown(tmp_path):
    line = ".venv/bin/python -m benchmarks.NAME [--data DIR] [--out DIR]"
    words = commands.filled(
        line.replace("[", "").replace("]", ""), NAME="coupling_time", DIR=tmp_path
    )
    assert "scanned" in run([sys.executable, *words[1:]])
    assert (tmp_path / "coupling_time.json").exists()
