"""`docs/command-line.md` shows what the commands print."""

import contextlib
import doctest
import io
import re
import shlex

import pytest

from jaxcompress import cli
from tests.cli.test_completion import NAMES
from tests.commands import ROOT

PAGE = ROOT / "docs" / "command-line.md"
BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STATUS = '|| echo "exit status $?"'
SHOWN = doctest.OutputChecker()


def printed(line: str) -> str:
    """What a command prints, as a shell shows it."""
    words, or_else, _ = line.partition(STATUS)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        status = cli.main(shlex.split(words)[1:])
    assert bool(status) == bool(or_else), line
    return out.getvalue() + f"exit status {status}\n" * bool(status)


def test_the_page_shows_what_is_printed(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    namespace, got, compared = {}, "", 0
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "python":
            exec(text, namespace)
        if kind == "sh":
            got = "".join(map(printed, text.splitlines()))
        if kind == "text":
            assert SHOWN.check_output(text, got, doctest.ELLIPSIS), got
            compared += 1
    assert compared >= 6


def test_the_page_names_every_command_in_its_table():
    rows = re.findall(r"^\| `([\w-]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) == NAMES
