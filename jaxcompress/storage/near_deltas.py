"""A tree near another file's: what approximate differences of every kind share."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.kinds import check_selector
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import chosen_by
from jaxcompress.core.types import PyTree, Selector
from jaxcompress.storage.coders import FAST
from jaxcompress.storage.container import disk
from jaxcompress.storage.container.archive import Archive
from jaxcompress.storage.container.arrays import on_host
from jaxcompress.storage.container.paths import checked_path
from jaxcompress.storage.container.plan import plan
from jaxcompress.storage.container.references import Product, Signs
from jaxcompress.storage.container.stored import Stored, weighed
from jaxcompress.storage.delta_reading import opened_base, struct_of
from jaxcompress.storage.deltas import DeltaSize, exact, write

_WIDEST = 4
"""Bytes of a number that float32 holds exactly."""


class Given(NamedTuple):
    """What a caller said beside the tree, each as `save_bit_delta` takes it.

    Attributes:
      base: the file of the base, or its index.
      select: which leaves are approximated.
      metadata: texts to keep beside the leaves.
      specs: of the leaves that approximations hold.
    """

    base: str | os.PathLike[Any]
    select: Selector
    metadata: Mapping[str, str]
    specs: tuple[QuantSpec, ...] = ()


class Candidate(NamedTuple):
    """A leaf that may be approximated, and where its base is.

    Attributes:
      name: of the leaf.
      leaf: an array of real floats of up to 32 bits, of the base's dtype and shape.
      found: the base, open.
    """

    name: str
    leaf: Any
    found: Archive

    @property
    def x(self) -> np.ndarray:
        return on_host(self.leaf)

    @property
    def base(self) -> np.ndarray:
        """The leaf of the base, read anew."""
        return self.found.places[self.name].leaf(self.name)

    def steps(self) -> np.ndarray:
        """The difference x - base, float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.x.astype(np.float32) - self.base.astype(np.float32)


class Near(NamedTuple):
    """An approximation of a leaf.

    Attributes:
      leaf: what is stored.
      error: the norm of what is lost over the norm of the difference.
    """

    leaf: Signs | Product
    error: float


Nearest = Callable[[str], Near | None]
"""The approximation of a candidate by name; None where there is none."""


def write_near(
    caller: str,
    path: str | os.PathLike[Any],
    tree: PyTree,
    given: Given,
    begin: Callable[[Mapping[str, Candidate]], Nearest],
) -> tuple[DeltaSize, dict[str, float]]:
    """Writes the tree, by its approximations where they are smaller than what is exact.

    Args:
      caller: names the function in messages.
      path: where.
      tree: to be saved.
      given: checked here.
      begin: the candidates by name -> what approximates each, called from any thread.

    Returns:
      What was written, and the error of each approximated leaf in the tree's order.

    Raises:
      TypeError, ValueError, OSError, FileError: as `save_delta` does.
    """
    name = checked_path(caller, path)
    checked_path(caller, given.base, "base")
    check_selector(caller, "select", given.select)
    disk.checked_target(caller, name)  # before a large tree is planned
    planned, named = plan(caller, tree, given.metadata), named_leaves(tree)
    chosen = chosen_by(caller, given.select, tree)
    planned = planned._replace(specs=tuple(dict.fromkeys((*planned.specs, *given.specs))))
    with opened_base(caller, given.base) as found:
        candidates = {
            name: Candidate(name, leaf, found)
            for name, leaf in named.items()
            if chosen[name] and _has_real_base(name, leaf, found)
        }
        choice = _Choice(begin(candidates), candidates, planned.specs, {})
        size = write(name, named, planned, found, choice.stored)
    return size, {each: choice.errors[each] for each in named if each in choice.errors}


def _has_real_base(name: str, leaf, found: Archive) -> bool:
    if name not in found.places or is_compressed(leaf) or not hasattr(leaf, "dtype"):
        return False
    other = found.leaf(name).outlined
    real = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize <= _WIDEST
    return real and not is_compressed(other) and struct_of(leaf) == struct_of(other)


def norm(x: np.ndarray) -> float:
    """Of all numbers, in float64."""
    return float(np.linalg.norm(x.reshape(-1).astype(np.float64)))


class _Choice(NamedTuple):
    """The smaller of an approximation and of what is exact, and the errors made so."""

    nearest: Nearest
    candidates: Mapping[str, Candidate]
    specs: tuple[QuantSpec, ...]
    errors: dict[str, float]

    def stored(self, found: Archive, name: str, leaf: Any, whole: Stored) -> Stored | None:
        kept = exact(FAST, found, name, leaf, whole)
        if name not in self.candidates or (kept and not kept.size_bytes):
            return kept
        near = self.nearest(name)
        if near is None or not np.isfinite(near.error):
            return kept
        stored = weighed(near.leaf, self.specs, FAST)
        if stored.size_bytes >= (kept or whole).size_bytes:
            return kept
        self.errors[name] = near.error
        return stored
