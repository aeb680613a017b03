"""The type of a pattern, and the two without structure."""

import math
from collections.abc import Callable

import numpy as np
from jax.core import Tracer

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import is_number
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.left_out import Obstacle, UnfitLeafError
from jaxcompress.core.messages import shown
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.trees import check_entries, check_leaf_axes
from jaxcompress.core.types import Array
from jaxcompress.prune.patterns.counts import counts_of_slices
from jaxcompress.prune.ranking import lowest

Pattern = Callable[[Array, Array | float, LeafAxes], Array]
"""(scores, sparsity, axes of the leaf) to a bool mask of the scores' shape.

The sparsity is () or has the scores' rank with size 1 along every axis that is not a
batch axis: then each slice has its own. A leaf whose shape and axes it cannot prune it
refuses by an `UnfitLeafError`, whatever the sparsity.
"""


class UnknownAxesError(UnfitLeafError):
    """Raised where a pattern needs roles of axes that are only assumed."""


def unstructured(scores: Array, sparsity: Array | float, leaf_axes: LeafAxes) -> Array:
    """Drops the lowest scores of the leaf, wherever they are.

    Not for: speed on dense hardware: files get smaller, matrix products do not.

    From a leaf of n weights exactly `round_half_even(sparsity · n)` go. Every slice
    along the batch axes, since it is a layer (of a scan) or an expert of its own, gives
    the same number of its lowest; of what is left over the earlier slices give one
    each. With a sparsity for each slice they share the total by largest remainder. In a
    slice the earlier of equal scores goes first; a NaN goes before everything.

    Also known as: unstructured or fine-grained sparsity.

    Args:
      scores: (...) float, at most 32 bits; the leaf's own layout.
      sparsity: fraction removed, in [0, 1]; () or one per slice, see `Pattern`.
      leaf_axes: of the leaf; only its batch axes matter here.

    Returns:
      (...) bool of the scores' shape and sharding; True keeps.

    Raises:
      ValueError: a `sparsity` is outside [0, 1].

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> jc.prune.patterns.unstructured(jnp.array([[0.1, 0.9], [0.5, 0.3]]), 0.5, axes)
      Array([[False,  True],
             [ True, False]], dtype=bool)

    Source: Han et al. 2015, arXiv:1506.02626, section 3. Differs: an exact count by a
    bisected threshold, ties by index.
    """
    check_leaf_scores("unstructured", scores, leaf_axes)
    check_sparsity("unstructured", sparsity)
    axis = group_axis(scores, leaf_axes)
    size = group_size(scores, leaf_axes)
    count = counts_of_slices(sparsity, size, slice_sizes(scores.shape, leaf_axes))
    return ~lowest(scores, count, axis=axis)


def within_outputs(scores: Array, sparsity: Array | float, leaf_axes: LeafAxes) -> Array:
    """Drops the same number of weights from every output.

    Not for: outputs that differ in worth, of which each loses as many weights;
    `unstructured` compares them.

    From the n weights that one output sums over exactly `round_half_even(sparsity · n)`
    go, so no output loses all of its inputs to the others. Among equal scores the
    earlier index goes first; a NaN goes before everything.

    Also known as: per-output or row-wise sparsity, the comparison group of Wanda.

    Args:
      scores: (...) float, at most 32 bits; the leaf's own layout.
      sparsity: fraction removed, in [0, 1]; () or one per slice, see `Pattern`.
      leaf_axes: of the leaf; a group spans its contracting axes.

    Returns:
      (...) bool of the scores' shape and sharding; True keeps.

    Raises:
      ValueError: a `sparsity` is outside [0, 1]; the axes of a leaf of rank 3
        and more are only assumed.

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> scores = jnp.array([[0.1, 0.9], [0.5, 0.3]])
      >>> jc.prune.patterns.within_outputs(scores, 0.5, axes)
      Array([[False,  True],
             [ True, False]], dtype=bool)

    Source: Sun et al. 2023, arXiv:2306.11695, section 3, "comparison group".
    """
    check_leaf_scores("within_outputs", scores, leaf_axes)
    check_sparsity("within_outputs", sparsity)
    check_roles("within_outputs", scores, leaf_axes)
    count = round_to_count(sparsity, math.prod(scores.shape[i] for i in leaf_axes.contracting))
    return ~lowest(scores, count, axis=leaf_axes.contracting)


def check_sparsity(caller: str, sparsity: Array | float) -> None:
    """Raises a ValueError for a number or an array outside [0, 1]; traced ones pass."""
    if not is_number(sparsity):
        check_entries(caller, "sparsity", sparsity)
    if isinstance(sparsity, Tracer) or not getattr(sparsity, "is_fully_addressable", True):
        return
    shares = np.asarray(sparsity)
    if not np.all((shares >= 0) & (shares <= 1)):
        raise ValueError(f"{caller}(sparsity={shown(sparsity)}) must be in [0, 1].")


def check_pattern(caller: str, pattern: Pattern, argument: str = "pattern") -> None:
    """Raises a TypeError unless it is a function of scores, sparsity and leaf axes.

    Example:
      >>> check_pattern("Target", jc.prune.patterns.within_groups)
      Traceback (most recent call last):
      TypeError: Target(pattern=within_groups) must be a function of 3 arguments. Take
      one of prune.patterns, as outputs or n_of_m(2, 4). Did you mean
      within_groups(...), which gives one?
    """
    mend = "Take one of prune.patterns, as outputs or n_of_m(2, 4)."
    check_takes(caller, argument, pattern, 3, mend)


def check_leaf_scores(caller: str, scores: Array, leaf_axes: LeafAxes) -> None:
    """Raises a TypeError unless they are an array and what its axes do."""
    check_entries(caller, "scores", scores)
    check_leaf_axes(caller, "leaf_axes", leaf_axes)


def check_roles(caller: str, scores: Array, leaf_axes: LeafAxes) -> None:
    """Raises an error unless the role of every axis of the leaf is known."""
    mend = "Pass axes=graph.axes(fn, params, *inputs), or leave it out."
    if leaf_axes.assumed and scores.ndim >= 3:
        reason = f"the axes of shape {scores.shape} are only assumed"
        raise UnknownAxesError(caller, Obstacle(f"{reason}, and it has to know them", mend))
    if len(leaf_axes.order) != scores.ndim:
        reason = f"shape {scores.shape} has no axes that {caller} knows"
        raise UnfitLeafError(caller, Obstacle(reason, mend))


def group_axis(scores: Array, leaf_axes: LeafAxes) -> tuple[int, ...]:
    """The axes inside a group: all that are not batch axes."""
    return tuple(i for i in range(scores.ndim) if i not in leaf_axes.batch)


def slice_sizes(shape: tuple[int, ...], leaf_axes: LeafAxes) -> tuple[int, ...]:
    """The sizes of the batch axes, 1 for all others."""
    return tuple(size if i in leaf_axes.batch else 1 for i, size in enumerate(shape))


def group_size(scores: Array, leaf_axes: LeafAxes) -> int:
    """How many weights a group has."""
    return math.prod(scores.shape[i] for i in group_axis(scores, leaf_axes))
