"""What people install works: the wheel, in a fresh environment, off the checkout."""

import email
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

from jaxcompress.core.version import VERSION

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
    assert run(installed / "jaxcompress", "--version", cwd=tmp_path) == f"jaxcompress {VERSION}\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> pathlib.Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("source")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.tar.gz")
    return built


def test_what_a_registry_shows_can_be_read(wheel, source, tmp_path):
    pytest.importorskip("twine")
    # Without it the check passes whatever the page holds.
    assert importlib.import_module("readme_renderer.markdown").variants
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, source, cwd=tmp_path)


def test_the_wheel_says_what_it_needs_and_where_to_read_on(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (place,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(place))
    assert metadata["Version"] == VERSION
    urls = dict(each.split(", ") for each in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith("https://") for url in urls.values())
    needed = metadata.get_all("Requires-Dist", [])
    plain = {re.split(r"[^\w-]", each)[0] for each in needed if "extra ==" not in each}
    assert plain == {"jax", "optax", "numpy", "scipy", "ml-dtypes", "rich"}
    assert {"flax", "equinox", "haiku", "demo"} <= set(metadata.get_all("Provides-Extra", []))
    assert "jaxcompress/py.typed" in names
    assert "tests/smoke.py" not in names


def test_the_source_has_the_pages_the_examples_and_the_tests(source):
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "mkdocs.yml"):
        assert name in names
    for pattern in ("docs/**/*.md", "examples/**/*.py", "tests/**/*.py", "jaxcompress/**/*.py"):
        tracked = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}
        assert tracked
        assert tracked <= names
    assert not any(name.startswith((".venv", "site/", ".git/")) for name in names)
