"""An allocation by how much pruning each leaf alone raises the loss.

The rises it goes by are measured in `post_training/trials`.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.types import Array
from jaxcompress.prune.allocations.totals import Allocation
from jaxcompress.prune.ranking import cut

_INFINITY = np.uint32(0x7F800000)


class Sensitivity(NamedTuple):
    """How much the loss rises when one leaf alone is pruned.

    Plain numbers: `json.dumps(sensitivity._asdict())` and back by `Sensitivity(**…)`.

    Attributes:
      sparsities: rising, in (0, 1]; the last is 1.
      rises: by leaf name, the loss at each of them minus the loss at 0, of either sign.
      left_out: by name of a leaf that was not measured, why.
    """

    sparsities: tuple[float, ...]
    rises: dict[str, tuple[float, ...]]
    left_out: Mapping[str, str] = {}


def by_sensitivity(sensitivity: Sensitivity) -> Allocation:
    """Prunes every leaf up to one common rise of the loss.

    Not for: models without held-out labels to measure the curves on; `lamp` takes
    scores alone.

        rise_l(s) = 0 at 0, linear between the sparsities of the measurement, and at
                    each of them the largest rise up to it
        sparsity_l = the highest s with rise_l(s) <= r

    The common rise r is the one at which the total is right. Where leaves give more at
    no higher rise than the total needs, all of them give the same part of it. A higher
    total takes no less from any leaf.

    Also known as: sensitivity pruning, layer-wise sensitivity analysis.

    Args:
      sensitivity: of these leaves, from `sensitivity` with the criterion and pattern
        that will be used.

    Returns:
      Allocation to one () float32 sparsity for each leaf, whatever the scores. As each
      leaf rounds to a whole count, the total may be off by half a weight for each
      leaf; sums are float32, so from `2**22` weights on by one in `2**22`.

    Raises:
      ValueError: numbers are not as `Sensitivity` says, or are not finite; when
        applied: a leaf was not measured.

    Example:
      >>> rises = {"robust": (0.0, 1.0), "tender": (1.0, 3.0)}
      >>> measured = jc.prune.allocations.Sensitivity((0.5, 1.0), rises)
      >>> allocate = jc.prune.allocations.by_sensitivity(measured)
      >>> allocate({"robust": jnp.ones(4), "tender": jnp.ones(4)}, {}, 0.5)
      {'robust': Array(0.75, dtype=float32), 'tender': Array(0.25, dtype=float32)}

    Source: Han et al. 2015, arXiv:1506.02626, section 5, where thresholds are chosen
    by eye from such curves. Differs: one rise for all leaves, found for a given total.
    """
    mend = "Measure it with prune.sensitivity."
    check_kind("by_sensitivity", "sensitivity", sensitivity, Sensitivity, mend)
    _check(sensitivity)
    knots = np.array((0.0, *sensitivity.sparsities), np.float32)
    curves = {
        name: np.maximum.accumulate(np.array((0.0, *rises), np.float32))
        for name, rises in sensitivity.rises.items()
    }

    def allocation(
        scores: dict[str, Array], axes: dict[str, LeafAxes], sparsity: Array | float
    ) -> dict[str, Array | float]:
        del axes
        for name in scores:
            if name not in curves:
                reason = sensitivity.left_out.get(name, "")
                raise ValueError(
                    f"by_sensitivity(sensitivity): leaf {name!r} was not measured"
                    f"{reason and ', since '}{reason}. Leaves are: {', '.join(curves)}. "
                    "Measure these params, or leave it out with select=."
                )
        rises = np.stack([curves[name] for name in scores])
        sizes = np.array([score.size for score in scores.values()], np.float32)
        shares = _at_one_rise(knots, rises, sizes, jnp.float32(sparsity))
        return dict(zip(scores, shares, strict=True))

    return allocation


def _at_one_rise(knots: np.ndarray, rises: np.ndarray, sizes: np.ndarray, sparsity: Array) -> Array:
    """The sparsities (leaves,) whose mean, weighted by `sizes`, is `sparsity`.

    `knots` (K,) and `rises` (leaves, K) are the curves.
    """

    def shares(bound: Array) -> Array:
        rise = jax.lax.bitcast_convert_type(jnp.minimum(bound, _INFINITY), jnp.float32)
        return _highest(knots, rises, rise)

    def total(shares: Array) -> Array:
        return jnp.sum(sizes * shares)

    target = sparsity * total(jnp.ones_like(sizes))
    # Floats that are not negative have the order of their bits.
    bound = cut(lambda bounds: [total(shares(bound)) for bound in bounds], target, bits=31)
    enough = total(shares(bound)) <= target
    low = jnp.where(enough, shares(bound), 0.0)
    high = jnp.where(enough, shares(bound + 1), shares(bound))
    room = total(high) - total(low)
    part = jnp.where(room > 0, (target - total(low)) / jnp.where(room > 0, room, 1.0), 0.0)
    return low + jnp.clip(part, 0.0, 1.0) * (high - low)


def _highest(knots: np.ndarray, rises: np.ndarray, rise: Array) -> Array:
    """The highest sparsity of each leaf whose rise is not above `rise`, (leaves,)."""
    last = len(knots) - 1
    k = jnp.sum(rises <= rise, axis=1) - 1
    following = jnp.minimum(k + 1, last)
    leaves = np.arange(len(rises))
    start, end = (jnp.asarray(rises)[leaves, i] for i in (k, following))
    left, right = (jnp.asarray(knots)[i] for i in (k, following))
    way = jnp.where(k < last, (rise - start) / jnp.where(end > start, end - start, 1.0), 0.0)
    return left + way * (right - left)


def _check(sensitivity: Sensitivity) -> None:
    sparsities, rises, _ = sensitivity
    rising = all(a < b for a, b in zip((0.0, *sparsities), sparsities, strict=False))
    if not sparsities or not rising or sparsities[-1] != 1:
        raise ValueError(
            f"by_sensitivity(sensitivity): sparsities {sparsities} must rise from above 0 to 1."
        )
    for name, values in rises.items():
        if len(values) != len(sparsities) or not all(map(math.isfinite, values)):
            raise ValueError(
                f"by_sensitivity(sensitivity): leaf {name!r} has rises {values}. Give a finite "
                f"number for each of the {len(sparsities)} sparsities."
            )
