"""The error for a file that cannot be read: place, fault and mend, in few words."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

LONGEST_MESSAGE = 600
"""Characters of a `FileError`'s message, the path not counted."""


class FileError(ValueError):
    """A file is truncated, altered, foreign, too large or contradicts itself."""


class ContradictionError(FileError):
    """Texts or numbers of a file do not go together.

    Attributes:
      fault: which, without the mend, for writers that refuse what readers would.
    """

    def __init__(self, fault: str):
        super().__init__(f"{fault}: the file contradicts itself. Save it again.")
        self.fault = fault


def contradiction(fault: str) -> ContradictionError:
    """The error for texts or numbers of a file that do not go together."""
    return ContradictionError(fault)


def brief(text: str, most: int) -> str:
    """A text of a file as tables show it: on one line, at most so many characters.

    Example:
      >>> brief("dense/kernel", 20), brief("dense/kernel", 6)
      ('dense/kernel', 'dense…')
    """
    line = text if text.isprintable() else repr(text[:most])
    return line if len(line) <= most else f"{line[: most - 1]}…"


@contextlib.contextmanager
def within(place: str) -> Iterator[None]:
    """Names the place in a file that a `FileError` raised inside is about."""
    try:
        yield
    except FileError as error:
        raise FileError(f"{place}: {error}") from error


@contextlib.contextmanager
def reading(caller: str, path: str | os.PathLike[Any]) -> Iterator[None]:
    """Names the caller and the path of a `FileError` raised inside.

    Code inside raises `FileError("found. Mend.")`; what the file system raises passes.
    """
    try:
        yield
    except FileError as error:
        if str(error).startswith(f"{caller}("):
            raise  # it names another file of the same call
        raise FileError(f"{caller}({os.fsdecode(path)!r}): {error}") from error
