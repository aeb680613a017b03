"""Writing a file whole or not at all."""

import os
import pathlib
import secrets
from collections.abc import Iterable


def replace(path: str | os.PathLike, chunks: Iterable[memoryview | bytes]) -> int:
    """Writes the chunks to a temporary name beside `path`, then renames it to `path`.

    A reader sees the old file or the new one. After an error there is only the old one.

    Args:
      path: where the file will be; its folder exists.
      chunks: the content, in order.

    Returns:
      Bytes written.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            size_bytes = sum(file.write(chunk) for chunk in chunks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return size_bytes
