"""What type checkers of users know of the package, and what editors show of it."""

import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import jaxcompress
from tests.core.test_exports import MODULES

PACKAGE = pathlib.Path(jaxcompress.__file__).parent
LEAST_COMPLETE = 0.985
"""Share of public names whose type pyright knows without guessing."""


@pytest.mark.slow
def test_types_of_public_names_are_known(tmp_path):
    found = pyright(tmp_path, "--verifytypes", "jaxcompress", "--ignoreexternal")
    found = found["typeCompleteness"]
    assert pathlib.Path(found["moduleRootDirectory"]) == PACKAGE
    unknown = [
        f"{each['name']}: {problem['message']}"
        for each in found["symbols"]
        if each["isExported"] and not each["isTypeKnown"]
        for problem in each["diagnostics"]
    ]
    assert found["completenessScore"] >= LEAST_COMPLETE, "\n".join(unknown)


@pytest.mark.slow
def test_code_that_uses_public_names_is_clean_in_strict_mode(tmp_path):
    (tmp_path / "user.py").write_text("\n".join(["# pyright: strict", *uses()]))
    found = pyright(tmp_path, "user.py")["generalDiagnostics"]
    # Names that are only written down are used for nothing, as strict mode says.
    idle = {"reportUnusedExpression", "reportUnusedImport", "reportUnusedFunction"}
    assert [each["message"] for each in found if each["rule"] not in idle] == []
    assert found, "Strict mode was off."


def uses() -> Iterator[str]:
    """Lines that name everything public, and all attributes of its classes."""
    yield "from typing import Any"
    classes = []
    for name, module in MODULES.items():
        yield f"import {name}"
        for member in getattr(module, "__all__", []):
            yield f"{name}.{member}"
            value = getattr(module, member)
            if inspect.isclass(value) and not typing.is_typeddict(value):
                classes.append((f"{name}.{member}", value))
    for number, (name, value) in enumerate(classes):
        generic = "[Any]" if getattr(value, "__parameters__", ()) else ""
        yield f"def _{number}(value: {name}{generic}) -> None:"
        public = [attribute for attribute in dir(value) if not attribute.startswith("_")]
        yield from (f"    value.{attribute}" for attribute in public or ["__class__"])


def pyright(folder: pathlib.Path, *arguments: str) -> dict[str, Any]:
    """What pyright reports when it runs in a folder, as JSON."""
    scripts = pathlib.Path(sys.executable).parent
    command = shutil.which("pyright", path=scripts) or pytest.skip("The extra `dev` is missing.")
    done = subprocess.run(
        [command, *arguments, "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        check=False,
        cwd=folder,
        env=os.environ
        | {
            "PATH": os.pathsep.join([str(scripts), os.environ["PATH"]]),
            # What is installed may be another checkout.
            "PYTHONPATH": str(PACKAGE.parent),
        },
        text=True,
    )
    return json.loads(done.stdout)


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
