"""The paths that callers give, and files opened for reading."""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from typing import Any

from jaxcompress.storage.container.errors import FileError, reading


def checked_path(caller: str, path: str | os.PathLike[Any], argument: str = "path") -> str:
    """The path as a text; bytes are decoded as the file system names files.

    Raises:
      TypeError: it is no path, such as the number of an open file.
      ValueError: it holds the character 0, which no path has.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(
            f"{caller}({argument}=...) must be a text or a pathlib.Path, not "
            f"{type(path).__name__}. Pass the path of a file."
        )
    name = os.fsdecode(path)
    if "\0" in name:
        raise ValueError(
            f"{caller}({argument}={name!r}) must not hold the character 0. Correct it."
        )
    return name


@contextlib.contextmanager
def opened(caller: str, path: str | os.PathLike[Any]) -> Iterator[io.FileIO]:
    """A file open for reading; errors raised inside name the caller and the path.

    Raises:
      FileError: what lies there is a folder, a pipe or a device.
      OSError: there is no such file.
      TypeError, ValueError: it is no path.
    """
    name = checked_path(caller, path)
    with reading(caller, name), regular(name) as file:
        yield file


@contextlib.contextmanager
def regular(name: str) -> Iterator[io.FileIO]:
    """A file of this name open for reading.

    Raises:
      FileError: what lies there is a folder, a pipe or a device.
      OSError: there is no such file.
    """
    # Opening a pipe would wait for a writer.
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise FileError("this is a folder, a pipe or a device. Pass the path of a file.")
    with open(name, "rb", buffering=0) as file:
        yield file
