"""The leaves that a file describes, for every format version."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.container.header import Header
from jaxcompress.storage.container.parts import Part


class Leaf(NamedTuple):
    """One leaf of a file.

    Attributes:
      arrays: the container's arrays that hold it.
      outlined: the leaf with shapes for arrays.
      dtype: what reports call its dtype.
      coders: names of those that wrote its numbers.
      free: any bytes of its length are such a leaf, so that nothing is left to check.
      restored: (the bytes of each of `arrays`) -> the leaf, on the host; a FileError
        where they are not those of such a leaf.
      digest: of its bytes, "" where the file has only one for all.
      parts: how each of its arrays is coded, by path, in the order of bytes; none where
        the bytes have another order.
    """

    arrays: tuple[str, ...]
    outlined: Any
    dtype: str
    coders: tuple[str, ...]
    free: bool
    restored: Callable[[list[np.ndarray]], Any]
    digest: str = ""
    parts: tuple[tuple[str, Part], ...] = ()


class Contents(NamedTuple):
    """A file whose header was checked.

    Attributes:
      header: the container's.
      version: of the format.
      checksum: SHA-256 digits that name the content.
      leaves: by name, in the tree's order.
      outline: of the tree, as text; "" where names say it all or a template is needed.
      metadata: the user's texts.
      removals: what was removed from the model before.
      base: digits of the file that differences are added to, "" where there are none.
    """

    header: Header
    version: str
    checksum: str
    leaves: dict[str, Leaf]
    outline: str
    metadata: dict[str, str]
    removals: tuple[Removal, ...] = ()
    base: str = ""

    def stored_bytes(self, name: str) -> int:
        """Of a leaf's data on disk."""
        entries = [self.header.entries[array] for array in self.leaves[name].arrays]
        return sum(entry.end - entry.begin for entry in entries)


class Version(NamedTuple):
    """How files of one version are read.

    Attributes:
      contents: header -> Contents; a FileError where the header contradicts itself.
      leaves: (file, contents, names) -> the named leaves, on the host, each by its name
        once all its bytes were verified; a FileError where they were altered or are no
        such leaf.
      verify: (file, contents) -> None; checks all that `leaves` does and keeps nothing.
    """

    contents: Callable[[Header], Contents]
    leaves: Callable[[io.FileIO, Contents, Iterable[str]], Iterator[tuple[str, Any]]]
    verify: Callable[[io.FileIO, Contents], None]


def users_texts(texts: Mapping[str, str], reserved: Iterable[str]) -> dict[str, str]:
    """The metadata without the library's own entries."""
    return {name: text for name, text in texts.items() if name not in reserved}
