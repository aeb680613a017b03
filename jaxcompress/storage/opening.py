"""A file that stays open, whose leaves are read when they are asked for."""

import contextlib
import os
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from jaxcompress.core.checks import check_count
from jaxcompress.core.messages import shown
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.absent import no_such_leaf
from jaxcompress.storage.container import archive
from jaxcompress.storage.container.errors import reading
from jaxcompress.storage.container.limits import MAX_BYTES
from jaxcompress.storage.description import StoredLeaf, report_of, table


class OpenFile(Mapping[str, Any]):
    """An open file as a mapping from the names of its leaves, in the tree's order.

    `opened[name]` reads one leaf, and verifies it at its first reading. Everything else
    comes from the header: names, `in`, `len`, `shapes`, `leaves`, and `repr`, a table.

    Invariants:
      - Arrays are NumPy arrays that cannot be written to. One that the file holds as it
        is takes no memory: it is the file, mapped, until `jax.device_put` or a
        computation copies it. It stays valid after `close`.
      - Compressed leaves and Python numbers are those that `load_leaf` gives; each time
        they are asked for they are decoded anew.
      - `save` replaces a file and never changes it, so that what is open stays as it
        was. What another program writes into the file itself shows in mapped arrays,
        and where it cuts the file short, reading them ends the process.

    Attributes:
      path: of the file.
      metadata: the texts given to `save`.
      removals: what was removed from the model before, as `load_removal` gives it.
      leaves: how each leaf lies in the file.
      size_bytes: of the file, or of all files and their index.
      shapes: shape and dtype of the array that each leaf stands for, by name.
      closed: whether `close` was called.
    """

    def __init__(self, path: str | os.PathLike[Any], max_bytes: int, caller: str = "open"):
        self._max_bytes, self._caller = max_bytes, caller
        with contextlib.ExitStack() as stack:
            self._archive = stack.enter_context(archive.opened(caller, path, max_bytes))
            self._report = report_of(path, self._archive)
            self.path: str = self._report.path
            self.closed: bool = False
            # A file that nobody closes goes with its last reference.
            self._closing = weakref.finalize(self, stack.pop_all().close)

    def __getitem__(self, name: str) -> Any:
        call = f"{self._caller}({self.path!r})[{shown(name)}]"
        if name not in self._archive.places:
            raise no_such_leaf(call, name, self._archive.names)
        if self.closed:
            raise ValueError(f"{call}: the file is closed. Read leaves inside of the with block.")
        with reading(self._caller, self.path):
            self._archive.check_counted([name], self._max_bytes)
            self._archive.check_whole([name])
            return self._archive.places[name].leaf(name)

    def __contains__(self, name: object) -> bool:
        return name in self._archive.places

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.names)

    def __len__(self) -> int:
        return len(self._archive.names)

    def __eq__(self, other: object) -> bool:
        return self is other  # a mapping would read every leaf of both

    def __hash__(self) -> int:
        return id(self)

    def __enter__(self) -> "OpenFile":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        removed = [f"removals: {len(self.removals)}"] if self.removals else []
        state = "closed" if self.closed else "open"
        return "\n".join([*table(self._report), *removed, state])

    @property
    def metadata(self) -> Mapping[str, str]:
        return types.MappingProxyType(self._archive.metadata)

    @property
    def removals(self) -> tuple[Removal, ...]:
        return self._archive.removals

    @property
    def leaves(self) -> tuple[StoredLeaf, ...]:
        return self._report.leaves

    @property
    def size_bytes(self) -> int:
        return self._report.size_bytes

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        outlined = {name: self._archive.leaf(name).outlined for name in self}
        return {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in outlined.items()
        }

    def close(self) -> None:
        """Closes the file; closing it again does nothing."""
        self.closed = True
        self._closing()


def open(path: str | os.PathLike[Any], *, max_bytes: int = MAX_BYTES) -> OpenFile:
    """An open file that `save` wrote: a mapping that reads a leaf when it is asked for.

    Only the header is read and verified now.

    Args:
      path: the file, or the index of several, which are all opened.
      max_bytes: what the header together with any one leaf may take in memory, as
        `load` counts; default 16 GiB.

    Returns:
      OpenFile; use it in a `with` block, or call its `close`.

    Raises:
      FileError: the header is truncated or altered, or the file is foreign, of a later
        format, or its header takes more than `max_bytes`. Reading a leaf raises it
        where that leaf was altered or takes more.
      TypeError: `path` is no path.
      OSError: there is no such file.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = f"{folder}/model.safetensors"
      ...     size_bytes = jc.storage.save(path, {"dense": {"kernel": jnp.eye(2)}})
      ...     with jc.storage.open(path) as opened:
      ...         opened.shapes["dense/kernel"].shape, opened["dense/kernel"].sum()
      ((2, 2), np.float32(2.0))
    """
    check_count("open", "max_bytes", max_bytes)
    return OpenFile(path, max_bytes)
