"""Shares: how many weights each leaf grows, of those that all leaves dropped."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcompress.core import exports
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.kinds import check_mapping
from jaxcompress.core.masks import check_masks
from jaxcompress.core.trees import check_entries, check_leaf_axes, check_named
from jaxcompress.core.types import Array
from jaxcompress.prune.allocations.totals import first_of_slices, total
from jaxcompress.prune.patterns.pattern import group_axis, group_size
from jaxcompress.prune.ranking import count_true, cut

exports.list_definitions(globals())

Share = Callable[
    [dict[str, Array], dict[str, Array], dict[str, LeafAxes], dict[str, Array]], dict[str, Array]
]
"""(scores, masks, axes, dropped) to how many weights to grow, by leaf name.

The scores are those of growth, the masks those before the drop. Counts are int32, one
for each slice along the batch axes, size 1 along the others; their sum is that of
`dropped`, and none is above the room that its slice has after the drop.
"""


def as_dropped(
    scores: dict[str, Array],
    masks: dict[str, Array],
    axes: dict[str, LeafAxes],
    dropped: dict[str, Array],
) -> dict[str, Array]:
    """Grows as many weights in every slice as it dropped, so its count stays.

    Example:
      >>> jc.prune.shares.as_dropped({}, {}, {}, {"kernel": jnp.array([[3]])})
      {'kernel': Array([[3]], dtype=int32)}
    """
    _check("as_dropped", scores, masks, axes, dropped)
    return dropped


def by_mean_score(
    scores: dict[str, Array],
    masks: dict[str, Array],
    axes: dict[str, LeafAxes],
    dropped: dict[str, Array],
) -> dict[str, Array]:
    """Grows weights in proportion to the mean growth score of each slice.

    Not for: shares of leaves that should stay, such as those of `erk`; `as_dropped`
    keeps them.

        grown_l = min(floor(e · mean_l), room_l)

    with the factor e at which the total is that of `dropped`; what rounding leaves over
    goes to the earlier slices among the next in turn. What a full slice cannot take
    goes to the others in proportion.

    Also known as: the redistribution of sparse momentum, SNFS.

    Args:
      scores: of the leaves, by name, at least 0 and finite.
      masks: of the leaves, by name.
      axes: of the leaves, by name.
      dropped: of the leaves, by name.

    Returns:
      Counts, see `Share`.

    Example:
      >>> dot = jc.LeafAxes(contracting=(0,), output=())
      >>> masks = {name: jnp.arange(6) < 2 for name in "ab"}
      >>> scores = {"a": jnp.full(6, 3.0), "b": jnp.full(6, 1.0)}
      >>> dropped = {"a": jnp.array([2]), "b": jnp.array([2])}
      >>> jc.prune.shares.by_mean_score(scores, masks, {"a": dot, "b": dot}, dropped)
      {'a': Array([3], dtype=int32), 'b': Array([1], dtype=int32)}

    Source: Dettmers and Zettlemoyer 2019, arXiv:1907.04840, section 3.1, with momentum
    for scores. Differs: exact totals, and a layer is a slice along the batch axes.
    """
    _check("by_mean_score", scores, masks, axes, dropped)
    axis = {name: group_axis(score, axes[name]) for name, score in scores.items()}
    living = {name: count_true(mask, axis[name]) for name, mask in masks.items()}
    room = {
        name: group_size(score, axes[name]) - living[name] + dropped[name]
        for name, score in scores.items()
    }
    means = {
        name: jnp.sum(jnp.where(masks[name], score, 0.0), axis=axis[name], keepdims=True)
        / jnp.maximum(living[name], 1)
        for name, score in scores.items()
    }
    largest = jnp.max(jnp.stack([jnp.max(mean) for mean in means.values()]))
    # A slice of mean 0 keeps a small rate, and grows where no other one has room.
    rates = {
        name: jnp.maximum(mean / jnp.where(largest > 0, largest, 1.0), 2.0**-24)
        for name, mean in means.items()
    }

    def grown(factor: Array) -> dict[str, Array]:
        # Non-negative floats are in the order of their bits; beyond infinity lies NaN.
        bits = jnp.minimum(factor, jnp.uint32(0x7F800000))
        wanted = jax.lax.bitcast_convert_type(bits, jnp.float32)
        return {
            name: jnp.minimum(jnp.minimum(wanted * rate, 2.0**30).astype(jnp.int32), room[name])
            for name, rate in rates.items()
        }

    count = total(dropped.values())
    factor = cut(lambda factors: [total(grown(each).values()) for each in factors], count, bits=31)
    low, high = grown(factor), grown(factor + 1)
    extra = first_of_slices(
        {name: high[name] - low[name] for name in low}, count - total(low.values())
    )
    return {name: low[name] + extra[name] for name in low}


def _check(
    caller: str,
    scores: dict[str, Array],
    masks: dict[str, Array],
    axes: dict[str, LeafAxes],
    dropped: dict[str, Array],
) -> None:
    """Raises a TypeError unless they are dicts by leaf name of what a `Share` takes."""
    check_named(caller, "scores", scores, check_entries)
    check_mapping(caller, "masks", masks, "Its keys are leaf names.")
    check_masks(caller, masks)
    check_named(caller, "axes", axes, check_leaf_axes)
    check_named(caller, "dropped", dropped, check_entries)
