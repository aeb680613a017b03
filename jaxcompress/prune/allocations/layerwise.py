"""Allocations that fit each leaf: by its shape, by its scores, by its outliers.

All of them remove the total that the sparsity asks for.
"""

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.checks import check_positive
from jaxcompress.core.sharding import with_whole_results
from jaxcompress.core.types import Array
from jaxcompress.prune.allocations.totals import Allocation, check_shared, globally
from jaxcompress.prune.patterns.pattern import group_axis, group_size, slice_sizes
from jaxcompress.prune.ranking import count_true


def erk(
    scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
) -> dict[str, Array | float]:
    """Gives leaves with more weights per row and column a higher sparsity.

    Not for: trained weights, of which it reads shapes alone; `lamp` compares scores.

        density_l = min(1, e · (n_1 + n_2 + …) / (n_1 · n_2 · …))

    for the sizes n of the axes of a leaf without its batch axes: outputs, inputs, and
    the window of a convolution. The factor e is the one at which the total is right.

    Also known as: ERK (Erdős-Rényi-Kernel).

    Args:
      scores: of the leaves, by name; only shapes matter.
      axes: of the leaves, by name.
      sparsity: () in [0, 1].

    Returns:
      The sparsity by name, () float32. As each leaf rounds to a whole count, the total
      may be off by half a weight for each leaf.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=(1,))
      >>> scores = {"wide": jnp.ones((20, 20)), "narrow": jnp.ones((10, 10))}
      >>> jc.prune.allocations.erk(scores, {"wide": dot, "narrow": dot}, 0.76)
      {'wide': Array(0.8, dtype=float32), 'narrow': Array(0.6, dtype=float32)}

    Source: Evci et al. 2020, arXiv:1911.11134, section 3, Erdős-Rényi-Kernel.
    """
    check_shared("erk", scores, axes, sparsity)
    sizes = np.array([score.size for score in scores.values()], np.float64)
    rates = np.array(
        [
            sum(score.shape[i] for i in group_axis(score, axes[name]))
            / group_size(score, axes[name])
            for name, score in scores.items()
        ]
    )
    # With the k highest rates at density 1 the total is linear in e; the true total is
    # the least of these lines, so its e is the largest of theirs.
    order = np.argsort(-rates, kind="stable")
    full = np.concatenate([[0.0], np.cumsum(sizes[order])[:-1]])
    slopes = np.cumsum((sizes * rates)[order][::-1])[::-1]
    sparsity = jnp.float32(sparsity)
    left = (1 - sparsity) * np.float32(sizes.sum())
    factor = jnp.max((left - full.astype(np.float32)) / slopes.astype(np.float32))
    # At sparsity 0 the largest leaf's density may be rounded to just below 1.
    return {
        name: jnp.where(sparsity > 0, 1 - jnp.clip(factor * np.float32(rate), 0.0, 1.0), 0.0)
        for name, rate in zip(scores, rates, strict=True)
    }


def lamp(
    scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
) -> dict[str, Array | float]:
    """Prunes under one threshold on scores relative to the leaf's larger ones.

    Not for: scores that are rises of one loss, as those of `woodfisher`; `globally`
    compares them as they are.

        relative_u = score_u² / sum over v of score_v²,   v: u and all that go after it

    The order within a slice stays; the last weight of each has 1, the highest there is,
    so no leaf empties before all are at one weight. Of N weights in all exactly
    `round_half_even(sparsity · N)` go.

    Also known as: LAMP (layer-adaptive magnitude-based pruning).

    Args:
      scores: of the leaves, by name, float, at least 0.
      axes: of the leaves, by name.
      sparsity: () in [0, 1].

    Returns:
      The sparsity by name, float32, one for each slice along the batch axes; as exact
      as that of `globally`. Each slice is sorted on one device.

    Raises:
      ValueError: there are 2**31 weights or more.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> scores = {"small": jnp.array([0.1, 0.2]), "large": jnp.array([4.0, 3.0])}
      >>> jc.prune.allocations.lamp(scores, {"small": dot, "large": dot}, 0.5)
      {'small': Array([0.5], dtype=float32), 'large': Array([0.5], dtype=float32)}

    Source: Lee et al. 2021, arXiv:2010.07611, equation 1. Differs: any scores.
    """
    check_shared("lamp", scores, axes, sparsity)
    relative = {name: _relative(score, axes[name]) for name, score in scores.items()}
    roles = {
        name: LeafAxes((each.ndim - 1,), (), tuple(range(each.ndim - 1)))
        for name, each in relative.items()
    }
    shares = globally(relative, roles, sparsity)
    return {
        name: jnp.reshape(shares[name], slice_sizes(score.shape, axes[name]))
        for name, score in scores.items()
    }


def outliers(multiple: float = 5.0, spread: float = 0.08) -> Allocation:
    """Gives leaves with more outliers among their scores a lower sparsity.

    Not for: sharing by what each leaf costs, of which outliers are a guess;
    `by_sensitivity` measures it.

        D_l = share of scores above multiple · mean, in slice l
        d_l = (D_l - min D) / (max D - min D)
        density_l = 1 - sparsity + 2 · spread · (d_l - mean d)

    with the mean weighted by sizes, so the total is right. Meant for large language
    models with `wanda` scores; each slice along the batch axes is a layer.

    Also known as: OWL (Outlier Weighed Layerwise sparsity).

    Args:
      multiple: of the mean score above which one stands out, above 0.
      spread: how far the sparsity of a leaf may lie from the total, above 0; less where
        a density would leave [0, 1].

    Returns:
      Allocation to one float32 sparsity for each slice along the batch axes.

    Raises:
      ValueError: an argument is not above 0.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> scores = {"flat": jnp.ones(4), "peaked": jnp.array([0.0, 0.0, 0.0, 9.0])}
      >>> allocate = jc.prune.allocations.outliers(multiple=3.0)
      >>> allocate(scores, {"flat": dot, "peaked": dot}, 0.5)
      {'flat': Array([0.58], dtype=float32), 'peaked': Array([0.42], dtype=float32)}

    Source: Yin et al. 2024, arXiv:2310.05175. Differs: a slice of a leaf is a layer,
    in place of a block of several; the mean weighs sizes.
    """
    check_positive("outliers", "multiple", multiple)
    check_positive("outliers", "spread", spread)

    def allocation(
        scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
    ) -> dict[str, Array | float]:
        found = {name: _standing_out(score, axes[name], multiple) for name, score in scores.items()}
        low = jnp.min(jnp.stack([jnp.min(each) for each in found.values()]))
        high = jnp.max(jnp.stack([jnp.max(each) for each in found.values()]))
        width = jnp.where(high > low, high - low, 1.0)
        ranks = {name: (each - low) / width for name, each in found.items()}
        weights = {name: score.size / ranks[name].size for name, score in scores.items()}
        total = sum(score.size for score in scores.values())
        parts = [weights[name] * jnp.sum(rank) / total for name, rank in ranks.items()]
        mean = jnp.sum(jnp.stack(parts))
        sparsity = jnp.float32(sparsity)
        # At the least density rank 0 lies 2 · spread · mean below the total.
        reach = jnp.minimum((1 - sparsity) / _positive(mean), sparsity / _positive(1 - mean))
        reach = jnp.minimum(2 * spread, reach)
        return {
            name: jnp.clip(sparsity - reach * (rank - mean), 0.0, 1.0)
            for name, rank in ranks.items()
        }

    return allocation


def _standing_out(score: Array, leaf_axes: LeafAxes, multiple: float) -> Array:
    """The share of scores above a multiple of the mean, for each slice."""
    axis = group_axis(score, leaf_axes)
    mean = jnp.mean(score.astype(jnp.float32), axis=axis, keepdims=True)
    above = count_true(score > multiple * mean, axis).astype(jnp.float32)
    return above / group_size(score, leaf_axes)


def _positive(x: Array) -> Array:
    """The number, or a very small one in place of 0."""
    return jnp.maximum(x, jnp.finfo(jnp.float32).tiny)


def _relative(score: Array, leaf_axes: LeafAxes) -> Array:
    """The relative scores of each slice in ascending order, (slices…, weights)."""

    def of_leaf(score: Array) -> Array:
        batch = leaf_axes.batch
        last = jnp.moveaxis(score.astype(jnp.float32), batch, tuple(range(len(batch))))
        ordered = jnp.sort(last.reshape(*last.shape[: len(batch)], -1), axis=-1)
        largest = ordered[..., -1:]
        # Relative to the largest, squares neither overflow nor vanish all together.
        squares = jnp.square(ordered / jnp.where(largest > 0, largest, 1.0))
        sums = jnp.flip(jnp.cumsum(jnp.flip(squares, -1), axis=-1), -1)
        return squares / _positive(sums)

    return with_whole_results(of_leaf, score)
