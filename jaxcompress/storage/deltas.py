"""A tree as its exact difference to the tree of another file."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Number
from typing import Any

import jax
import numpy as np

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import PyTree
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.coders import FAST, Coder
from jaxcompress.storage.coders.choice import checked_coders
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container import ahead, disk, writing
from jaxcompress.storage.container.archive import Archive
from jaxcompress.storage.container.arrays import on_host
from jaxcompress.storage.container.differences import folded, plane_count, plane_of
from jaxcompress.storage.container.dtypes import array_words
from jaxcompress.storage.container.parts import Source
from jaxcompress.storage.container.paths import checked_path
from jaxcompress.storage.container.plan import Plan, headed, plan
from jaxcompress.storage.container.references import Difference, Same
from jaxcompress.storage.container.safetensors import NO_TEXT
from jaxcompress.storage.container.stored import Stored, weighed
from jaxcompress.storage.delta_reading import opened_base, struct_of


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
    path: str | os.PathLike[Any],
    tree: PyTree,
    *,
    base: str | os.PathLike[Any],
    metadata: Mapping[str, str] = NO_TEXT,
    removal: Removal | Iterable[Removal] = (),
    coders: Iterable[Coder] = FAST,
) -> DeltaSize:
    """Writes a tree as its exact difference to the tree of another file.

    Not for: the smallest file where an approximation will do; take `save_bit_delta` or
    `save_low_rank_delta`.

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
    checked_path("save_delta", base, "base")
    disk.checked_target("save_delta", name)  # before a large tree is planned
    planned = plan("save_delta", tree, metadata, removal, coders)
    allowed = checked_coders("save_delta", coders)
    with opened_base("save_delta", base) as found:
        return write(
            name, named_leaves(tree), planned, found, functools.partial(exact, allowed), allowed
        )


def write(
    path: str,
    named: Mapping[str, Any],
    planned: Plan,
    found: Archive,
    choose: Callable[[Archive, str, Any, Stored], Stored | None],
    coders: tuple[Coder, ...] = FAST,
) -> DeltaSize:
    """Writes what was planned, but the leaves of which `choose` gives a smaller form.

    Args:
      path: where.
      named: the tree's leaves by name.
      planned: the whole tree.
      found: the base, open.
      choose: (base, name, leaf, its whole form) -> the form to store, None for whole.
      coders: that may be used, which say whether the header may be packed.
    """
    items = [(name, leaf) for name, leaf in named.items() if name in found.places]
    smaller = ahead.results(
        items,
        begin=lambda item: item,
        finish=lambda item: choose(found, *item, planned.leaves[item[0]]),
        size_bytes=lambda item: planned.leaves[item[0]].size_bytes,
    )
    near = {name: leaf for (name, _), leaf in zip(items, smaller, strict=True) if leaf}
    planned = headed(planned._replace(leaves=planned.leaves | near, base=found.checksum), coders)
    size_bytes = writing.write(planned.caller, path, planned)
    same = sum(not leaf.sources for leaf in near.values())
    differing, whole = len(near) - same, len(planned.leaves) - len(near)
    return DeltaSize(size_bytes, found.size_bytes, same, differing, whole)


def exact(
    coders: tuple[Coder, ...], found: Archive, name: str, leaf: Any, whole: Stored
) -> Stored | None:
    """The leaf by what the base has of it; None where that saves nothing."""
    outlined = found.leaf(name).outlined
    if not hasattr(leaf, "shape") or struct_of(leaf) != struct_of(outlined):
        return None
    if is_compressed(leaf) or is_compressed(outlined):
        equal = _equal(leaf, found.places[name].leaf(name))
        return weighed(Same(leaf.dtype, leaf.shape), (), coders) if equal else None
    x = on_host(leaf)
    if not x.shape and isinstance(found.places[name].leaf(name), Number):
        return None  # it would come back as a number of Python

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


def _equal(leaf, other) -> bool:
    """Whether two leaves agree in kind, spec and every bit."""
    if jax.tree.structure(leaf) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(leaf), jax.tree.leaves(other), strict=True)
    return all(
        struct_of(first) == struct_of(second)
        and np.array_equal(array_words(on_host(first)).values, array_words(on_host(second)).values)
        for first, second in pairs
    )
