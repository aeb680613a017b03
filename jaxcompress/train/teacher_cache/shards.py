"""Writing shards: whole or not at all, wherever a process is stopped."""

import contextlib
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np

PART = ".part-"
"""What a process that is writing names its files by; a dead one leaves them."""


def remove_parts(folder: pathlib.Path) -> None:
    """Removes what a process that was stopped had begun to write."""
    for path in folder.glob(f"{PART}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def part(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new path in the folder, to be renamed; what is left there is removed."""
    path = folder / f"{PART}{secrets.token_hex(8)}"
    try:
        yield path
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def finish(file: IO) -> None:
    """Waits for the disk: a crash after the renaming may else leave an empty file."""
    file.flush()
    os.fsync(file.fileno())


def write(target: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as .npy files into a new folder, which then gets its name."""
    with part(target.parent) as temporary:
        temporary.mkdir()
        for name, array in arrays.items():
            with open(temporary / f"{name}.npy", "xb") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
                finish(file)
        temporary.rename(target)
