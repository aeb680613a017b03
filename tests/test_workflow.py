"""The workflow's steps work in what `make` builds, where uv is and where it is not."""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import tomllib

import pytest

from jaxcompress.cli.parser import parser
from jaxcompress.core.version import VERSION

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
    project = fields["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["flax"]]
    floors = dict(re.split(">=", each) for each in needed)
    pins = dict(re.findall(r"(\w+)==([\d.]+)", line))
    assert pins == {"jax": floors["jax"], "jaxlib": floors["jax"], "flax": floors["flax"]}


def test_the_environment_without_flax_loses_flax(dry_run):
    assert re.search(r"pip uninstall .*\bflax orbax-checkpoint$", dry_run[1]("without-flax")[-1])


RELEASE = ROOT / ".github" / "workflows" / "release.yml"


def parsed(path: pathlib.Path) -> dict:
    """A file of YAML 1.1, where the key `on` is a truth value."""
    return pytest.importorskip("yaml").safe_load(path.read_text(encoding="utf-8"))


def test_only_the_step_that_publishes_may_prove_who_it_is():
    workflow = parsed(RELEASE)
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    assert workflow["permissions"] == {}
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert build["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"id-token": "write"}
    assert (publish["needs"], publish["environment"]) == ("build", "release")
    # What runs with that right is no code of the repository.
    assert not any("run" in step or "checkout" in step["uses"] for step in publish["steps"])
    text = RELEASE.read_text(encoding="utf-8")
    assert "secrets." not in text
    assert text.index("twine check --strict") < text.index("upload-artifact")


@pytest.mark.parametrize(("tag", "status"), [("v{}", 0), ("{}", 1), ("v{}.1", 1), ("v9.9.9", 1)])
def test_a_tag_that_names_another_version_builds_nothing(tag, status):
    steps = parsed(RELEASE)["jobs"]["build"]["steps"]
    [step] = (step for step in steps if "tag" in step.get("name", ""))
    bash = shutil.which("bash") or pytest.skip("There is no bash.")
    environment = os.environ | {"GITHUB_REF_NAME": tag.format(VERSION)}
    done = subprocess.run([bash, "-e", "-c", step["run"]], check=False, cwd=ROOT, env=environment)
    assert done.returncode == status


def test_the_citation_names_this_version():
    citation = parsed(ROOT / "CITATION.cff")
    assert citation["version"] == VERSION
    fields = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["license"] == fields["license"]
    assert citation["repository-code"] == fields["urls"]["Source"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert citation["title"] in readme
    assert citation["authors"] == [{"name": "The jaxcompress authors"}]
    assert fields["urls"]["Source"] in readme


def test_hooks_before_a_commit_run_what_is_there():
    [repo] = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        command, *words = hook["entry"].split()
        assert command in (".venv/bin/ruff", ".venv/bin/pyright", ".venv/bin/python")
        if words[0] == "-m":
            assert (ROOT / f"{words[1].replace('.', '/')}.py").exists()
        assert hook.get("pass_filenames", True) == (words[0] != "-m")
        assert any(re.search(hook.get("files", ""), name) for name in TRACKED), hook["id"]


TRACKED = ["jaxcompress/cli/parser.py", "docs/pruning.md", "benchmarks/results/demo.json"]


def test_the_form_for_bugs_asks_for_the_environment():
    forms = {path.stem: parsed(path) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")}
    assert set(forms) == {"bug", "feature", "config"}
    for name in ("bug", "feature"):
        assert {"name", "description", "body"} <= set(forms[name])
        ids = [field["id"] for field in forms[name]["body"]]
        assert len(set(ids)) == len(ids)
        for field in forms[name]["body"]:
            assert field["type"] == "textarea"
            assert field["attributes"]["label"]
    [asked] = (field for field in forms["bug"]["body"] if field["id"] == "environment")
    assert "`jaxcompress report-environment`" in asked["attributes"]["description"]
    assert asked["validations"] == {"required": True}
    parser().parse_args(["report-environment"])
