"""Completion scripts: made from the parser, run in the shells that are there."""

import pathlib
import shlex
import shutil
import subprocess

import pytest

from jaxcompress import cli
from jaxcompress.cli.completion import described
from jaxcompress.cli.parser import parser

TOP, COMMANDS = described(parser())
NAMES = {command.name for command in COMMANDS}
FLAGS = {command.name: {f for each in command.options for f in each.flags} for command in COMMANDS}


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request) -> str:
    return request.param


@pytest.fixture
def script(shell, tmp_path, capsys) -> pathlib.Path:
    assert cli.main(["completion", shell]) == 0
    path = tmp_path / f"completion.{shell}"
    path.write_text(capsys.readouterr().out)
    return path


def run(shell: str, program: str) -> list[str]:
    """The lines that a program of a shell prints, which reads no settings of a user."""
    found = shutil.which(shell) or pytest.skip(f"There is no {shell}.")
    plain = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [found, *plain, "-c", program], capture_output=True, check=False, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_parser_is_described():
    assert {"demo", "inspect", "compare", "report", "report-environment", "completion"} == NAMES
    assert "--tolerance" in FLAGS["compare"]
    assert {flag for option in TOP for flag in option.flags} == {"-h", "--help", "--version"}


def test_every_command_and_option_occurs(shell, script):
    text = script.read_text()
    for command in COMMANDS:
        assert command.name in text
        for flag in FLAGS[command.name]:
            assert (f" {flag.replace('--', '-l ')}" if shell == "fish" else flag) in text.replace(
                "-s h", " -h"
            )


def test_the_shell_can_read_it(shell, script):
    run(shell, f"{'autoload -U compinit; compinit -D;' * (shell == 'zsh')} source {script}")


def bash(script: pathlib.Path, *words: str) -> list[str]:
    """What bash would offer for the last word, which may be empty."""
    line = " ".join(map(shlex.quote, words))
    return run(
        "bash",
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _jaxcompress; "
        'printf "%s\\n" "${COMPREPLY[@]}"',
    )


@pytest.mark.parametrize("shell", ["bash"], indirect=True)
def test_bash_offers_what_may_be_typed(script):
    assert set(bash(script, "jaxcompress", "")) == NAMES
    assert bash(script, "jaxcompress", "rep") == ["report", "report-environment"]
    assert bash(script, "jaxcompress", "--v") == ["--version"]
    for name, flags in FLAGS.items():
        assert set(bash(script, "jaxcompress", name, "-")) == flags
    assert bash(script, "jaxcompress", "compare", "a", "b", "--to") == ["--tolerance"]
    assert bash(script, "jaxcompress", "completion", "") == ["bash", "zsh", "fish"]
    # Paths are bash's own: the function offers nothing in their place.
    assert bash(script, "jaxcompress", "inspect", "") == [""]
    assert bash(script, "jaxcompress", "demo", "--out", "de") == [""]
    assert bash(script, "jaxcompress", "demo", "--seed", "") == [""]


@pytest.mark.parametrize("shell", ["bash"], indirect=True)
def test_bash_knows_whose_completion_it_is(script):
    [line] = run("bash", f"source {script}; complete -p jaxcompress")
    assert line == "complete -o bashdefault -o default -F _jaxcompress jaxcompress"


@pytest.mark.parametrize("shell", ["zsh"], indirect=True)
def test_zsh_knows_whose_completion_it_is(script):
    program = f"autoload -U compinit; compinit -D; source {script}; print $_comps[jaxcompress]"
    assert run("zsh", program) == ["_jaxcompress"]


@pytest.mark.parametrize("shell", ["fish"], indirect=True)
def test_fish_offers_what_may_be_typed(script):
    def offered(line: str) -> set[str]:
        lines = run("fish", f"source {script}; complete -C {shlex.quote(line)}")
        return {each.partition("\t")[0] for each in lines}

    assert offered("jaxcompress ") == NAMES
    assert offered("jaxcompress completion ") == {"bash", "zsh", "fish"}
    assert FLAGS["compare"] <= offered("jaxcompress compare -")
