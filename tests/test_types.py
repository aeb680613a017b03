"""What type checkers of users know of the package, and what editors show of it."""

import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import jaxcompress
from tests.core.test_exports import MODULES

PACKAGE = pathlib.Path(jaxcompress.__file__).parent
LEAST_COMPLETE = 0.985
"""Share of public names whose type pyright knows without guessing."""


@pytest.mark.slow
def test_types_of_public_names_are_known(tmp_path):
    scripts = pathlib.Path(sys.executable).parent
    pyright = shutil.which("pyright", path=scripts) or pytest.skip("The extra `dev` is missing.")
    done = subprocess.run(
        [pyright, "--verifytypes", "jaxcompress", "--ignoreexternal", "--outputjson"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=os.environ
        | {
            "PATH": os.pathsep.join([str(scripts), os.environ["PATH"]]),
            # What is installed may be another checkout.
            "PYTHONPATH": str(PACKAGE.parent),
        },
        text=True,
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    assert pathlib.Path(found["moduleRootDirectory"]) == PACKAGE
    unknown = [
        f"{each['name']}: {problem['message']}"
        for each in found["symbols"]
        if each["isExported"] and not each["isTypeKnown"]
        for problem in each["diagnostics"]
    ]
    assert found["completenessScore"] >= LEAST_COMPLETE, "\n".join(unknown)


def test_the_package_says_that_it_has_types():
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("name", MODULES)
def test_what_is_shown_on_hovering_stands_alone(name):
    module = MODULES[name]
    members = {member: getattr(module, member) for member in dir(module)}
    shown = {
        member: value
        for member, value in members.items()
        if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value)
    }
    for member, value in {"": module, **shown}.items():
        # That of a base class does not say what a class is.
        own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        summary = (own or "").strip().partition("\n\n")[0]
        assert summary, f"{name}.{member}"
        first = summary.splitlines()[0]
        # A class without words of its own has its signature there.
        assert first.endswith((".", ":", "`")), f"{name}.{member}: {first}"
        assert not first.startswith(f"{member}("), f"{name}.{member}: {first}"


@pytest.mark.parametrize("name", MODULES)
def test_verbs_stand_before_types(name):
    names = getattr(MODULES[name], "__all__", [])
    kinds = [each[0].isupper() for each in names]
    assert kinds == sorted(kinds)
