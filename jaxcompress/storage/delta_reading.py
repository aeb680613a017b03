"""The tree of a difference and its base, and what of a base both sides need."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.types import PyTree
from jaxcompress.storage.container import archive
from jaxcompress.storage.container.archive import Archive
from jaxcompress.storage.container.arrays import on_device
from jaxcompress.storage.container.differences import applied
from jaxcompress.storage.container.errors import FileError, contradiction, reading
from jaxcompress.storage.container.limits import HEADER_WEIGHT, MAX_BYTES, check_total, leaf_bytes
from jaxcompress.storage.container.paths import checked_path
from jaxcompress.storage.container.plan import BY_LEAF
from jaxcompress.storage.container.references import REFERRING, Difference, Same
from jaxcompress.storage.files import tree_of


@contextlib.contextmanager
def opened_base(caller: str, base: str | os.PathLike[Any]) -> Iterator[Archive]:
    """The file that differences are taken from.

    Raises:
      FileError: it is truncated, altered or foreign, has format version 1, or is a
        difference itself.
    """
    with archive.opened(caller, base, MAX_BYTES) as found:
        _check_base(found)
        yield found


def _check_base(found: Archive) -> None:
    if found.version not in BY_LEAF:
        raise FileError(
            f"a base of format version {found.version} has no digest to be known by. Save what "
            "load gives of it."
        )
    if found.base:
        raise FileError("the base is a difference itself. Save what load_delta gives of it.")


def struct_of(leaf: Any) -> tuple[Any, ...]:
    """Dtype and shape of what a leaf stands for."""
    return np.dtype(leaf.dtype), tuple(leaf.shape)


def load_delta(
    path: str | os.PathLike[Any],
    *,
    base: str | os.PathLike[Any],
    like: PyTree = None,
    max_bytes: int = MAX_BYTES,
) -> PyTree:
    """The tree that `save_delta` wrote, bit for bit, from its file and the base's.

    Args:
      path: the file.
      base: the file or index of the base, the very one that `save_delta` was given;
        where it lies may have changed.
      like: as in `load`.
      max_bytes: what the tree may take in memory, as `load` counts, and the headers of
        both files; default 16 GiB.

    Returns:
      The tree, as `load` gives it.

    Raises:
      FileError: a file is truncated, altered, foreign or of a later format, `path` has
        no differences, `base` is another file, or more than `max_bytes` is taken.
      ValueError: names, shapes or dtypes differ from `like`.
      TypeError: a path is none, or `like` has a leaf that is no array.
      OSError: there is no such file.
    """
    checked_path("load_delta", base, "base")
    check_count("load_delta", "max_bytes", max_bytes)
    with (
        archive.opened("load_delta", base, max_bytes) as found,
        archive.opened("load_delta", path, max_bytes) as delta,
    ):
        if not delta.base:
            raise FileError("the file holds no difference to another one. Read it by load.")
        with reading("load_delta", base):
            _check_base(found)
            if found.checksum != delta.base:
                raise FileError(
                    f"this is not the base: its digest is {found.checksum} and the base's "
                    f"{delta.base}. Pass that file."
                )
        _check_total(delta, found, max_bytes)
        leaves = {
            name: jax.tree.map(on_device, _resolved(name, leaf, found, base))
            for volume in delta.volumes
            for name, leaf in volume.leaves(volume.contents.leaves)
        }
        ordered = {name: leaves[name] for name in delta.names}
    return tree_of("load_delta", path, delta.outline, ordered, like)


def _check_total(delta: Archive, found: Archive, max_bytes: int) -> None:
    """Refuses what counts for too much, and leaves that the base has not."""
    total = HEADER_WEIGHT * (delta.header_bytes + found.header_bytes)
    for name in delta.names:
        outlined = delta.leaf(name).outlined
        counted = max(leaf_bytes(outlined), delta.places[name].contents.stored_bytes(name))
        if isinstance(outlined, REFERRING):
            if name not in found.places or struct_of(found.leaf(name).outlined) != struct_of(
                outlined
            ):
                raise contradiction(f"leaf {shown(name)} differs from none in the base")
            if not isinstance(outlined, Same) and is_compressed(found.leaf(name).outlined):
                raise contradiction(f"leaf {shown(name)} differs from a compressed leaf")
            base_bytes = found.places[name].contents.stored_bytes(name)
            counted = max(counted, base_bytes, leaf_bytes(found.leaf(name).outlined))
        total += counted
    check_total(total, max_bytes)


def _resolved(name: str, leaf, found: Archive, base: str | os.PathLike[Any]) -> Any:
    """The leaf itself; of what refers to the base, after reading its leaf there."""
    if not isinstance(leaf, REFERRING):
        return leaf
    with reading("load_delta", base):
        [(_, old)] = found.places[name].leaves([name])
    if isinstance(leaf, Same):
        return old
    if not isinstance(old, np.ndarray):
        raise contradiction(f"leaf {shown(name)} differs from a number of Python")
    return applied(leaf, old) if isinstance(leaf, Difference) else leaf.applied(old)
