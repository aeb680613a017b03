"""Saved trees of every version, in one file or several: opened, verified and read."""

import contextlib
import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from jaxcompress.core.messages import shown
from jaxcompress.core.progress import bar
from jaxcompress.graph.surgery.removal import Removal, fault_of
from jaxcompress.storage.container import index, outlines, packing, version_1, version_2, writing
from jaxcompress.storage.container.arrays import on_device
from jaxcompress.storage.container.contents import Leaf, Version
from jaxcompress.storage.container.errors import FileError, brief, contradiction, within
from jaxcompress.storage.container.header import LENGTH_BYTES
from jaxcompress.storage.container.header import read as read_header
from jaxcompress.storage.container.limits import HEADER_WEIGHT, check_total, leaf_bytes
from jaxcompress.storage.container.paths import opened as opened_file
from jaxcompress.storage.container.paths import regular
from jaxcompress.storage.container.plan import FORMAT, VERSION
from jaxcompress.storage.container.references import REFERRING
from jaxcompress.storage.container.volume import Volume

VERSIONS: Mapping[str, Version] = {
    "1": version_1.READER,
    "2": version_2.READER,
    packing.VERSION: version_2.PACKED_READER,
}

Wanted = Callable[[Collection[str]], Collection[str]]
"""From the names of all leaves, in the tree's order, to those that are to be read."""


def all_leaves(names: Collection[str]) -> Collection[str]:
    """Every one of them."""
    return names


class Archive(NamedTuple):
    """A saved tree whose headers were read.

    Attributes:
      names: of all leaves, in the tree's order.
      places: the open file of each leaf; without those of files that were not opened.
      volumes: the files that were opened, each once.
      index_bytes: of the index, 0 of a single file.
      version: of the format.
      checksum: SHA-256 digits that name the whole content.
      outline: of the tree, as text; "" where names say it all or a template is needed.
      metadata: the user's texts.
      removals: what was removed from the model before.
      base: digits of the file that differences are added to, "" where there are none.
    """

    names: tuple[str, ...]
    places: dict[str, Volume]
    volumes: tuple[Volume, ...]
    index_bytes: int
    version: str
    checksum: str
    outline: str
    metadata: dict[str, str]
    removals: tuple[Removal, ...]
    base: str = ""

    @property
    def header_bytes(self) -> int:
        """Of all that is no leaf's data."""
        return self.index_bytes + sum(each.contents.header.size_bytes for each in self.volumes)

    @property
    def size_bytes(self) -> int:
        """Of the files that were opened, and the index."""
        return self.header_bytes + sum(each.contents.header.data_bytes for each in self.volumes)

    def leaf(self, name: str) -> Leaf:
        """What the header says of a leaf in a file that was opened."""
        return self.places[name].contents.leaves[name]

    def check_whole(self, names: Iterable[str]) -> None:
        """Refuses leaves that need another file.

        Raises:
          FileError: one is stored as the difference to a leaf of another file.
        """
        for name in names:
            if isinstance(self.leaf(name).outlined, REFERRING):
                raise FileError(
                    f"leaf {shown(name)} is stored as the difference to a file with the digest "
                    f"{self.base}. Pass both files to load_delta."
                )

    def check_counted(self, names: Iterable[str], max_bytes: int) -> None:
        """Refuses leaves that count for more than the caller accepts; none is read yet.

        Raises:
          FileError: with the headers they count for more than `max_bytes`.
        """
        total = HEADER_WEIGHT * self.header_bytes
        for name in names:
            stored = self.places[name].contents.stored_bytes(name)
            total += max(leaf_bytes(self.leaf(name).outlined), stored)
        check_total(total, max_bytes)


@contextlib.contextmanager
def opened(
    caller: str, path: str | os.PathLike[Any], max_bytes: int, wanted: Wanted = all_leaves
) -> Iterator[Archive]:
    """A saved tree, its headers read and checked, and its files open.

    Args:
      caller: who asks, for error messages.
      path: of a single file, or of an index.
      max_bytes: that all headers may count for.
      wanted: names of all leaves -> those whose files are needed.

    Raises:
      FileError: a file is truncated, altered, foreign, of a later format, or missing
        beside its index.
      OSError: there is no such file.
    """
    with opened_file(caller, path) as file, contextlib.ExitStack() as stack:
        start = file.read(LENGTH_BYTES) or b""
        file.seek(0)
        if not index.begins(start):
            yield _single(_volume(file, max_bytes, 0))
            return
        found = index.read(file, max_bytes)
        folder = os.path.dirname(os.fsdecode(path))
        yield _several(found, folder, stack, max_bytes, wanted)


def _single(volume: Volume) -> Archive:
    contents = volume.contents
    return Archive(
        names=tuple(contents.leaves),
        places=dict.fromkeys(contents.leaves, volume),
        volumes=(volume,),
        index_bytes=0,
        version=contents.version,
        checksum=contents.checksum,
        outline=contents.outline,
        metadata=contents.metadata,
        removals=contents.removals,
        base=contents.base,
    )


def _several(
    found: index.Index,
    folder: str,
    stack: contextlib.ExitStack,
    max_bytes: int,
    wanted: Wanted,
) -> Archive:
    """The tree of an index, with the files open that are needed."""
    names = wanted(found.leaves)
    # Whoever reads all leaves meets all files, those without leaves too.
    everything = len(names) == len(found.leaves)
    needed = set(found.shards) if everything else {found.leaves[name] for name in names}
    counted, volumes = HEADER_WEIGHT * found.size_bytes, {}
    for shard in (each for each in found.shards if each in needed):
        with within(f"shard {shown(shard)}"):
            volume = _shard(os.path.join(folder, shard), stack, max_bytes, counted)
            _check_shard(volume, found, shard)
        counted += HEADER_WEIGHT * volume.contents.header.size_bytes
        volumes[shard] = volume
    places = {name: volumes[shard] for name, shard in found.leaves.items() if shard in volumes}
    archive = Archive(
        names=tuple(found.leaves),
        places=places,
        volumes=tuple(volumes.values()),
        index_bytes=found.size_bytes,
        version=VERSION,
        checksum=found.checksum,
        outline=found.outline,
        metadata=found.texts,
        removals=found.removals,
    )
    shapes = {name: tuple(archive.leaf(name).outlined.shape) for name in places}
    if len(shapes) == len(found.leaves) and (fault := fault_of(found.removals, shapes)):
        raise contradiction(brief(fault, 200))
    return archive


def _shard(path: str, stack: contextlib.ExitStack, max_bytes: int, counted: int) -> Volume:
    try:
        file = stack.enter_context(regular(path))
    except OSError as error:
        raise FileError(
            f"it cannot be opened: {error.strerror}. Copy it beside the index."
        ) from error
    return _volume(file, max_bytes, counted)


def _check_shard(volume: Volume, found: index.Index, shard: str) -> None:
    """Refuses a file that is not the one that the index names."""
    contents = volume.contents
    # The digest of a file of version 1 is a claim until all of it is read.
    if contents.version != VERSION or contents.checksum != found.shards[shard]:
        raise FileError(
            "it is not the file that the index names: another was saved in its place. Copy all "
            "files of one save."
        )
    named = {leaf for leaf, place in found.leaves.items() if place == shard}
    if contents.base:
        raise contradiction("it is a difference to another file")
    if named != contents.leaves.keys():
        raise contradiction("it holds other leaves than the index says")


def _volume(file: io.FileIO, max_bytes: int, counted: int) -> Volume:
    """A file just opened whose header was read and checked."""
    header = read_header(file, max_bytes, counted)
    texts = header.metadata
    if texts.get("format_version") == packing.VERSION and texts.get("format") == FORMAT:
        header = packing.unpacked(file, header, max_bytes, counted)
    elif texts.get("format") != FORMAT or "sha256" not in texts:
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
    return Volume(file, VERSIONS[number], contents)


def read(
    caller: str, path: str | os.PathLike[Any], wanted: Wanted, max_bytes: int
) -> tuple[Archive, dict[str, Any]]:
    """Reads leaves once; every byte that it gives was verified before.

    Args:
      caller: who asks, for error messages.
      path: the file, or the index of several.
      wanted: names of all leaves -> those to give.
      max_bytes: that these leaves may count for.

    Returns:
      (archive, leaves by name in the tree's order, their arrays on the device).

    Raises:
      FileError: a file is truncated, altered, foreign, of a later format, or larger.
      OSError: there is no such file.
    """
    with opened(caller, path, max_bytes, wanted) as archive:
        names = set(wanted(archive.names))
        archive.check_counted(names, max_bytes)
        archive.check_whole(names)
        found, title = {}, f"loading {os.path.basename(os.fsdecode(path))}"
        with bar(title, len(names), after=writing.SILENT_SECONDS) as advance:
            for volume in archive.volumes:
                here = [name for name in volume.contents.leaves if name in names]
                for name, leaf in volume.leaves(here):
                    found[name] = jax.tree.map(on_device, leaf)
                    advance(len(found), "")
        return archive, {name: found[name] for name in archive.names if name in found}


@contextlib.contextmanager
def verified(caller: str, path: str | os.PathLike[Any], max_bytes: int) -> Iterator[Archive]:
    """What the headers say, after every byte of every file was verified.

    Raises:
      FileError: a file is truncated, altered, foreign, of a later format, or larger.
      OSError: there is no such file.
    """
    with opened(caller, path, max_bytes) as archive:
        archive.check_counted(archive.names, max_bytes)
        for volume in archive.volumes:
            volume.verify()
        yield archive
