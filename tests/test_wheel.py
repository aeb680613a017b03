"""What people install works: the wheel, in a fresh environment, off the checkout."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

ROOT = pathlib.Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def run(*command: str | pathlib.Path, cwd: pathlib.Path) -> str:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        command, capture_output=True, check=False, cwd=cwd, env=environment, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> pathlib.Path:
    """The scripts of an environment with the wheel, which borrows other packages.

    They are borrowed through a `.pth` file; one that lies beside them, such as an
    editable install's, is not read from there, so the checkout stays out of sight.
    """
    pytest.importorskip("ensurepip")
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / pathlib.Path(sys.executable).name
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=environment)
    (packages,) = environment.rglob("site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return scripts


def test_the_wheel_works_away_from_the_checkout(installed, tmp_path):
    script = shutil.copy(ROOT / "tests" / "smoke.py", tmp_path)
    python = installed / pathlib.Path(sys.executable).name
    printed = run(python, "-W", "error", script, tmp_path, cwd=tmp_path)
    assert str(installed.parent) in printed


def test_the_command_is_installed(installed, tmp_path):
    assert "demo" in run(installed / "jaxcompress", "--help", cwd=tmp_path)
