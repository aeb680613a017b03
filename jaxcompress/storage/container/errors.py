"""The error for a file that cannot be read."""

import contextlib
import os
from collections.abc import Iterator


class FileError(ValueError):
    """A file is truncated, altered, foreign or contradicts itself."""


@contextlib.contextmanager
def reading(caller: str, path: str | os.PathLike) -> Iterator[None]:
    """Turns errors of a file's content into a `FileError` with caller and path.

    Code inside raises `FileError("found. Mend.")`; what the file system raises passes.
    """
    name = os.fspath(path)  # refuses numbers, which `open` takes for files that are open already
    try:
        yield
    except FileError as error:
        raise FileError(f"{caller}({name!r}): {error}") from error
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        fault = str(error) if type(error) is ValueError else repr(error)
        raise FileError(
            f"{caller}({name!r}): the file contradicts itself: {_shortened(fault)}. Save it again."
        ) from error


def _shortened(text: str) -> str:
    """A text that may quote a file, without its middle where it is long."""
    return text if len(text) <= 300 else f"{text[:200]} … {text[-99:]}"
