"""One open file: all of its leaves in turn, or one by one."""

import io
import mmap
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxcompress.storage.container import digests, memory
from jaxcompress.storage.container.arrays import on_device
from jaxcompress.storage.container.contents import Contents, Version
from jaxcompress.storage.container.errors import FileError
from jaxcompress.storage.container.header import Entry


class Volume:
    """The leaves of an open file whose header was read."""

    def __init__(self, file: io.FileIO, version: Version, contents: Contents):
        self.contents = contents
        self._file, self._version = file, version
        self._seeking = threading.Lock()
        self._content: np.ndarray | None = None
        self._verified: set[str] = set()

    def leaves(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """The named leaves on the host, each once its bytes were verified, by name.

        Raises:
          FileError: they were altered or are no such leaf.
        """
        return self._version.leaves(self._file, self.contents, names)

    def verify(self) -> None:
        """Checks every byte and keeps no leaf.

        Raises:
          FileError: they were altered or are no such leaf.
        """
        self._version.verify(self._file, self.contents)

    def coded(self, name: str) -> np.ndarray:
        """The verified bytes of a leaf that has a digest of its own.

        Raises:
          FileError: they were altered.
        """
        leaf, header = self.contents.leaves[name], self.contents.header
        entry = header.entries[name]
        with self._seeking:
            self._file.seek(header.begin + entry.begin)
            data = memory.following(self._file, entry.end - entry.begin)
        digest = digests.LeafDigest()
        digest.seen(data.data)
        digests.check_leaf(name, digest, leaf.digest)
        return data

    def leaf(self, name: str) -> Any:
        """A leaf whose bytes were verified, at the latest now; in any thread.

        An array that is the container's own is the file itself, mapped into memory.
        Every other leaf is read and decoded each time that it is asked for.

        Raises:
          FileError: they were altered or are no such leaf.
        """
        leaf = self.contents.leaves[name]
        if leaf.digest and leaf.free:
            return self._mapped(name, leaf.digest, self.contents.header.entries[name])
        # Reading moves the file's position.
        with self._seeking:
            [(_, found)] = self.leaves([name])
        if isinstance(found, np.ndarray):
            found.flags.writeable = False
            return found
        return jax.tree.map(on_device, found)

    def _mapped(self, name: str, expected: str, entry: Entry) -> np.ndarray:
        start = self.contents.header.begin
        data = self._bytes()[start + entry.begin : start + entry.end]
        if name not in self._verified:
            digest = digests.LeafDigest()
            digest.seen(data.data)
            digests.check_leaf(name, digest, expected)
            self._verified.add(name)
        return data.view(entry.dtype).reshape(entry.shape)

    def _bytes(self) -> np.ndarray:
        """The whole file, read-only; its memory stays as long as any array of it."""
        if self._content is None:
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            found = np.frombuffer(mapped, np.uint8)
            header = self.contents.header
            size_bytes = header.size_bytes + header.data_bytes
            if found.size != size_bytes:
                raise FileError(
                    f"the file has {found.size} bytes and had {size_bytes} when it was opened: it "
                    "was changed meanwhile. Open it again."
                )
            self._content = found
        return self._content
