"""Where weights may go: from the scores of one leaf and a sparsity to its mask."""

import math
from collections.abc import Callable

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.ranking import lowest
from jaxcompress.core.types import Array

Pattern = Callable[[Array, Array | float, LeafAxes], Array]
"""(scores, sparsity, axes of the leaf) to a bool mask of the scores' shape.

The sparsity is () or has the scores' rank with size 1 along every axis that is not a
batch axis: then each slice has its own.
"""


def unstructured(scores: Array, sparsity: Array | float, leaf_axes: LeafAxes) -> Array:
    """Drops the lowest scores, wherever they are.

    Every slice along the batch axes is a group of its own, since it is a layer (of a
    scan) or an expert of its own; a leaf without batch axes is one group. From a group
    of n weights exactly `round_half_even(sparsity · n)` go. Among equal scores the
    earlier index goes first; a NaN goes before everything.

    Args:
      scores: (...) float, at most 32 bits; the leaf's own layout.
      sparsity: fraction removed, in [0, 1]; () or one per slice, see `Pattern`.
      leaf_axes: of the leaf; only its batch axes matter here.

    Returns:
      (...) bool of the scores' shape and sharding; True keeps.

    Raises:
      ValueError: a Python `sparsity` is outside [0, 1].

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> jc.prune.unstructured(jnp.array([[0.1, 0.9], [0.5, 0.3]]), 0.5, axes)
      Array([[False,  True],
             [ True, False]], dtype=bool)

    Source: Han et al. 2015, arXiv:1506.02626, section 3. Differs: an exact count by a
    bisected threshold, ties by index.
    """
    if isinstance(sparsity, (int, float)) and not 0 <= sparsity <= 1:
        raise ValueError(f"unstructured(sparsity={sparsity}) must be in [0, 1].")
    axis = group_axis(scores, leaf_axes)
    count = round_to_count(sparsity, group_size(scores, leaf_axes))
    return ~lowest(scores, count, axis=axis)


def group_axis(scores: Array, leaf_axes: LeafAxes) -> tuple[int, ...]:
    """The axes inside a group: all that are not batch axes."""
    return tuple(i for i in range(scores.ndim) if i not in leaf_axes.batch)


def group_size(scores: Array, leaf_axes: LeafAxes) -> int:
    """How many weights a group has."""
    return math.prod(scores.shape[i] for i in group_axis(scores, leaf_axes))
