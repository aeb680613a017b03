"""Writing: the old file or the new one, in the right place, with the right mode."""

import concurrent.futures
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.storage import load, save
from jaxcompress.storage.container import disk, safetensors
from tests.storage.bits import assert_same_bits

TREE = {"x": np.arange(3, dtype=np.float32)}
OTHER = {"x": jnp.zeros(4)}
WRITERS = {
    "save": lambda path: save(path, TREE),
    "safetensors.write": lambda path: safetensors.write(path, TREE),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def umask():
    previous = os.umask(0o027)
    yield
    os.umask(previous)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o400, 0o755])
def test_an_existing_file_keeps_its_mode(path, umask, mode):
    path.write_bytes(b"before")
    path.chmod(mode)
    save(path, TREE)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert_same_bits(load(path), TREE)


def test_a_new_file_follows_the_umask(path, umask):
    save(path, TREE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nobody_else_reads_a_private_file_while_it_is_written(path, umask):
    path.write_bytes(b"before")
    path.chmod(0o600)
    with disk.replacing("save", str(path)) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_existing_file_keeps_its_owner(path):
    path.write_bytes(b"before")
    os.chown(path, 1234, 4321)
    save(path, TREE)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_a_symbolic_link_leads_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "versions").mkdir()
    target = tmp_path / "versions" / "1"
    (tmp_path / "latest").symlink_to(pathlib.Path("versions", "1"))
    (tmp_path / "model").symlink_to("latest")
    for tree in (OTHER, TREE):  # the target is not there yet, then it is
        save(tmp_path / "model", tree)
        assert (tmp_path / "model").is_symlink()
        assert not target.is_symlink()
        assert_same_bits(load(target), tree)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["1", "latest", "model", "versions"]


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        save(tmp_path / "a", TREE)


def _socket(path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(path))  # an absolute name may be too long


NO_FILES = {
    "directory": pathlib.Path.mkdir,
    "FIFO": os.mkfifo,
    "socket": _socket,
    "character device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("kind", "made"), NO_FILES.items(), ids=NO_FILES)
def test_what_is_no_file_is_never_replaced(path, kind, made, writer, monkeypatch):
    monkeypatch.chdir(path.parent)
    made(path)
    before = path.stat()
    with pytest.raises(ValueError, match=rf"^{writer}\('.*'\): the path is a {kind}. Pass"):
        WRITERS[writer](path)
    assert path.stat() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_missing_is_named(tmp_path):
    message = r"save\('.*none/model'\): there is no folder .*none\. Create it first"
    with pytest.raises(FileNotFoundError, match=message):
        save(tmp_path / "none" / "model", TREE | {"y": "what is found only after the path"})


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "名" * 85], ids=["n", "é", "名"])
def test_names_may_be_as_long_as_the_file_system_takes(tmp_path, name):
    save(tmp_path / name, TREE)
    assert [file.name for file in tmp_path.iterdir()] == [name]


WRITER = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("disk", {disk.__file__!r})
disk = importlib.util.module_from_spec(spec)
spec.loader.exec_module(disk)
with disk.replacing("save", sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
    file.write(b" and half")
"""


def started_writer(path) -> subprocess.Popen:
    """A process that has begun to write, and ends when its input does."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout
    assert writer.stdout.readline() == b"writing\n"
    return writer


def test_only_what_dead_writers_left_is_removed(tmp_path, path):
    save(path, OTHER)
    alive = started_writer(tmp_path / "alive")
    killed = {number: started_writer(path) for number in (signal.SIGTERM, signal.SIGKILL)}
    for number, writer in killed.items():
        writer.send_signal(number)
        writer.communicate()
        assert writer.returncode == -number
    assert_same_bits(load(path), OTHER)
    temporaries = set(tmp_path.iterdir()) - {path}
    assert len(temporaries) == 3
    alike = [
        next(iter(temporaries)).with_suffix(".txt"),
        tmp_path / f".jaxcompress-00000000-{'0' * 16}.tmp",
        tmp_path / f"{disk._PREFIX}{'0' * 16}.tmp",
    ]
    alike[0].touch()
    alike[1].touch()
    alike[2].mkdir()
    save(tmp_path / "new", TREE)
    left = set(tmp_path.iterdir())
    assert left >= {path, tmp_path / "new", *alike}
    assert len(left & temporaries) == 1
    alive.communicate()
    assert alive.returncode == 0
    assert (tmp_path / "alive").read_bytes() == b"half and half"
    assert not left & temporaries & set(tmp_path.iterdir())


def test_a_file_that_another_writer_removed_before_it_was_locked_is_made_again(
    path, tmp_path, monkeypatch
):
    lock, removed = disk._lock, []

    def too_late(file):
        if not removed:
            removed.extend(tmp_path.iterdir())
            disk._remove_abandoned(tmp_path)
            assert not list(tmp_path.iterdir())
        lock(file)

    monkeypatch.setattr(disk, "_lock", too_late)
    save(path, TREE)
    assert len(removed) == 1
    assert list(tmp_path.iterdir()) == [path]
    assert_same_bits(load(path), TREE)


def test_racing_writers_leave_one_whole_file(path, tmp_path):
    trees = [{"x": np.full(2000 + i, i, np.float32)} for i in range(4)]
    save(path, trees[0])

    def rewrite(tree) -> None:
        for _ in range(10):
            save(path, tree)
            loaded = load(path)["x"]
            assert loaded.shape == (2000 + int(loaded[0]),)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(rewrite, trees))
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(path, tmp_path):
    resource = pytest.importorskip("resource")
    save(path, OTHER)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(path, {"x": np.arange(30_000, dtype=np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert_same_bits(load(path), OTHER)
