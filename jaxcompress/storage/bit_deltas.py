"""A tree as one bit of difference for each weight of another file's."""

import dataclasses
import functools
import os
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.kinds import check_path, check_selector
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import weights
from jaxcompress.core.types import PyTree, Selector
from jaxcompress.storage.coders import FAST
from jaxcompress.storage.container import disk
from jaxcompress.storage.container.archive import Archive
from jaxcompress.storage.container.arrays import on_host
from jaxcompress.storage.container.differences import Signs
from jaxcompress.storage.container.parts import of_codes
from jaxcompress.storage.container.paths import checked_path
from jaxcompress.storage.container.plan import plan
from jaxcompress.storage.container.safetensors import NO_TEXT
from jaxcompress.storage.container.stored import Stored, weighed
from jaxcompress.storage.delta_reading import opened_base, struct_of
from jaxcompress.storage.deltas import DeltaSize, exact, write

_WIDEST = 4
"""Bytes of a number that float32 holds exactly."""


@dataclasses.dataclass(frozen=True)
class BitDeltaSize(DeltaSize):
    """What `save_bit_delta` wrote.

    Attributes:
      errors: of each leaf stored by one bit, the norm of what is lost over the norm of
        its difference to the base: 0 if all its steps are equally long, 0.60 if they
        are normal, 1 where nothing is kept.
    """

    errors: dict[str, float]


def save_bit_delta(
    path: str | os.PathLike,
    tree: PyTree,
    *,
    base: str | os.PathLike,
    select: Selector = weights(),
    metadata: Mapping[str, str] = NO_TEXT,
) -> BitDeltaSize:
    """Writes a tree as another file's and one bit of difference for each weight.

        x' = x_base + a · sign(x - x_base),   a = mean |x - x_base| of the leaf

    An approximation, for fine-tuned models: `load_delta` gives x' where x was. Of all
    scales a loses least in squares; the sign of 0 is 1. Leaves that are not selected,
    or are no floats of up to 32 bits of the base's shape and dtype, are stored exactly,
    as `save_delta` stores them.

    Also known as: BitDelta, one-bit delta.

    Args:
      path: where, as in `save`.
      tree: as `save` takes it.
      base: the file of the base, or its index.
      select: which leaves are approximated.
      metadata: texts to keep beside the leaves.

    Returns:
      BitDeltaSize, with the error of each leaf.

    Raises:
      TypeError, ValueError, OSError, FileError: as `save_delta` does.

    Example:
      >>> import tempfile
      >>> base = {"kernel": jnp.zeros((64, 64))}
      >>> tuned = {"kernel": jnp.where(jnp.eye(64) > 0, 0.5, -0.5)}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     paths = f"{folder}/base.safetensors", f"{folder}/tuned.safetensors"
      ...     size_bytes = jc.storage.save(paths[0], base)
      ...     found = jc.storage.save_bit_delta(paths[1], tuned, base=paths[0])
      ...     again = jc.storage.load_delta(paths[1], base=paths[0])
      >>> found.errors, bool((again["kernel"] == tuned["kernel"]).all())
      ({'kernel': 0.0}, True)

    Source: Liu et al. 2024, "BitDelta: Your Fine-Tune May Only Be Worth One Bit",
    arXiv:2402.10193, section 3.1. Differs: scales are not distilled afterwards, and a
    stack of matrices in one leaf shares one.
    """
    caller = "save_bit_delta"
    name = checked_path(caller, path)
    check_path(caller, "base", base)
    check_selector(caller, "select", select)
    disk.checked_target(caller, name)  # before a large tree is planned
    planned, named = plan(caller, tree, metadata), named_leaves(tree)
    selected = {each for each, chosen in named_leaves(select(tree)).items() if chosen}
    errors: dict[str, float] = {}
    choose = functools.partial(_one_bit, selected, errors)
    with opened_base(caller, base) as found:
        size = write(name, named, planned, found, choose)
    ordered = {each: errors[each] for each in named if each in errors}
    return BitDeltaSize(**dataclasses.asdict(size), errors=ordered)


def _one_bit(
    selected: set[str], errors: dict[str, float], found: Archive, name: str, leaf, whole: Stored
) -> Stored | None:
    other = found.leaf(name).outlined
    apart = name not in selected or not _is_real(leaf) or is_compressed(other)
    if not apart and struct_of(leaf) == struct_of(other):
        near = _signs(name, on_host(leaf), found, errors)
        if near is not None and near.size_bytes < whole.size_bytes:
            return near
    errors.pop(name, None)
    return exact(FAST, found, name, leaf, whole)


def _is_real(leaf) -> bool:
    if is_compressed(leaf) or not hasattr(leaf, "dtype"):
        return False
    return jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize <= _WIDEST


def _signs(name: str, x: np.ndarray, found: Archive, errors: dict[str, float]) -> Stored | None:
    """The leaf by one bit for each number; None where all or nothing is lost."""

    def difference() -> np.ndarray:
        return x.astype(np.float32) - found.places[name].leaf(name).astype(np.float32)

    with np.errstate(over="ignore", invalid="ignore"):
        steps = difference()
        norm = np.linalg.norm(steps.reshape(-1).astype(np.float64))
    if not np.isfinite(norm) or not norm:
        return None
    scale = np.asarray(np.mean(np.abs(steps), dtype=np.float64), np.float32)
    lost = np.abs(steps).astype(np.float64) - scale
    errors[name] = float(np.linalg.norm(lost.reshape(-1)) / norm)
    negative = of_codes(x.shape, 1, lambda: (difference() < 0).view(np.uint8))
    return weighed(Signs(x.dtype, x.shape, negative, scale), (), FAST)
