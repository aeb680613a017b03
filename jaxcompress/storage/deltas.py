"""A tree as its exact difference to the tree of another file."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_path
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import PyTree
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.coders import FAST, Coder
from jaxcompress.storage.coders.choice import checked_coders
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container import ahead, archive, disk, writing
from jaxcompress.storage.container.archive import Archive
from jaxcompress.storage.container.arrays import on_device, on_host
from jaxcompress.storage.container.differences import (
    Difference,
    Same,
    applied,
    folded,
    plane_count,
    plane_of,
)
from jaxcompress.storage.container.dtypes import array_words
from jaxcompress.storage.container.errors import FileError, contradiction, reading
from jaxcompress.storage.container.limits import (
    HEADER_WEIGHT,
    MAX_BYTES,
    check_total,
    leaf_bytes,
)
from jaxcompress.storage.container.parts import Source
from jaxcompress.storage.container.paths import checked_path
from jaxcompress.storage.container.plan import VERSION, plan
from jaxcompress.storage.container.safetensors import NO_TEXT
from jaxcompress.storage.container.stored import Stored, weighed
from jaxcompress.storage.files import tree_of


@dataclasses.dataclass(frozen=True)
class DeltaSize:
    """What `save_delta` wrote.

    Attributes:
      size_bytes: of the file.
      base_bytes: of the base, which loading needs too.
      same: leaves that are the base's, bit for bit.
      differing: leaves stored as differences.
      whole: leaves stored by themselves.
    """

    size_bytes: int
    base_bytes: int
    same: int
    differing: int
    whole: int

    @property
    def total_bytes(self) -> int:
        """Of the file and its base."""
        return self.size_bytes + self.base_bytes

    def __str__(self) -> str:
        return (
            f"{self.size_bytes:,} bytes, {self.total_bytes:,} with the base: {self.same} leaves "
            f"are the same, {self.differing} differ, {self.whole} are whole"
        )


def save_delta(
    path: str | os.PathLike,
    tree: PyTree,
    *,
    base: str | os.PathLike,
    metadata: Mapping[str, str] = NO_TEXT,
    removal: Removal | Iterable[Removal] = (),
    coders: Iterable[Coder] = FAST,
) -> DeltaSize:
    """Writes a tree as its exact difference to the tree of another file.

    For fine-tuned models, of which many share a base. Also known as: delta checkpoint,
    delta compression.

        leaf equal to the base's            no bytes
        array of the same shape and dtype   differences of its bits, in planes of bytes
        any other leaf                      as `save` stores it

    A difference is taken where it is smaller than the whole. It is one of integers:
    bits of near floats differ in the low bytes, and planes of the high bytes, mostly
    zeros, are small. `load_delta` gives the tree again, bit for bit.

    Args:
      path: where, as in `save`.
      tree: as `save` takes it.
      base: the file of the base, or its index; it is named by its digest.
      metadata: texts to keep beside the leaves.
      removal: as `save` takes it.
      coders: as `save` takes them; an entropy coder makes differences smaller.

    Returns:
      DeltaSize.

    Raises:
      TypeError, OSError: as `save` does.
      ValueError: as `save` does.
      FileError: the base is truncated, altered or foreign, has format version 1, or is
        a difference itself.

    Example:
      >>> import tempfile
      >>> base = {"kernel": jnp.linspace(-1.0, 1.0, 10_000), "bias": jnp.ones(3)}
      >>> tuned = {"kernel": base["kernel"] * 1.0001, "bias": base["bias"]}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     paths = f"{folder}/base.safetensors", f"{folder}/tuned.safetensors"
      ...     base_bytes = jc.storage.save(paths[0], base)
      ...     found = jc.storage.save_delta(paths[1], tuned, base=paths[0])
      ...     again = jc.storage.load_delta(paths[1], base=paths[0])
      >>> found.same, found.differing, found.size_bytes < 0.7 * base_bytes
      (1, 1, True)
      >>> bool((again["kernel"] == tuned["kernel"]).all())
      True

    Source: the exact form of what Liu et al. 2024 approximate, "BitDelta: Your
    Fine-Tune May Only Be Worth One Bit", arXiv:2402.10193, section 1.
    """
    name = checked_path("save_delta", path)
    check_path("save_delta", "base", base)
    disk.checked_target("save_delta", name)  # before a large tree is planned
    planned = plan("save_delta", tree, metadata, removal, coders)
    allowed = checked_coders("save_delta", coders)
    with archive.opened("save_delta", base, MAX_BYTES) as found:
        _check_base(found)
        items = [(each, leaf) for each, leaf in named_leaves(tree).items() if each in found.places]
        smaller = ahead.results(
            items,
            begin=lambda item: item,
            finish=lambda item: _smaller(*item, planned.leaves[item[0]], found, allowed),
            size_bytes=lambda item: planned.leaves[item[0]].size_bytes,
        )
        near = {each: leaf for (each, _), leaf in zip(items, smaller, strict=True) if leaf}
        planned = planned._replace(leaves=planned.leaves | near, base=found.checksum)
        size_bytes = writing.write("save_delta", name, planned)
        same = sum(not leaf.sources for leaf in near.values())
        differing, whole = len(near) - same, len(planned.leaves) - len(near)
        return DeltaSize(size_bytes, found.size_bytes, same, differing, whole)


def _check_base(found: Archive) -> None:
    if found.version != VERSION:
        raise FileError(
            f"a base of format version {found.version} has no digest to be known by. Save what "
            "load gives of it."
        )
    if found.base:
        raise FileError("the base is a difference itself. Save what load_delta gives of it.")


def _smaller(
    name: str, leaf, whole: Stored, found: Archive, coders: tuple[Coder, ...]
) -> Stored | None:
    """The leaf by what the base has of it; None where that saves nothing."""
    outlined = found.leaf(name).outlined
    if not hasattr(leaf, "shape") or _struct(leaf) != _struct(outlined):
        return None
    if is_compressed(leaf) or is_compressed(outlined):
        equal = _equal(leaf, found.places[name].leaf(name))
        return weighed(Same(leaf.dtype, leaf.shape), (), coders) if equal else None
    x = on_host(leaf)

    def old() -> np.ndarray:
        return array_words(found.places[name].leaf(name)).values

    if np.array_equal(array_words(x).values, old()):
        return weighed(Same(x.dtype, x.shape), (), coders)
    # Planes are asked for one after the other, and twice: to plan and to write.
    folds = functools.lru_cache(maxsize=1)(lambda: folded(array_words(x).values, old()))
    layout, count = Layout(8, (array_words(x).values.size,)), plane_count(x.dtype)

    def words(position: int) -> Words:
        plane = plane_of(folds(), position)
        if position == count - 1:
            folds.cache_clear()
        return Words(plane, layout)

    planes = [Source("uint8", layout.shape, functools.partial(words, i)) for i in range(count)]
    if not planes:
        return None
    differing = weighed(Difference(x.dtype, x.shape, tuple(planes)), (), coders)
    return differing if differing.size_bytes < whole.size_bytes else None


def _struct(leaf) -> tuple:
    return np.dtype(leaf.dtype), tuple(leaf.shape)


def _equal(leaf, other) -> bool:
    """Whether two leaves agree in kind, spec and every bit."""
    if jax.tree.structure(leaf) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(leaf), jax.tree.leaves(other), strict=True)
    return all(
        _struct(first) == _struct(second)
        and np.array_equal(array_words(on_host(first)).values, array_words(on_host(second)).values)
        for first, second in pairs
    )


def load_delta(
    path: str | os.PathLike,
    *,
    base: str | os.PathLike,
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
    check_path("load_delta", "base", base)
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
        if isinstance(outlined, Same | Difference):
            if name not in found.places or _struct(found.leaf(name).outlined) != _struct(outlined):
                raise contradiction(f"leaf {shown(name)} differs from none in the base")
            if isinstance(outlined, Difference) and is_compressed(found.leaf(name).outlined):
                raise contradiction(f"leaf {shown(name)} differs from a compressed leaf")
            base_bytes = found.places[name].contents.stored_bytes(name)
            counted = max(counted, base_bytes, leaf_bytes(found.leaf(name).outlined))
        total += counted
    check_total(total, max_bytes)


def _resolved(name: str, leaf, found: Archive, base: str | os.PathLike) -> Any:
    """The leaf itself; of what refers to the base, after reading its leaf there."""
    if not isinstance(leaf, Same | Difference):
        return leaf
    with reading("load_delta", base):
        [(_, old)] = found.places[name].leaves([name])
    if isinstance(leaf, Same):
        return old
    if not isinstance(old, np.ndarray):
        raise contradiction(f"leaf {shown(name)} differs from a number of Python")
    return applied(leaf, old)
