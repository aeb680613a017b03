"""Reads mutated files in a process of its own, under limits of memory and time.

    python -m tests.storage.fuzzing.campaign FIRST COUNT FOLDER TRACED

Every file is described, loaded, opened and read by leaf; what is accepted is checked,
saved and loaded again.
The process writes which file it reads, so that one that dies is known by its seed.
"""

import collections
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import numpy as np

from jaxcompress import storage
from jaxcompress.core.leaf import logical
from jaxcompress.core.names import named_leaves
from jaxcompress.storage import FileError, describe, load, load_leaf, load_removal, save
from jaxcompress.storage.container.errors import LONGEST_MESSAGE
from jaxcompress.storage.container.limits import HEADER_WEIGHT, leaf_bytes
from tests.storage import costs
from tests.storage.bits import assert_same_bits
from tests.storage.fuzzing.corpus import CORPUS
from tests.storage.fuzzing.files import File, put_together, taken_apart
from tests.storage.fuzzing.mutations import chosen, mutated, scarred
from tests.storage.fuzzing.soundness import check_tree

CONSTANT = 8 << 20
"""Bytes that reading may take beside four times the file and what was accepted."""

LONGEST_SECONDS = 1.0
"""Of processor time for one file."""

HANG_SECONDS = 60
MORE_MEMORY = 256 << 20
"""Of address space, beside what the process has before the first file."""


@functools.cache
def sound_files() -> list[File]:
    return [taken_apart(row.content()) for row in CORPUS]


def content(seed: int) -> bytes:
    """The mutated file of a seed."""
    random = np.random.default_rng(seed)
    files = sound_files()
    file = mutated(random, chosen(random, files))
    return put_together(file, functools.partial(scarred, random))


def outcome(path: pathlib.Path) -> tuple[str, int]:
    """How the doors answer to a file, and the bytes that what they gave counts for.

    Raises:
      AssertionError: they disagree, or a message is too long.
      Exception: whatever else a door raises.
    """
    described, report = answer(describe, path)
    if report is not None:
        str(report)
    loaded, tree = answer(load, path)
    if "Pass a template as like=" in loaded:
        assert report is not None
        return "needs a template", 0
    assert (described == "accepted") == (loaded == "accepted"), (described, loaded)
    removals, removed = answer(load_removal, path)
    assert loaded != "accepted" or removals == "accepted", (removals, loaded)
    names = [leaf.name for leaf in report.leaves] if report is not None else ["x"]
    for name in names[:1]:
        one, _ = answer(load_leaf, path, name)
        assert loaded != "accepted" or one == "accepted", (loaded, one)
    lazily, _ = answer(opened_leaves, path)
    assert loaded != "accepted" or lazily == "accepted", (loaded, lazily)
    # Of an open file each leaf counts alone.
    assert lazily != "accepted" or loaded == "accepted" or "max_bytes" in loaded, loaded
    if loaded != "accepted" or report is None:
        return "refused", 0
    check_tree(tree, report)
    assert report.removals == removed
    again = path.with_name("again")
    save(again, tree, removal=removed)
    assert_same_bits(load(again), tree)
    assert load_removal(again) == removed
    return "accepted", sum(map(leaf_bytes, logical_parts(tree)))


def opened_leaves(path: pathlib.Path) -> dict[str, Any]:
    with storage.open(path) as opened:
        assert len(repr(opened).splitlines()) >= 4
        return dict(opened)


def logical_parts(tree) -> list:
    return [
        leaf if hasattr(leaf, "shape") else logical(leaf) for leaf in named_leaves(tree).values()
    ]


def answer(door, path: pathlib.Path, *arguments) -> tuple[str, Any]:
    """What a door says to a file: "accepted", or its error."""
    try:
        return "accepted", door(path, *arguments)
    except KeyError:
        return "no such leaf", None
    except FileError as error:
        text = str(error)
        assert len(text) - len(str(path)) <= LONGEST_MESSAGE, len(text)
        assert text.isprintable(), text
        return text, None


def measured(path: pathlib.Path, seed: int, traced: int) -> dict[str, Any]:
    """The outcome of one file, with its time and the memory of every `traced`-th.

    Memory is traced in a second reading: tracing takes six times as long as reading.
    """
    path.write_bytes(content(seed))
    header, size = int.from_bytes(path.read_bytes()[:8], "little"), path.stat().st_size
    with costs.measured() as taken:
        kind, accepted, fault = answered(path)
    peak = peak_memory(path) if seed % traced == 0 else 0
    bound = CONSTANT + 4 * (size + accepted + HEADER_WEIGHT * header)
    if not fault and taken.seconds > LONGEST_SECONDS:
        kind, fault = "failed", f"took {taken.seconds:.1f} s"
    if not fault and peak > bound:
        kind, fault = "failed", f"took {peak} bytes of {bound}"
    return {"kind": kind, "fault": fault, "seconds": taken.seconds, "peak": peak / bound}


def answered(path: pathlib.Path) -> tuple[str, int, str]:
    """The outcome of a file, the bytes it counts for, and what is wrong with it."""
    try:
        return *outcome(path), ""
    except Exception as error:
        return "failed", 0, f"{type(error).__name__}: {error}"[:300]


def peak_memory(path: pathlib.Path) -> int:
    """The most bytes that reading a file takes."""
    with costs.traced() as memory:
        answered(path)
    return memory.peak


def summed(results: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Counts, extremes and what failed, of results by seed."""
    slowest = max(results, key=lambda seed: results[seed]["seconds"])
    largest = max(results, key=lambda seed: results[seed]["peak"])
    return {
        "outcomes": dict(collections.Counter(each["kind"] for each in results.values())),
        "slowest_seconds": round(results[slowest]["seconds"], 3),
        "slowest_seed": slowest,
        "largest_share_of_bound": round(results[largest]["peak"], 4),
        "largest_seed": largest,
        "failed": {str(seed): each["fault"] for seed, each in results.items() if each["fault"]},
    }


def run(first: int, count: int, folder: pathlib.Path, traced: int) -> dict[str, Any]:
    """The figures of so many files, read by other processes.

    A process that dies counts as a failure of the file it read, and another goes on.

    Args:
      first: the first seed.
      count: of files.
      folder: for the files, which are written one over the other.
      traced: of each so many files one is read again with its memory traced, which
        takes six times as long. The limit of address space holds for all.
    """
    results: dict[int, dict[str, Any]] = {}
    while len(results) < count:
        command = [sys.executable, "-m", "tests.storage.fuzzing.campaign"]
        begin = first + len(results)
        rest = [str(begin), str(first + count - begin), str(folder), str(traced)]
        done = subprocess.run([*command, *rest], capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        results |= {begin + i: line for i, line in enumerate(lines)}
        if done.returncode:
            fault = f"exit {done.returncode}: {done.stderr[-200:]}"
            died = {"kind": "failed", "fault": fault, "seconds": 0.0, "peak": 0.0}
            results[first + len(results)] = died
    return summed(results)


def main() -> None:
    import resource

    first, count, folder, traced = sys.argv[1:]
    path = pathlib.Path(folder) / "file"
    os.fsync = lambda descriptor: None  # nothing here is to outlive the machine
    for row in CORPUS:
        path.write_bytes(row.content())
        assert outcome(path)[0] == "accepted", row.name
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for seed in range(int(first), int(first) + int(count)):
        signal.alarm(HANG_SECONDS)
        print(json.dumps(measured(path, seed, int(traced))), flush=True)


if __name__ == "__main__":
    main()
