"""Bytes of a tree: dense, in memory, on disk, and by its entropy."""

import dataclasses
import math
from collections.abc import Iterable

import jax
import numpy as np

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.types import PyTree
from jaxcompress.storage.coders import FAST, Coder, plain
from jaxcompress.storage.coders.words import Words
from jaxcompress.storage.container.plan import plan

DENSE_BYTES = 4
SIDE = ("scale", "second_scale", "zero_point", "codebook")
"""The arrays of a quantized leaf that are counted as they are."""


@dataclasses.dataclass(frozen=True)
class Size:
    """Bytes of a tree. `print` it for a table.

    Attributes:
      dense: 4 bytes for each number the tree stands for, whatever its dtype.
      memory: bytes of its arrays now, as the device holds them; copies on several
        devices count.
      disk: exactly the file that `save` writes with the same `coders=`, without
        `metadata=` and `removal=`.
      entropy: the least that a coder of single numbers needs for the data, by the
        order-0 entropy of each leaf; scales and zero points raw; no header and no table
        of symbols.
    """

    dense: int
    memory: int
    disk: int
    entropy: int

    def __str__(self) -> str:
        rows = {
            "dense": self.dense,
            "memory": self.memory,
            "disk": self.disk,
            "entropy": self.entropy,
        }
        width = max(len(f"{count:,}") for count in rows.values())
        return "\n".join(
            f"{name:8}{count:>{width},} bytes{_ratio(self.dense, count)}"
            for name, count in rows.items()
        )


def size(tree: PyTree, *, coders: Iterable[Coder] = FAST) -> Size:
    """Bytes of the tree: dense, in memory, on disk, and by its entropy.

    Args:
      tree: what `save` takes.
      coders: those that `save` may use.

    Returns:
      Size.

    Raises:
      TypeError: a leaf cannot be stored, or `coders` are none.

    Example:
      >>> sparse = {"kernel": jnp.zeros((100, 100)).at[0, 0].set(1.0)}
      >>> jc.storage.size(sparse).dense, jc.storage.size(sparse).disk
      (40000, 1582)
    """
    planned = plan("size", tree, coders=coders)
    return Size(
        dense=DENSE_BYTES
        * sum(np.size(leaf) for leaf in jax.tree.leaves(tree, is_leaf=is_compressed)),
        memory=sum(map(_memory, jax.tree.leaves(tree))),
        disk=planned.size_bytes,
        entropy=sum(
            entropy_bytes(path, source.words())
            for leaf in planned.leaves.values()
            for path, source in leaf.sources.items()
        ),
    )


def entropy_bits(values: np.ndarray) -> float:
    """The order-0 entropy of all entries together: n · H, in bits.

        n · H = Σ c · log2(n / c)   over the counts c of the distinct values

    Args:
      values: (n,) unsigned integers.

    Returns:
      Bits, at least 0.

    Example:
      >>> entropy_bits(np.array([0, 0, 1, 1]))
      4.0

    Source: Shannon 1948, "A Mathematical Theory of Communication", section 6.
    """
    if values.dtype.itemsize <= 2:
        counts = np.bincount(values)
        repeats = counts[counts > 1]
    else:
        repeats = _repeats(np.sort(values))
    # Most floats come once: they are counted together.
    single = values.size - int(repeats.sum())
    several = float(np.sum(repeats * np.log2(values.size / repeats)))
    return several + (single * math.log2(values.size) if single else 0.0)


def _repeats(ordered: np.ndarray) -> np.ndarray:
    """Counts of the values that occur more than once in a sorted array."""
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    if not same.size:
        return same
    # Where positions that equal the next one follow each other, the value is the same.
    ends = np.flatnonzero(np.diff(same) != 1)
    return np.diff(ends, prepend=-1, append=same.size - 1) + 1


def entropy_bytes(path: str, words: Words) -> int:
    """The least bytes for one array of a leaf, by its path; scales as they are."""
    if path.rpartition("/")[2] in SIDE:
        return plain.size_bytes(words)
    return math.ceil(entropy_bits(words.values) / 8)


def _memory(x) -> int:
    # `nbytes` counts a byte for each 4-bit number, which some devices hold in half.
    return x.on_device_size_in_bytes() if isinstance(x, jax.Array) else np.asarray(x).nbytes


def _ratio(dense: int, count: int) -> str:
    return f"  1/{dense / count:.1f}" if 0 < count < dense else ""
