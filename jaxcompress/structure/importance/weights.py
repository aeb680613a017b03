"""Scores units by the size of their weights."""

import jax
import jax.numpy as jnp

from jaxcompress.core.kinds import check_select
from jaxcompress.core.leaf import materialize
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import matching, weights
from jaxcompress.core.sharding import gathered
from jaxcompress.core.types import Array, Model, Params, Selector
from jaxcompress.graph.surgery.couplings import Couplings
from jaxcompress.graph.surgery.families import Family, Place
from jaxcompress.structure.importance.scores import Importance, Scores


def magnitude(*, order: int = 2, select: Selector | None = None) -> Importance:
    """Scores each unit by the norm of all its weights, incoming and outgoing.

    Not for: budgets over families whose weights differ in size; take `linearized`, or
    `normalized` around it.

        score_n = (sum over its weights of |w|^order)^(1 / order)

    Also known as: L1-norm and L2-norm filter pruning, group magnitude.

    Args:
      order: 1 or 2.
      select: the leaves that count; by default those of rank 2 and more.

    Returns:
      Importance; scores are at least 0. Families without a selected leaf have none.

    Raises:
      ValueError: `order` is neither 1 nor 2.

    Example:
      >>> fn = lambda params, x: (x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(2), "out": jnp.array([[3.0], [1.0]])}
      >>> couplings = jc.graph.couplings(fn, params, jnp.ones((1, 2)))
      >>> jc.structure.importance.magnitude(order=1)(fn, params, couplings)
      {'in:1': Array([4., 2.], dtype=float32)}

    Source: Li et al. 2017, arXiv:1608.08710, section 3.1. Differs: over the whole
    family instead of the filter alone.
    """
    check_select("magnitude", select)
    if isinstance(order, bool) or order not in (1, 2):
        raise ValueError(f"magnitude(order={shown(order)}) must be 1 or 2.")
    select = weights() if select is None else select

    def importance(fn: Model, params: Params, couplings: Couplings) -> Scores:
        del fn
        chosen = named_leaves(select(params))

        def sums(leaves):
            scores = {}
            for family in couplings.families:
                places = [place for place in family.places if chosen[place.leaf]]
                if places:
                    sums = [_powers(leaves[place.leaf], place, family, order) for place in places]
                    scores[family.name] = sum(sums[1:], start=sums[0]) ** (1 / order)
            return scores

        return jax.jit(sums)(named_leaves(params))

    return importance


def norm_scale(select: Selector | None = None) -> Importance:
    """Scores each unit by the size of its norm scale (the gamma of batch norm).

    Not for: scales that were not trained under `optimizers.l1`, or that other scales
    follow; take `linearized`.

        score_n = |scale_n|

    Also known as: network slimming, BN-scale pruning. Most useful after training with
    `optimizers.l1` on the scales; little where other scales follow.

    Args:
      select: the scales; by default `matching("*scale")`.

    Returns:
      Importance; families without a scale have no score.

    Source: Liu et al. 2017, arXiv:1708.06519, section 3.
    """
    check_select("norm_scale", select)
    return magnitude(order=1, select=matching("*scale") if select is None else select)


def _powers(leaf, place: Place, family: Family, order: int) -> Array:
    """Sum of |w|^order of every unit at one place, of the scores' shape."""
    powers = jnp.abs(jnp.asarray(materialize(leaf), jnp.float32)) ** order
    kept = (0, place.axis) if family.layers else (place.axis,)
    others = tuple(axis for axis in range(powers.ndim) if axis not in kept)
    return gathered(jnp.sum(powers, axis=others))[..., place.positions].sum(axis=-1)
