"""Arrays after a removal: smaller, or of full size with removed entries neutral.

Shrunk: what was removed is absent from every array. Masked: all arrays keep their
shapes, and in front of every equation that reduces over a removed index the entry is
replaced by what changes no result. A shrunk program equals the masked one for any
parameters and inputs, up to the order of sums.
"""

import copy
import itertools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.graph.surgery.axis_rules.rule import Dims, Record, Reduction
from jaxcompress.graph.surgery.dims import Dim, atoms
from jaxcompress.graph.surgery.kept import RemovedIndices, keep


class Shrunk:
    """Removed indices are absent from every array.

    Args:
      removed: per atom, which of its indices are removed.
    """

    def __init__(self, removed: RemovedIndices):
        self.removed = removed

    def changes(self, record: Record) -> bool:
        return loses(record, self.removed)

    def kept(self, d: Dim) -> np.ndarray:
        kept = keep(d, self.removed)
        # Where layers lose different indices they lose equally many, so that the first
        # layer tells the sizes; the indices of each are taken from the leaves alone.
        return kept if kept.ndim == 1 else kept[0]

    def take(self, value: Any, dims: Dims) -> Any:
        for axis, d in enumerate(dims):
            kept = self.kept(d)
            if not kept.all():
                value = jnp.take(value, np.flatnonzero(kept), axis=axis)
        return value

    def fill(self, value: Any, dims: Dims, reduction: Reduction) -> Any:
        del dims, reduction
        return value

    def at(self, layer: Any) -> "Shrunk":
        del layer
        return self


WHOLE = Shrunk({})
"""The arrays as they were."""


class FullSize:
    """Every array keeps its shape, whatever stands in for removed entries."""

    def kept(self, d: Dim) -> np.ndarray:
        return np.ones(d.size, bool)

    def take(self, value: Any, dims: Dims) -> Any:
        del dims
        return value


class Masked(FullSize):
    """Every array keeps its shape; no reduction sees a removed entry.

    Args:
      removed: per atom, which of its indices are removed.
    """

    layer = None

    def __init__(self, removed: RemovedIndices):
        self.removed = removed

    def changes(self, record: Record) -> bool:
        return loses(record, self.removed)

    def fill(self, value: Any, dims: Dims, reduction: Reduction) -> Any:
        kept = keep(dims[reduction.axis], self.removed)
        if kept.all():
            return value
        if kept.ndim == 2:
            kept = jnp.asarray(kept)[self.layer]  # (layers, size) -> (size,)
        others = [axis for axis in range(len(dims)) if axis != reduction.axis]
        return jnp.where(jnp.expand_dims(kept, others), value, reduction.neutral(value.dtype))

    def at(self, layer: Any) -> "Masked":
        # Layers that lose units of their own are those of the outermost scan.
        if self.layer is not None:
            return self
        inside = copy.copy(self)
        inside.layer = layer
        return inside


def loses(record: Record, atoms_of: Mapping[Dim, object]) -> bool:
    """Whether an operand or result has an axis with one of these atoms."""
    dims = itertools.chain(*record.inputs, *record.outputs)
    return any(atom in atoms_of for d in dims for atom in atoms(d))
