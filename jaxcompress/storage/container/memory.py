"""Files read once, into memory that XLA can take over as it is."""

import io
from collections.abc import Callable

import numpy as np

from jaxcompress.storage.container.errors import FileError

ALIGNMENT = 64
"""Bytes. On a CPU `jax.device_put` adopts an array that begins at a multiple of this
and keeps it alive; it copies any other.
"""

_PIECE = 1 << 20
"""Bytes that are read at once, so that a digest finds them in the processor's cache."""

Seen = Callable[[memoryview], object]


def aligned(size_bytes: int) -> np.ndarray:
    """New memory that begins at a multiple of `ALIGNMENT`, (size_bytes,) uint8."""
    memory = np.empty(size_bytes + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size_bytes]


def _unseen(piece: memoryview) -> None:
    del piece


def following(file: io.RawIOBase, size_bytes: int, seen: Seen = _unseen) -> np.ndarray:
    """The next bytes of a file, read once into memory of their own.

    Args:
      file: opened for reading without a buffer.
      size_bytes: at most what the file still has.
      seen: is given the bytes piece by piece, exactly as they are in the result.

    Returns:
      (size_bytes,) uint8.

    Raises:
      FileError: the file ended early, since it changed while it was read.
    """
    read = aligned(size_bytes)
    _fill(file, read, seen)
    return read


def pass_by(file: io.RawIOBase, size_bytes: int, seen: Seen) -> None:
    """Reads the next bytes of a file, as `following` does, and keeps none of them."""
    piece = aligned(min(size_bytes, _PIECE))
    for begin in range(0, size_bytes, _PIECE):
        _fill(file, piece[: size_bytes - begin], seen)


def _fill(file: io.RawIOBase, read: np.ndarray, seen: Seen) -> None:
    size_bytes, done = read.size, 0
    while done < size_bytes:
        count = file.readinto(read[done : done + _PIECE].data)
        if not count:
            raise FileError(
                f"{size_bytes - done} bytes were lost while the file was read: it was changed "
                "meanwhile. Read it again."
            )
        seen(read[done : done + count].data)
        done += count
