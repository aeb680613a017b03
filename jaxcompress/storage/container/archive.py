"""Files of every version: opened, verified, read leaf by leaf, and written."""

import io
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxcompress.core.types import PyTree
from jaxcompress.storage.container import digests, disk, version_1, version_2
from jaxcompress.storage.container.contents import Contents, Version
from jaxcompress.storage.container.errors import FileError, reading
from jaxcompress.storage.container.header import in_order
from jaxcompress.storage.container.header import read as read_header
from jaxcompress.storage.container.plan import FORMAT, plan

VERSIONS: Mapping[str, Version] = {"1": version_1.READER, "2": version_2.READER}


def write(caller: str, path: str | os.PathLike, tree: PyTree, metadata: Mapping[str, str]) -> int:
    """Writes a tree; beside it one leaf at a time is in memory.

    Returns:
      Bytes on disk.

    Raises:
      TypeError: a leaf cannot be stored.
      ValueError: a text has a reserved name, or a leaf breaks what its kind promises.
    """
    planned, found = plan(caller, tree, metadata), {}
    with disk.replacing(caller, path) as file:
        # The header lists the digests of what follows it, and is as long without them.
        file.seek(len(planned.header({})))
        for name, _ in in_order(planned.entries):
            digest = digests.LeafDigest()
            for piece in planned.leaves[name].pieces():
                file.write(piece)
                digest.seen(piece)
            found[name] = digest.text
        size_bytes = file.tell()
        file.seek(0)
        file.write(planned.header(found))
    return size_bytes


def read(
    caller: str, path: str | os.PathLike, wanted: Callable[[Contents], Iterable[str]]
) -> tuple[Contents, dict[str, Any]]:
    """Reads a file once; every byte that it gives was verified before.

    Args:
      caller: who asks, for error messages.
      path: the file.
      wanted: contents -> names of the leaves to give.

    Returns:
      (contents, leaves by name in the tree's order).

    Raises:
      FileError: the file is truncated, altered, foreign, or of a later format.
      OSError: there is no such file.
    """
    with reading(caller, path), open(path, "rb", buffering=0) as file:
        version, contents = _opened(file)
        names = list(wanted(contents))
        found = dict(version.leaves(file, contents, names))
        return contents, {name: found[name] for name in contents.leaves if name in found}


def verify(caller: str, path: str | os.PathLike) -> Contents:
    """What the header says, after every byte of the file was verified.

    Raises:
      FileError: the file is truncated, altered, foreign, or of a later format.
      OSError: there is no such file.
    """
    with reading(caller, path), open(path, "rb", buffering=0) as file:
        version, contents = _opened(file)
        version.verify(file, contents)
        return contents


def _opened(file: io.FileIO) -> tuple[Version, Contents]:
    header = read_header(file)
    texts = header.metadata
    if texts.get("format") != FORMAT or "sha256" not in texts:
        raise FileError(
            "this is a safetensors file that jaxcompress did not write. Read its arrays with "
            "storage.container.safetensors.read."
        )
    number = texts.get("format_version", "")
    if number not in VERSIONS:
        raise FileError(
            f"the file has format version {number!r}, this jaxcompress reads "
            f"{', '.join(map(repr, VERSIONS))}. Update jaxcompress."
        )
    return VERSIONS[number], VERSIONS[number].contents(header)
