"""Leaves are worked on ahead, a few at a time, and come in their order."""

import io
import os
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from jaxcompress.storage import FileError, load, save, size
from jaxcompress.storage.container import ahead, disk
from tests.inputs import QTENSORS
from tests.storage.bits import assert_same_bits
from tests.storage.costs import traced

MEBIBYTE = 1 << 20


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(ahead, "threads", lambda: request.param)
    return request.param


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(ahead, "threads", lambda: 3)


def identity(item):
    return item


def test_results_come_in_order(threads):
    def finish(i: int) -> int:
        time.sleep(0.001 * (i % 3))
        return i * i

    found = ahead.results(range(20), identity, finish, lambda _: MEBIBYTE)
    assert list(found) == [i * i for i in range(20)]


def test_several_threads_work_and_one_begins(three):
    meeting, begun = threading.Barrier(3, timeout=10), set()

    def begin(item: int) -> int:
        begun.add(threading.current_thread())
        return item

    def finish(item: int) -> int:
        meeting.wait()  # until three work at once
        return item

    assert list(ahead.results(range(6), begin, finish, lambda _: MEBIBYTE)) == [*range(6)]
    assert begun == {threading.current_thread()}


@pytest.mark.parametrize(("size_bytes", "most"), [(MEBIBYTE, 4), (ahead.WINDOW_BYTES, 2)])
def test_few_items_are_in_memory(three, size_bytes, most):
    alive, peak = set(), []

    def begin(item: int) -> int:
        alive.add(item)
        peak.append(len(alive))
        return item

    for item in ahead.results(range(20), begin, identity, lambda _: size_bytes):
        alive.discard(item - 1)  # until now the caller may have held the one before
    # Those that are worked on, and the one that the caller has.
    assert max(peak) <= most + 1


def test_small_items_start_no_thread(three):
    found = ahead.results(range(9), identity, lambda _: threading.current_thread(), lambda _: 9)
    assert set(found) == {threading.current_thread()}


def test_an_error_comes_in_its_turn_and_ends_the_work(three):
    begun = []

    def begin(item: int) -> int:
        begun.append(item)
        return item

    def finish(item: int) -> int:
        if item >= 2:
            raise ValueError(f"item {item}")
        return item

    found = ahead.results(range(99), begin, finish, lambda _: MEBIBYTE)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="item 2"):
        next(found)
    assert len(begun) < 9


def tree() -> dict:
    random = np.random.default_rng(0)
    found = {f"{i}": random.standard_normal((40 + i, 2048), np.float32) for i in range(9)}
    found["pruned"] = np.where(random.random((512, 512)) < 0.9, 0, 1).astype(np.float32)
    return jax.device_put(found) | {"codes": QTENSORS["uint4 groups"](), "steps": 3}


def test_the_bytes_are_those_of_one_thread(tmp_path, monkeypatch):
    contents = []
    for count in (1, 2, 5):
        monkeypatch.setattr(ahead, "threads", lambda count=count: count)
        size_bytes = save(tmp_path / "file", tree())
        contents.append((tmp_path / "file").read_bytes())
        assert size_bytes == len(contents[-1]) == size(tree()).disk
        assert_same_bits(load(tmp_path / "file"), tree())
    assert contents[0] == contents[1] == contents[2]


def test_an_altered_leaf_is_named_by_several_threads(tmp_path, three):
    save(tmp_path / "file", tree())
    content = bytearray((tmp_path / "file").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileError, match=r"^load\('.*'\): the checksum of leaf '.' does not match"):
        load(tmp_path / "file")


def test_a_leaf_that_cannot_be_stored_is_named_by_several_threads(tmp_path, three):
    with pytest.raises(TypeError, match=r"save\(tree\): leaf '4' is of type str"):
        save(tmp_path / "file", tree() | {"4": "text", "7": len})


def test_a_device_that_was_chosen_gets_the_arrays(tmp_path, three):
    save(tmp_path / "file", tree())
    last = jax.devices()[-1]
    with jax.default_device(last):
        assert load(tmp_path / "file")["0"].device == last


def test_saving_takes_memory_for_the_leaves_at_hand(tmp_path, three):
    random = np.random.default_rng(0)
    mask = random.random((MEBIBYTE,)) < 0.1
    pruned = {f"{i:02}": np.where(mask, i + 1, 0).astype(np.int32) for i in range(24)}
    with traced() as memory:
        save(tmp_path / "file", pruned)
    # Each leaf has 4 MiB, of which one is a mask of truth values while it is coded.
    assert memory.peak < 4 * 4 * MEBIBYTE
    assert_same_bits(load(tmp_path / "file"), pruned)


AT_THE_END = """
import atexit, sys
import numpy as np
from jaxcompress.storage import load, save
tree = {name: np.arange(2**18, dtype=np.float32) + 1 for name in "abc"}
atexit.register(lambda: (save(sys.argv[1], tree), load(sys.argv[1])))
"""


def test_a_tree_is_saved_when_python_ends(tmp_path):
    command = [sys.executable, "-c", AT_THE_END, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert load(tmp_path / "file").keys() == {*"abc"}


def test_what_takes_long_shows_a_bar_on_a_terminal(tmp_path, monkeypatch, three):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    opened = Terminal()
    monkeypatch.setattr(sys, "stderr", opened)
    monkeypatch.setenv("TERM", "xterm")
    save(tmp_path / "file", tree())
    load(tmp_path / "file")
    times = iter(range(0, 10**6, 2))
    monkeypatch.setattr("jaxcompress.core.progress.time.monotonic", lambda: next(times))
    save(tmp_path / "file", tree())
    assert "saving file" in opened.getvalue()
    load(tmp_path / "file")
    assert "loading file" in opened.getvalue()


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="opens folders as POSIX does")
def test_the_disk_has_the_file_before_its_name_and_then_the_folder(tmp_path, monkeypatch):
    events = []

    def synced(descriptor, fsync=os.fsync):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def replaced(source, target, replace=os.replace):
        events.append("name")
        replace(source, target)

    monkeypatch.setattr(disk.os, "fsync", synced)
    monkeypatch.setattr(disk.os, "replace", replaced)
    save(tmp_path / "file", {"x": np.ones(3)})
    assert events == ["file", "name", "folder"]
