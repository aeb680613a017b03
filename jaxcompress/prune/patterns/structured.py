"""Patterns of whole pieces: outputs, inputs, heads, slices and blocks.

A piece is worth the mean of its scores. Where batch axes split a leaf, its pieces are
shared out among the slices as `counts_of_slices` says, so that the leaf's total is
exact. The arrays keep their shapes; `structure` makes them smaller.
"""

import math

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_count, check_whole
from jaxcompress.core.left_out import Obstacle, UnfitLeafError
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array
from jaxcompress.prune.patterns.counts import counts_of_slices
from jaxcompress.prune.patterns.matrices import on_matrices
from jaxcompress.prune.patterns.pattern import (
    Pattern,
    check_leaf_scores,
    check_roles,
    check_sparsity,
    slice_sizes,
)
from jaxcompress.prune.ranking import lowest


def outputs(scores: Array, sparsity: Array | float, leaf_axes: LeafAxes) -> Array:
    """Drops whole outputs: all weights that compute one of them.

    Not for: smaller arrays, since shapes stay; `structure.remove` cuts units out of all
    arrays that have them.

    Of the n outputs of all slices along the batch axes exactly
    `round_half_even(sparsity · n)` go, as many from each slice but for one: those of
    the lowest mean score in it; among equal means the earlier one.

    Also known as: filter, neuron or channel pruning.

    Args:
      scores: (...) float; the leaf's own layout.
      sparsity: fraction removed, in [0, 1]; () or one per slice, see `Pattern`.
      leaf_axes: of the leaf; one index of all its output axes is an output.

    Returns:
      (...) bool of the scores' shape and sharding; True keeps.

    Raises:
      ValueError: a `sparsity` is outside [0, 1]; the axes of a leaf of rank 3
        and more are only assumed.

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> jc.prune.patterns.outputs(jnp.array([[0.1, 0.9], [0.5, 0.3]]), 0.5, axes)
      Array([[False,  True],
             [False,  True]], dtype=bool)

    Source: Li et al. 2017, arXiv:1608.08710, section 3.1. Differs: any score; the mean
    in place of the sum.
    """
    check_leaf_scores("outputs", scores, leaf_axes)
    check_roles("outputs", scores, leaf_axes)
    return _whole("outputs", scores, sparsity, leaf_axes, leaf_axes.output)


def inputs(scores: Array, sparsity: Array | float, leaf_axes: LeafAxes) -> Array:
    """Drops whole inputs: all weights that read one of them.

    Not for: smaller arrays, since shapes stay; `structure.remove` cuts units out of all
    arrays that have them.

    Of the n inputs of all slices along the batch axes exactly
    `round_half_even(sparsity · n)` go, as many from each slice but for one: those of
    the lowest mean score in it; among equal means the earlier one.

    Also known as: input channel pruning.

    Args:
      scores: (...) float; the leaf's own layout.
      sparsity: fraction removed, in [0, 1]; () or one per slice, see `Pattern`.
      leaf_axes: of the leaf; one index of all its contracting axes is an input, at a
        convolution one place of the window in one channel. For whole channels see
        `slices`.

    Returns:
      (...) bool of the scores' shape and sharding; True keeps.

    Raises:
      ValueError: a `sparsity` is outside [0, 1]; the axes of a leaf of rank 3
        and more are only assumed.

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> jc.prune.patterns.inputs(jnp.array([[0.1, 0.9], [0.5, 0.3]]), 0.5, axes)
      Array([[ True,  True],
             [False, False]], dtype=bool)
    """
    check_leaf_scores("inputs", scores, leaf_axes)
    check_roles("inputs", scores, leaf_axes)
    return _whole("inputs", scores, sparsity, leaf_axes, leaf_axes.contracting)


def heads(scores: Array, sparsity: Array | float, leaf_axes: LeafAxes) -> Array:
    """Drops whole heads: one index of the first of several output axes.

    Not for: smaller arrays, and heads folded into one axis with their sizes;
    `structure.remove` finds and cuts both.

    For projections of shape (inputs, heads, size). Of the n heads of all slices along
    the batch axes exactly `round_half_even(sparsity · n)` go, as many from each slice
    but for one: those of the lowest mean score in it; among equal means the earlier.

    Also known as: attention head pruning.

    Args:
      scores: (...) float; the leaf's own layout.
      sparsity: fraction removed, in [0, 1]; () or one per slice, see `Pattern`.
      leaf_axes: of the leaf, with two output axes or more.

    Returns:
      (...) bool of the scores' shape and sharding; True keeps.

    Raises:
      ValueError: a `sparsity` is outside [0, 1]; there are fewer than two
        output axes, or the axes are only assumed.

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1, 2))
      >>> mask = jc.prune.patterns.heads(jnp.arange(24.0).reshape(3, 4, 2), 0.5, axes)
      >>> mask[0, :, 0]
      Array([False, False,  True,  True], dtype=bool)

    Source: Michel et al. 2019, arXiv:1905.10650, section 2.2. Differs: any score, one
    leaf at a time; `structure` takes the leaves of a head together.
    """
    check_leaf_scores("heads", scores, leaf_axes)
    check_roles("heads", scores, leaf_axes)
    if len(leaf_axes.output) < 2:
        raise UnfitLeafError(
            "heads",
            Obstacle(
                f"shape {scores.shape} has output axes {leaf_axes.output}, and heads are the first "
                "of two or more",
                "Leave it out, or take slices(axis).",
            ),
        )
    return _whole("heads", scores, sparsity, leaf_axes, leaf_axes.output[:1])


def slices(axis: int) -> Pattern:
    """Drops whole slices along one axis of the leaf, whatever its role.

    Of the n slices of all layers or experts along the batch axes exactly
    `round_half_even(sparsity · n)` go, as many from each of those but for one: the ones
    of the lowest mean score in it; among equal means the earlier one. With axis -2
    these are the input channels of an HWIO kernel.

    Args:
      axis: of the leaf's own layout; negative counts from the end.

    Returns:
      Pattern.

    Raises:
      ValueError: `axis` is no int; when applied: a leaf has no such axis, or it is a
        batch axis; a sparsity is outside [0, 1].

    Example:
      >>> axes = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> jc.prune.patterns.slices(-1)(jnp.array([[0.1, 0.9], [0.5, 0.3]]), 0.5, axes)
      Array([[False,  True],
             [False,  True]], dtype=bool)
    """
    check_whole("slices", "axis", axis)

    def pattern(scores: Array, sparsity: Array | float, leaf_axes: LeafAxes) -> Array:
        position = axis + scores.ndim if axis < 0 else axis
        if not 0 <= position < scores.ndim or position in leaf_axes.batch:
            raise UnfitLeafError(
                f"slices(axis={axis})",
                Obstacle(
                    f"shape {scores.shape} with batch axes {leaf_axes.batch} has no axis {axis} "
                    "to prune",
                    "Leave it out, or take another axis.",
                ),
            )
        return _whole(f"slices({axis})", scores, sparsity, leaf_axes, (position,))

    return pattern


def blocks(shape: tuple[int, int]) -> Pattern:
    """Drops whole blocks of the matrix of outputs and inputs.

    Not for: speed where no kernel skips blocks; `structure.remove` makes arrays
    smaller.

    Of the n blocks of all slices along the batch axes exactly
    `round_half_even(sparsity · n)` go, as many from each slice but for one: those of
    the lowest mean score in it; among equal means the earlier one, by rows of blocks. A
    block at the edge may be smaller: it counts as one block, and its mean is over what
    it has.

    Also known as: block sparsity.

    Args:
      shape: (outputs, inputs) of a block, each at least 1. Several axes of one role
        are flattened in the leaf's order.

    Returns:
      Pattern.

    Raises:
      ValueError: a size is below 1; when applied: a sparsity is outside [0, 1],
        or the axes of a leaf of rank 3 and more are only assumed.

    Example:
      >>> axes = jc.LeafAxes(contracting=(1,), output=(0,))
      >>> scores = jnp.array([[5.0, 0.0, 1.0], [5.0, 0.0, 3.0]])
      >>> jc.prune.patterns.blocks((2, 2))(scores, 0.5, axes)
      Array([[ True,  True, False],
             [ True,  True, False]], dtype=bool)

    Source: Gray et al. 2017, "GPU kernels for block-sparse weights", for the layout;
    Narang et al. 2017, arXiv:1711.02782, section 3.1. Differs: the mean, so that edges
    compare, in place of the maximum.
    """
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise TypeError(f"blocks(shape={shown(shape)}) must be a pair (outputs, inputs).")
    height, width = (check_count("blocks", f"shape[{i}]", size) for i, size in enumerate(shape))

    def of_matrices(matrices: Array, sparsity: Array | float) -> Array:
        worth = _block_means(matrices, height, width)  # (batch…, rows, columns)
        *batch, rows, columns = worth.shape
        count = counts_of_slices(sparsity, rows * columns, (*batch, 1, 1))
        keep = ~lowest(worth, count, axis=(worth.ndim - 2, worth.ndim - 1))
        whole = jnp.repeat(jnp.repeat(keep, height, axis=-2), width, axis=-1)
        return whole[..., : matrices.shape[-2], : matrices.shape[-1]]

    return lambda scores, sparsity, leaf_axes: on_matrices(
        f"blocks({shape})", of_matrices, scores, sparsity, leaf_axes
    )


def _whole(
    caller: str,
    scores: Array,
    sparsity: Array | float,
    leaf_axes: LeafAxes,
    units: tuple[int, ...],
) -> Array:
    """Drops all weights of an index of the axes `units`, by their mean score."""
    check_sparsity(caller, sparsity)
    within = tuple(i for i in range(scores.ndim) if i not in (*leaf_axes.batch, *units))
    worth = jnp.mean(scores.astype(jnp.float32), axis=within, keepdims=True)
    size = math.prod(scores.shape[i] for i in units)
    count = counts_of_slices(sparsity, size, slice_sizes(scores.shape, leaf_axes))
    return jnp.ones_like(scores, bool) & ~lowest(worth, count, axis=units)


def _block_means(matrices: Array, height: int, width: int) -> Array:
    """The mean of every block, (batch…, rows of blocks, columns of blocks) float32."""
    *batch, outputs, inputs = matrices.shape
    rows, columns = -(-outputs // height), -(-inputs // width)
    widths = [(0, 0)] * len(batch) + [(0, rows * height - outputs), (0, columns * width - inputs)]
    cut = jnp.pad(matrices.astype(jnp.float32), widths).reshape(
        *batch, rows, height, columns, width
    )
    entries = np.outer(_lengths(outputs, height), _lengths(inputs, width)).astype(np.float32)
    return jnp.sum(cut, axis=(-3, -1)) / entries.reshape((1,) * len(batch) + entries.shape)


def _lengths(total: int, size: int) -> np.ndarray:
    """How long the pieces of a length are that are `size` but for the last."""
    return np.minimum(size, total - np.arange(0, total, size))
