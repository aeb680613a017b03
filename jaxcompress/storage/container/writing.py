"""Writing what was planned: leaves coded ahead, in the order of the file."""

import contextlib
import os
import re
from typing import BinaryIO

from jaxcompress.core.progress import bar
from jaxcompress.storage.container import ahead, digests, disk, index
from jaxcompress.storage.container.errors import FileError
from jaxcompress.storage.container.header import LENGTH_BYTES, in_order
from jaxcompress.storage.container.limits import MAX_BYTES
from jaxcompress.storage.container.paths import regular
from jaxcompress.storage.container.plan import Plan
from jaxcompress.storage.container.stored import Stored

SILENT_SECONDS = 1.0
"""After which what still runs shows a progress bar."""


def write(caller: str, path: str, planned: Plan) -> int:
    """Writes what was planned; beside the tree a few leaves at a time are in memory.

    Returns:
      Bytes on disk.

    Raises:
      ValueError: an array has changed since, or no file can lie at the path.
    """
    with disk.replacing(caller, path) as file:
        fill(file, planned, os.path.basename(path))
        return file.tell()


def write_shards(caller: str, path: str, planned: Plan, most: int) -> int:
    """Writes what was planned as several files and their index, which comes last.

    No file has its name before all are complete.

    Args:
      caller: who writes, for error messages.
      path: of the index.
      planned: what to write.
      most: bytes of leaves in one file; a larger leaf has one of its own.

    Returns:
      Bytes on disk, of the index too.

    Raises:
      ValueError: an array has changed since, or no file can lie at a path.
    """
    folder, ending = os.path.split(path)
    groups, before = grouped(planned, most), _shards_before(path)
    stem = ending.removesuffix(index.ENDING)
    names = [f"{stem}-{i:05}-of-{len(groups):05}.safetensors" for i in range(1, len(groups) + 1)]
    places = {leaf: name for name, leaves in zip(names, groups, strict=True) for leaf in leaves}

    def content(shards: dict[str, str]) -> bytes:
        told = planned.outline, planned.removals, planned.metadata
        return index.to_bytes(caller, index.Index(0, "", shards, places, *told), planned.data_bytes)

    content(dict.fromkeys(names, digests.UNSEALED))  # texts that no index can hold
    shards, size_bytes = {}, 0
    with contextlib.ExitStack() as stack:
        for name, leaves in zip(names, groups, strict=True):
            held = {leaf: planned.leaves[leaf] for leaf in leaves}
            part = planned._replace(leaves=held, outline="", removals=(), metadata={}, packed=False)
            file = stack.enter_context(disk.replacing(caller, os.path.join(folder, name)))
            shards[name] = fill(file, part, name)
            size_bytes += file.tell()
    with disk.replacing(caller, path) as file:
        size_bytes += file.write(content(shards))
    for name in filter(re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.safetensors").fullmatch, before):
        if name not in shards:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
    return size_bytes


def _shards_before(path: str) -> list[str]:
    """The files that a sound index names which lies there already."""
    with contextlib.suppress(OSError, FileError), regular(path) as file:
        if index.begins(file.read(LENGTH_BYTES) or b""):
            file.seek(0)
            return list(index.read(file, MAX_BYTES).shards)
    return []


def grouped(planned: Plan, most: int) -> list[list[str]]:
    """The leaves of each file, in the tree's order; at least one file."""
    groups, filled = [[]], 0
    for name, leaf in planned.leaves.items():
        if groups[-1] and filled + leaf.size_bytes > most:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += leaf.size_bytes
    return groups


def fill(file: BinaryIO, planned: Plan, name: str) -> str:
    """Writes what was planned into an empty file, and leaves its position at the end.

    Args:
      file: open for writing.
      planned: what to write.
      name: of the file, beside the progress bar.

    Returns:
      The digits that name its content.
    """
    stored = [(each, planned.leaves[each]) for each, _ in in_order(planned.entries)]
    coded = ahead.results(
        stored,
        begin=lambda item: item[1],
        finish=_coded,
        size_bytes=lambda item: item[1].size_bytes,
    )
    found = {}
    # The header lists the digests of what follows it, and is as long without them.
    file.seek(len(planned.frame({})[0]))
    with bar(f"saving {name}", len(stored), after=SILENT_SECONDS) as advance:
        for (each, _), (pieces, digest) in zip(stored, coded, strict=True):
            for piece in pieces:
                file.write(piece)
            found[each] = digest
            advance(len(found), f"{file.tell() / 1e6:,.0f} MB")
    before, after = planned.frame(found)
    file.write(after)
    end = file.tell()
    file.seek(0)
    file.write(before)
    file.seek(end)
    return digests.digits_of(planned.header(found))


def _coded(leaf: Stored) -> tuple[list[memoryview], str]:
    """The bytes of a leaf, and their digest."""
    digest, pieces = digests.LeafDigest(), []
    for piece in leaf.pieces():
        digest.seen(piece)
        pieces.append(piece)
    return pieces, digest.text
