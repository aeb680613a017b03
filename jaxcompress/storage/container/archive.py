"""Files of every version: opened, verified, read leaf by leaf, and written."""

import io
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from jaxcompress.core.messages import shown
from jaxcompress.core.progress import bar
from jaxcompress.storage.container import disk, outlines, version_1, version_2, writing
from jaxcompress.storage.container.arrays import on_device
from jaxcompress.storage.container.contents import Contents, Version
from jaxcompress.storage.container.errors import FileError, contradiction
from jaxcompress.storage.container.header import read as read_header
from jaxcompress.storage.container.limits import HEADER_WEIGHT, check_total, leaf_bytes
from jaxcompress.storage.container.paths import opened
from jaxcompress.storage.container.plan import FORMAT, Plan

VERSIONS: Mapping[str, Version] = {"1": version_1.READER, "2": version_2.READER}


def write(caller: str, path: str, planned: Plan) -> int:
    """Writes what was planned; beside the tree a few leaves at a time are in memory.

    Returns:
      Bytes on disk.

    Raises:
      ValueError: an array has changed since, or no file can lie at the path.
    """
    with disk.replacing(caller, path) as file:
        writing.fill(file, planned, os.path.basename(path))
        return file.tell()


def read(
    caller: str,
    path: str | os.PathLike,
    wanted: Callable[[Contents], Iterable[str]],
    max_bytes: int,
) -> tuple[Contents, dict[str, Any]]:
    """Reads a file once; every byte that it gives was verified before.

    Args:
      caller: who asks, for error messages.
      path: the file.
      wanted: contents -> names of the leaves to give.
      max_bytes: that these leaves may count for.

    Returns:
      (contents, leaves by name in the tree's order, their arrays on the device).

    Raises:
      FileError: the file is truncated, altered, foreign, of a later format, or larger.
      OSError: there is no such file.
    """
    with opened(caller, path) as file:
        version, contents = contents_of(file, max_bytes)
        names = list(wanted(contents))
        check_counted(contents, names, max_bytes)
        found, title = {}, f"loading {os.path.basename(os.fspath(path))}"
        with bar(title, len(names), after=writing.SILENT_SECONDS) as advance:
            for name, leaf in version.leaves(file, contents, names):
                found[name] = jax.tree.map(on_device, leaf)
                advance(len(found), "")
        return contents, {name: found[name] for name in contents.leaves if name in found}


def verify(caller: str, path: str | os.PathLike, max_bytes: int) -> Contents:
    """What the header says, after every byte of the file was verified.

    Raises:
      FileError: the file is truncated, altered, foreign, of a later format, or larger.
      OSError: there is no such file.
    """
    with opened(caller, path) as file:
        version, contents = contents_of(file, max_bytes)
        check_counted(contents, contents.leaves, max_bytes)
        version.verify(file, contents)
        return contents


def contents_of(file: io.FileIO, max_bytes: int) -> tuple[Version, Contents]:
    """How a file just opened is read, and what its header says.

    Raises:
      FileError: the header is truncated, altered, foreign, of a later format, or larger
        than `max_bytes`.
    """
    header = read_header(file, max_bytes)
    texts = header.metadata
    if texts.get("format") != FORMAT or "sha256" not in texts:
        raise FileError(
            "this is a safetensors file that jaxcompress did not write. Read its arrays with "
            "storage.container.safetensors.read."
        )
    number = texts.get("format_version", "")
    if number not in VERSIONS:
        raise FileError(
            f"the file has format version {shown(number)}, this jaxcompress reads "
            f"{', '.join(map(repr, VERSIONS))}. Update jaxcompress."
        )
    contents = VERSIONS[number].contents(header)
    if "" in contents.leaves:
        raise contradiction("a leaf has the name '', which no tree gives")
    if contents.outline:
        outlines.from_text(contents.outline, contents.leaves)
    return VERSIONS[number], contents


def check_counted(contents: Contents, names: Iterable[str], max_bytes: int) -> None:
    """Refuses leaves that count for more than the caller accepts; none is read yet."""
    total = HEADER_WEIGHT * len(contents.header.content)
    for name in names:
        leaf = contents.leaves[name]
        entries = [contents.header.entries[array] for array in leaf.arrays]
        stored = sum(entry.end - entry.begin for entry in entries)
        total += max(leaf_bytes(leaf.outlined), stored)
    check_total(total, max_bytes)
