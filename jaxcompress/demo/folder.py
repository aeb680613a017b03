"""Writes a folder of results completely or not at all."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def whole(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary folder, whose files move to `out` once all are written.

    The folder to write to lies in the nearest folder that exists, so that what cannot
    be written is known at once and the move is a renaming. After an error nothing is
    left.

    Args:
      out: made where missing; files of other names stay.

    Yields:
      The folder to write to.

    Raises:
      NotADirectoryError: `out` or what should hold it is a file.
      OSError: the folder cannot be written.
    """
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"--out {out}: {place} is a file. Name another folder.")
    with tempfile.TemporaryDirectory(prefix=".jaxcompress-", dir=place) as scratch:
        yield pathlib.Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        for path in pathlib.Path(scratch).iterdir():
            os.replace(path, out / path.name)
