"""`report-environment`: what a report of a bug should say."""

import importlib.metadata
import json
import os
import platform

import jax
import pytest

import jaxcompress as jc
from jaxcompress import cli
from jaxcompress.cli import environment


def test_it_tells_versions_and_devices(capsys):
    assert cli.main(["report-environment", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["jaxcompress"] == jc.__version__
    assert told["python"].startswith(platform.python_version())
    for name in ("jax", "jaxlib", "optax", "numpy"):
        assert told[name] == importlib.metadata.version(name)
    assert told["devices"] == ["cpu (cpu)"] * jax.device_count()
    assert told["processor"]
    assert told["cores"] == os.cpu_count()
    assert cli.main(["report-environment"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(told)
    assert f"{jax.device_count()} × cpu (cpu)" in " ".join(lines)


def test_what_is_not_there_is_said(monkeypatch, capsys):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    def no_backend():
        raise RuntimeError("Unable to initialize backend 'tpu'.\nMore.")

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setattr(jax, "devices", no_backend)
    assert cli.main(["report-environment", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["flax"] == "not installed"
    assert told["devices"] == ["none: Unable to initialize backend 'tpu'."]


@pytest.mark.parametrize("name", environment.SETTINGS)
def test_settings_that_change_programs_are_told(name, monkeypatch, capsys):
    monkeypatch.setenv(name, "a value")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cli.main(["report-environment"]) == 0
    text = capsys.readouterr().out
    assert f"{name}" in text
    assert "a value" in text
    assert "somebody" not in text
