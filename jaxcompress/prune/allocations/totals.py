"""The type of an allocation, and the two that every other one is compared with.

A pattern chooses which weights of a leaf are removed.
"""

import functools
from collections.abc import Callable, Iterable

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.kinds import check_takes
from jaxcompress.core.numerics import round_to_count
from jaxcompress.core.trees import check_entries, check_leaf_axes, check_named
from jaxcompress.core.types import Array
from jaxcompress.prune.patterns.pattern import check_sparsity, group_axis, group_size
from jaxcompress.prune.ranking import count_each, count_true, cut, order_keys, positions

Allocation = Callable[
    [dict[str, Array], dict[str, LeafAxes], Array | float], dict[str, Array | float]
]
"""(scores, axes, sparsity) to a sparsity for each leaf, as a `Pattern` takes it.

The dicts go by leaf name, in the tree's order, and hold the leaves that share
`sparsity`.
"""


def check_allocation(caller: str, argument: str, allocate: Allocation) -> None:
    """Raises a TypeError unless it is a function of scores, axes and a sparsity."""
    mend = "Take one of prune.allocations, as globally or outliers()."
    check_takes(caller, argument, allocate, 3, mend)


def check_shared(
    caller: str,
    scores: dict[str, Array],
    axes: dict[str, LeafAxes],
    sparsity: Array | float,
) -> None:
    """Raises an error unless each leaf has scores and axes, and there is a sparsity."""
    check_named(caller, "scores", scores, check_entries)
    check_named(caller, "axes", axes, check_leaf_axes)
    for name in scores:
        if name not in axes:
            raise ValueError(f"{caller}(axes=...) has no axes of leaf {name!r}.")
    check_sparsity(caller, sparsity)


def uniform(
    scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
) -> dict[str, Array | float]:
    """Gives every leaf the same sparsity.

    Not for: high sparsities of leaves that differ in what they can spare; `lamp` and
    `by_sensitivity` take less of those that need their weights.

    Also known as: uniform or layer-wise pruning.

    Args:
      scores: of the leaves, by name.
      axes: of the leaves, by name.
      sparsity: () in [0, 1].

    Returns:
      The sparsity, by name.

    Example:
      >>> jc.prune.allocations.uniform({"a": jnp.ones(2), "b": jnp.ones(3)}, {}, 0.5)
      {'a': 0.5, 'b': 0.5}
    """
    check_named("uniform", "scores", scores, check_entries)
    check_named("uniform", "axes", axes, check_leaf_axes)
    check_sparsity("uniform", sparsity)
    return dict.fromkeys(scores, sparsity)


def globally(
    scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
) -> dict[str, Array | float]:
    """Prunes the lowest scores of all leaves together, under one threshold.

    Not for: leaves whose scores differ in scale, one of which may lose all its weights;
    take `lamp`, or `floored` around it.

    Of N weights in all, `round_half_even(sparsity · N)` go. Among equal scores the
    earlier leaf goes first, in it the earlier slice along its batch axes. A leaf of low
    scores may lose all its weights.

    Also known as: global pruning.

    Args:
      scores: of the leaves, by name, float, on one scale.
      axes: of the leaves, by name.
      sparsity: () in [0, 1].

    Returns:
      The sparsity by name, float32, one for each slice along the batch axes. Float32
      tells neighbouring counts apart up to 2**22 weights in a slice; in a larger one
      the count may be off by one in 2**22.

    Raises:
      ValueError: there are 2**31 weights or more.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> scores = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0, 0.0])}
      >>> jc.prune.allocations.globally(scores, {"a": dot, "b": dot}, 0.75)
      {'a': Array([1.], dtype=float32), 'b': Array([0.5], dtype=float32)}

    Source: Blalock et al. 2020, arXiv:2003.03033, section 2.3, "global". Differs: an
    exact count by a bisected threshold over the leaves where they are, ties by order.
    """
    check_shared("globally", scores, axes, sparsity)
    size = sum(score.size for score in scores.values())
    if size >= 2**31:
        raise ValueError(
            f"globally(scores) counts fewer than 2**31 weights, not {size}. "
            "Give each part of the model a rule of its own."
        )
    keys = {name: order_keys(score) for name, score in scores.items()}
    count = round_to_count(sparsity, size)
    bound = cut(functools.partial(_counts_below, list(keys.values())), count)
    axis = {name: group_axis(score, axes[name]) for name, score in scores.items()}
    below = {name: count_true(leaf < bound, axis[name]) for name, leaf in keys.items()}
    tied = {name: count_true(leaf == bound, axis[name]) for name, leaf in keys.items()}
    taken = first_of_slices(tied, count - total(below.values()))
    return {
        name: (below[name] + taken[name]).astype(jnp.float32) / group_size(score, axes[name])
        for name, score in scores.items()
    }


def globally_normalized(
    scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
) -> dict[str, Array | float]:
    """Prunes under one threshold on scores that each leaf divides by their norm.

    Not for: scores on one scale, such as rises of a loss, which `globally` compares as
    they are.

        normalized_i = score_i / sqrt(sum over the slice's scores of score²)

    Each slice along the batch axes counts as a leaf of its own. Leaves whose scores are
    on different scales compare by the shape of their distribution alone; a large leaf
    has the smaller scores, and loses more. Otherwise as `globally`.

    Also known as: layer-normalized global pruning, the global pruning of jaxpruner.

    Args:
      scores: of the leaves, by name, float.
      axes: of the leaves, by name.
      sparsity: () in [0, 1].

    Returns:
      The sparsity by name, as `globally` gives it.

    Raises:
      ValueError: there are 2**31 weights or more.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> scores = {"a": jnp.array([10.0, 20.0]), "b": jnp.array([3.0, 1.0])}
      >>> allocate = jc.prune.allocations.globally_normalized
      >>> allocate(scores, {"a": dot, "b": dot}, 0.5)
      {'a': Array([0.5], dtype=float32), 'b': Array([0.5], dtype=float32)}

    Source: Lee et al. 2023, arXiv:2304.14082, `GlobalMagnitudePruning`. Differs: slices
    of a scanned stack count apart, exact counts, ties by order.
    """
    check_shared("globally_normalized", scores, axes, sparsity)
    normalized = {name: _over_norm(score, axes[name]) for name, score in scores.items()}
    return globally(normalized, axes, sparsity)


def _over_norm(score: Array, leaf_axes: LeafAxes) -> Array:
    """The scores of each slice divided by their norm, float32; zeros stay zeros."""
    axis = group_axis(score, leaf_axes)
    # Relative to the largest first: float32 holds no squares of 1e-23 or 1e20.
    largest = jnp.max(jnp.abs(score), axis=axis, keepdims=True).astype(jnp.float32)
    scaled = score.astype(jnp.float32) / jnp.where(largest > 0, largest, 1.0)
    norm = jnp.sqrt(jnp.sum(jnp.square(scaled), axis=axis, keepdims=True))
    return scaled / jnp.where(norm > 0, norm, 1.0)


def _counts_below(leaves: list[Array], bounds: tuple[Array, ...]) -> list[Array]:
    """How many entries of all leaves together lie below each bound, () int32."""
    counts = [
        count_each([leaf < bound for bound in bounds], tuple(range(leaf.ndim))) for leaf in leaves
    ]
    return [total(each) for each in zip(*counts, strict=True)]


def total(arrays: Iterable[Array]) -> Array:
    """The sum of all entries of all arrays, () int32."""
    totals = [jnp.sum(each, dtype=jnp.int32) for each in arrays]
    return functools.reduce(jnp.add, totals)


def first_of_slices(available: dict[str, Array], count: Array) -> dict[str, Array]:
    """How many to take of each slice's, earlier slices first, `count` in all."""
    position, slices = {}, 0
    for name, each in available.items():
        position[name] = positions(each.shape, tuple(range(each.ndim))) + np.uint32(slices)
        slices += each.size

    def before(last: Array) -> dict[str, Array]:
        return {name: jnp.where(position[name] < last, available[name], 0) for name in available}

    last = cut(
        lambda lasts: [total(before(last).values()) for last in lasts],
        count,
        bits=slices.bit_length(),
    )
    whole = before(last)
    rest = count - total(whole.values())
    return {name: whole[name] + jnp.where(position[name] == last, rest, 0) for name in available}
