"""The whole command line: its version, help, exit status and what goes wrong."""

import argparse
import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jax.numpy as jnp
import pytest

import jaxcompress as jc
from jaxcompress import cli
from jaxcompress.cli import failures
from jaxcompress.cli.parser import parser

ROOT = pathlib.Path(__file__).parent.parent.parent
LIGHT = [["--version"], ["--help"], ["completion", "bash"], ["inspect", "--help"]]


def commands() -> dict[str, argparse.ArgumentParser]:
    [found] = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_what_needs_no_model_does_not_load_jax(words):
    program = (
        "import sys\nfrom jaxcompress.cli import main\n"
        f"try:\n    status = main({words})\nexcept SystemExit as end:\n    status = end.code\n"
        "print(status, *sorted({'jax', 'numpy', 'optax', 'flax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT, text=True
    )
    assert done.stdout.splitlines()[-1] == "0"


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"jaxcompress {jc.__version__}\n"


@pytest.mark.parametrize("name", ["", *commands()])
def test_help_has_an_example_that_can_be_parsed(name, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main([name, "--help"] if name else ["--help"])
    told = capsys.readouterr().out
    line = told.partition("example:\n")[2].strip()
    assert line.removeprefix('eval "$(').startswith(f"jaxcompress {name}".rstrip())
    words = line.removeprefix('eval "$(').removesuffix(')"').split()
    assert callable(parser().parse_args(words[1:]).command)


def test_every_command_gives_json():
    for each in commands().values():
        assert "--json" in each._option_string_actions


@pytest.mark.parametrize(
    "words", [[], ["inspct"], ["inspect"], ["compare", "one"], ["inspect", "a", "--sise"]]
)
def test_a_wrong_command_line_ends_with_2(words, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(words)
    assert "usage: jaxcompress" in capsys.readouterr().err


FILE_COMMANDS = [["inspect"], ["inspect", "--sizes"], ["compare", "{model}"]]


@pytest.fixture
def model(tmp_path) -> pathlib.Path:
    path = tmp_path / "model.safetensors"
    jc.storage.save(path, {"kernel": jnp.ones((4, 4))})
    return path


def refused(words: list[str], capsys) -> str:
    """The one line that a command that fails says, and that it says nothing else."""
    assert cli.main(words) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("jaxcompress: ")
    assert told.err.count("\n") == 1
    assert "Errno" not in told.err
    return told.err


@pytest.mark.parametrize("command", FILE_COMMANDS, ids=" ".join)
def test_a_missing_file_is_named(command, model, tmp_path, capsys):
    words = [word.format(model=model) for word in command]
    missing = str(tmp_path / "missing")
    assert f"there is no {missing!r}. Check the path." in refused([*words, missing], capsys)


@pytest.mark.parametrize("command", FILE_COMMANDS, ids=" ".join)
def test_a_folder_for_a_file_is_named(command, model, tmp_path, capsys):
    words = [word.format(model=model) for word in command]
    told = refused([*words, str(tmp_path)], capsys)
    assert "is a folder, a pipe or a device. Pass the path of a file." in told


@pytest.mark.parametrize("command", FILE_COMMANDS, ids=" ".join)
@pytest.mark.parametrize("content", [b"", b"hello, hello", b"{}", b'{"weight_map": 1}', b"\x80{"])
def test_what_is_no_model_is_named(command, content, model, tmp_path, capsys):
    words = [word.format(model=model) for word in command]
    path = tmp_path / "other"
    path.write_bytes(content)
    assert str(path) in refused([*words, str(path)], capsys)


@pytest.fixture
def everyones():
    """A folder that every user may enter, which those of pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


@contextlib.contextmanager
def as_nobody():
    """As a user who owns nothing, where this one may read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_a_damaged_file_is_told_by_the_command(command, model, tmp_path, capsys):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(model.read_bytes()[:-1])
    told = refused([command, *[str(damaged)] * (1 + (command == "compare"))], capsys)
    assert told.startswith(f"jaxcompress: {command}({str(damaged)!r})")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users are told apart otherwise here")
@pytest.mark.parametrize("command", FILE_COMMANDS, ids=" ".join)
def test_a_file_that_may_not_be_read_is_named(command, model, capsys, everyones):
    other, path = everyones / "other", everyones / "mine"
    words = [word.format(model=other) for word in command]
    for copy in (other, path):
        copy.write_bytes(model.read_bytes())
        copy.chmod(0o644)
    assert cli.main([*words, str(path)]) == 0  # loads what is loaded late
    capsys.readouterr()
    path.chmod(0)
    with as_nobody():
        told = refused([*words, str(path)], capsys)
    assert f"{str(path)!r} may not be read or written by this user" in told


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users are told apart otherwise here")
def test_a_folder_that_may_not_be_written_is_named(model, capsys, everyones):
    copy = everyones / "copy.safetensors"
    copy.write_bytes(model.read_bytes())
    copy.chmod(0o644)
    assert cli.main(["report", str(everyones), "--out", str(everyones / "page.html")]) == 0
    capsys.readouterr()
    place = everyones / "place"
    place.mkdir()
    place.chmod(0o555)
    with as_nobody():
        told = refused(["report", str(everyones), "--out", str(place / "page.html")], capsys)
    assert f"{str(place)!r} may not be read or written by this user" in told
    assert not list(place.iterdir())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), "there is no 'a'. Check the path."),
        (IsADirectoryError(errno.EISDIR, "", "a"), "'a' is a folder. Name a file."),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "'a': No space left on device."),
        (NotADirectoryError(errno.ENOTDIR, "", "a/b"), "a part of 'a/b' is a file where"),
        (FileExistsError(errno.EEXIST, "", "a"), "'a' exists already."),
        (OSError("the disk is full"), "the disk is full"),
        (ValueError("no"), "no"),
    ],
)
def test_errors_are_sentences(error, told):
    assert failures.sentence(error).startswith(told)


def test_a_reader_that_stops_early_is_told_nothing(model):
    reading = f"{sys.executable} -m jaxcompress inspect {model} | true; echo ${{PIPESTATUS[0]}}"
    bash = shutil.which("bash") or pytest.skip("There is no bash.")
    done = subprocess.run(
        [bash, "-c", reading], capture_output=True, check=True, cwd=ROOT, text=True
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
