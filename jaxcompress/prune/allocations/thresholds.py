"""Allocations by a threshold on the scores, and one that lets no leaf empty.

Here the sparsity is a ceiling: a threshold takes what lies below it, and no more.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_number, check_positive
from jaxcompress.core.types import Array
from jaxcompress.prune.allocations.totals import Allocation, check_allocation
from jaxcompress.prune.patterns.pattern import group_axis, group_size
from jaxcompress.prune.ranking import count_true, order_keys


def below(threshold: float) -> Allocation:
    """Prunes scores below one threshold, at most the sparsity of each leaf.

    Not for: a total that must be met, since less may go; `globally` finds the threshold
    for it.

        sparsity of a slice = min(share of its scores below the threshold, sparsity)

    Also known as: threshold pruning.

    Args:
      threshold: on the scale of the criterion's scores, finite.

    Returns:
      Allocation to one float32 sparsity for each slice along the batch axes.

    Raises:
      ValueError: `threshold` is not finite.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> allocate = jc.prune.allocations.below(0.5)
      >>> allocate({"kernel": jnp.array([0.1, 2.0, 0.4, 0.5])}, {"kernel": dot}, 0.9)
      {'kernel': Array([0.5], dtype=float32)}

    Source: Han et al. 2015, arXiv:1506.02626, section 3. Differs: the ceiling.
    """
    check_number("below", "threshold", threshold)
    return _up_to(lambda score, axis: jnp.full((1,) * score.ndim, threshold, jnp.float32))


def below_deviations(deviations: float) -> Allocation:
    """Prunes scores below a multiple of each leaf's deviation, at most the sparsity.

    Not for: a total that must be met, since less may go; `lamp` meets it exactly.

        threshold of a slice = deviations · sqrt(mean over its scores that are not 0 of
        score²)

    With `magnitude` the root is the standard deviation of the weights that are left,
    around 0.

    Also known as: the thresholds of Deep Compression.

    Args:
      deviations: above 0; the larger, the more is removed.

    Returns:
      Allocation to one float32 sparsity for each slice along the batch axes.

    Raises:
      ValueError: `deviations` is not above 0.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> allocate = jc.prune.allocations.below_deviations(0.5)
      >>> allocate({"kernel": jnp.array([1.0, 7.0, 0.0, 0.0])}, {"kernel": dot}, 0.9)
      {'kernel': Array([0.75], dtype=float32)}

    Source: Han et al. 2015, arXiv:1506.02626, section 3, "quality parameter". Differs:
    the ceiling; removed weights do not count.
    """
    check_positive("below_deviations", "deviations", deviations)

    def threshold(score: Array, axis: tuple[int, ...]) -> Array:
        left = jnp.maximum(count_true(score != 0, axis), 1)
        squares = jnp.sum(jnp.square(score.astype(jnp.float32)), axis=axis, keepdims=True)
        return deviations * jnp.sqrt(squares / left.astype(jnp.float32))

    return _up_to(threshold)


def floored(allocate: Allocation, least: float) -> Allocation:
    """Limits another allocation so that every leaf keeps some of its weights.

        sparsity <- min(sparsity, 1 - kept / n)
        kept = min(least, n), or ceil(least · n)

    What a leaf keeps by this no other leaf gives, so less may go in all.

    Args:
      allocate: how a sparsity is shared out.
      least: what each slice of n weights along the batch axes keeps: weights if 1 or
        more, else their share.

    Returns:
      Allocation to one float32 sparsity for each leaf or slice.

    Raises:
      ValueError: `least` is not above 0, or above 1 and no whole number.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> scores = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0, 4.0, 5.0, 6.0])}
      >>> allocate = jc.prune.allocations.floored(jc.prune.allocations.globally, 1)
      >>> allocate(scores, {"a": dot, "b": dot}, 0.5)
      {'a': Array([0.5], dtype=float32), 'b': Array([0.25], dtype=float32)}
    """
    check_allocation("floored", "allocate", allocate)
    check_positive("floored", "least", least)
    if least > 1 and least != int(least):
        raise ValueError(
            f"floored(least={least}) must be a share in (0, 1) or a whole number of weights."
        )

    def allocation(
        scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
    ) -> dict[str, Array | float]:
        shares = allocate(scores, axes, sparsity)
        ceilings = {}
        for name, score in scores.items():
            size = group_size(score, axes[name])
            kept = math.ceil(least * size) if least < 1 else min(size, int(least))
            ceilings[name] = 1 - kept / size
        return {name: jnp.minimum(jnp.float32(shares[name]), ceilings[name]) for name in scores}

    return allocation


def _up_to(threshold: Callable[[Array, tuple[int, ...]], Array]) -> Allocation:
    """What lies below threshold(score, axes of a slice), at most the sparsity."""

    def share(score: Array, leaf_axes: LeafAxes, sparsity: Array | float) -> Array:
        axis = group_axis(score, leaf_axes)
        low = order_keys(score) < order_keys(threshold(score, axis))
        size = group_size(score, leaf_axes)
        return jnp.minimum(count_true(low, axis).astype(jnp.float32) / size, sparsity)

    return lambda scores, axes, sparsity: {
        name: share(score, axes[name], sparsity) for name, score in scores.items()
    }
