"""A bridge whose framework is not installed names what to install."""

import json
import pathlib
import subprocess
import sys

import pytest

from jaxcompress.bridges.absent import absent

BRIDGES = {"nnx": "flax", "linen": "flax", "haiku": "haiku", "equinox": "equinox"}
WAYS = (
    "import jaxcompress.bridges.{}",
    "from jaxcompress.bridges import {}",
    "import jaxcompress as jc; jc.bridges.{}",
)
PROGRAM = f"""
import json, sys
sys.modules.update(dict.fromkeys(("flax", "haiku", "equinox")))
found = []
for line in {[way.format(bridge) for bridge in BRIDGES for way in WAYS]}:
    try:
        exec(line)
    except ModuleNotFoundError as error:
        found.append((str(error), error.name))
print(json.dumps(found))
"""


def test_each_way_to_import_a_bridge_names_the_extra():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        check=True,
        cwd=pathlib.Path(__file__).parent.parent,
        text=True,
    )
    expected = [
        [f"bridges.{bridge} needs {extra.capitalize()}: pip install 'jaxcompress[{extra}]'.", extra]
        for bridge, extra in BRIDGES.items()
        for _ in WAYS
    ]
    assert json.loads(done.stdout) == expected


def test_another_missing_module_is_not_taken_for_the_framework():
    error = ModuleNotFoundError("No module named 'msgpack'", name="msgpack")
    assert absent("nnx", "flax", error) is error


def test_the_demo_names_the_extra(monkeypatch, tmp_path, capsys):
    """Where Flax is missing, before anything is trained."""
    pytest.importorskip("sklearn")
    import importlib.util

    from jaxcompress import cli

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "flax" else found(name)
    )
    assert cli.main(["demo", "--out", str(tmp_path / "out")]) == 1
    assert "network needs flax: pip install 'jaxcompress[demo]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
