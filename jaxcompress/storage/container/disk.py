"""Writes a file atomically, and removes what writers that died left behind."""

import contextlib
import os
import pathlib
import platform
import re
import secrets
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where the temporaries of dead writers stay
    fcntl = None

_PREFIX = f".jaxcompress-{zlib.crc32(platform.node().encode()):08x}-"
"""Of temporaries of this host: others that share the folder may not see its locks."""

_KINDS: dict[str, Callable[[int], bool]] = {
    "directory": stat.S_ISDIR,
    "FIFO": stat.S_ISFIFO,
    "socket": stat.S_ISSOCK,
    "character device": stat.S_ISCHR,
    "block device": stat.S_ISBLK,
}


@contextlib.contextmanager
def replacing(caller: str, path: str) -> Iterator[BinaryIO]:
    """Gives a temporary file beside `path`, which replaces `path` on success.

    A reader sees the old file or the new one. After an error there is only the old one.
    At the end the disk has the file and its name. The temporary is locked as long as
    its writer lives. What writers of this host left in the folder when they were killed
    is removed first.

    Args:
      caller: who writes, for error messages.
      path: where the file will be; its folder exists. Of a symbolic link the target is
        replaced. A file that exists keeps its mode, and its owner and group where the
        process may set them; a new one follows the umask.

    Raises:
      ValueError: `path` is a directory, FIFO, socket or device.
      OSError: there is no such folder, or the file cannot be written.
    """
    target, existing = checked_target(caller, path)
    _remove_abandoned(target.parent)
    with _temporary(target.parent, 0o666 if existing is None else 0o600) as (temporary, file):
        yield file
        file.flush()
        os.fsync(file.fileno())
        if existing is not None:
            _match(temporary, existing)
        if fcntl is None:
            file.close()  # Windows renames no open file.
        os.replace(temporary, target)
    _keep_name(target.parent)


def _keep_name(folder: pathlib.Path) -> None:
    """Waits until the disk has the folder too, and with it the new file's name."""
    # Windows opens no folder; some network file systems have nothing to wait for.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checked_target(caller: str, path: str) -> tuple[pathlib.Path, os.stat_result | None]:
    """The file that a path leads to, and what is known of it where it is there.

    Raises:
      ValueError: `path` is a directory, FIFO, socket or device.
      OSError: there is no such folder.
    """
    target, call = pathlib.Path(os.path.realpath(path)), f"{caller}({path!r})"
    if not target.parent.exists():
        raise FileNotFoundError(f"{call}: there is no folder {target.parent}. Create it first.")
    try:
        existing = target.stat()
    except FileNotFoundError:
        return target, None
    for kind, matches in _KINDS.items():
        if matches(existing.st_mode):
            raise ValueError(f"{call}: the path is a {kind}. Pass the path of a file.")
    return target, existing


def _match(path: pathlib.Path, existing: os.stat_result) -> None:
    """Gives a file the owner, where that is permitted, and the mode of another."""
    if fcntl is not None:  # Windows has no owners by number.
        for owner in ((existing.st_uid, -1), (-1, existing.st_gid)):
            with contextlib.suppress(PermissionError):
                os.chown(path, *owner)
    path.chmod(stat.S_IMODE(existing.st_mode))


def _made(path: pathlib.Path, mode: int) -> BinaryIO:
    """A new file open for writing; an error names its folder, which users know."""
    try:
        return open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode))
    except OSError as error:
        error.filename = str(path.parent)
        raise


@contextlib.contextmanager
def _temporary(folder: pathlib.Path, mode: int) -> Iterator[tuple[pathlib.Path, BinaryIO]]:
    """A new file under a name of its own, locked until it is renamed or removed."""
    while True:
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}.tmp"
        with _made(path, mode) as file:
            try:
                _lock(file)
                # Another writer may have taken it for abandoned before it was locked.
                if os.fstat(file.fileno()).st_nlink:
                    yield path, file
                    return
            finally:
                path.unlink(missing_ok=True)


def _lock(file: BinaryIO) -> None:
    # Some network file systems have no locks. Nothing is taken for abandoned there.
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


def _remove_abandoned(folder: pathlib.Path) -> None:
    """Removes temporaries that no living process holds locked."""
    pattern = re.compile(re.escape(_PREFIX) + "[0-9a-f]{16}[.]tmp")
    # Where the folder cannot be listed, or a temporary is held by a writer, was renamed
    # meanwhile or belongs to another user, it stays.
    with contextlib.suppress(PermissionError):
        for name in filter(pattern.fullmatch, os.listdir(folder)):
            with contextlib.suppress(OSError):
                _remove_unlocked(folder / name)


def _remove_unlocked(path: pathlib.Path) -> None:
    if fcntl is not None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)
