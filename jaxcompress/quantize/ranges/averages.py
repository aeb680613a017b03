"""Ranges averaged over batches, which a single outlier moves little."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_range
from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.estimator import Axis, check_scope, extremes, unknown


class AverageState(NamedTuple):
    """Weighted sums of the smallest and largest value, and the sum of weights."""

    low: Array
    high: Array
    weight: Array


def moving_average(
    spec: QuantSpec | None = None, axis: Axis = None, *, decay: float = 0.9
) -> Observer:
    """Observes the average range of a batch, recent batches counting more.

    Not for: data that are read in parts and merged, since the order of batches counts;
    `min_max` and `percentile` merge exactly.

    Robust where a single batch holds an outlier that `min_max` would keep for ever.
    Also known as: exponential moving average (EMA) of ranges.

        low <- decay · low + (1 - decay) · min(batch),
        read as low / (1 - decay**batches)

    A batch without rows leaves the state as it was. The order of batches matters: two
    merged halves do not read as one pass over both.

    Args:
      spec: what the range is for; None for any format. For an odd one the range is that
        of the largest magnitude on both sides.
      axis: the axes whose entries share a range; None for all of them.
      decay: weight of the past, in [0, 1).

    Returns:
      Observer whose reading is a `Range` of float32, of size 1 along `axis`, of
      shape () without one; merges by sum: two shards count alike.

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> observer = jc.quantize.ranges.moving_average(decay=0.5)
      >>> state = observer.init(jnp.ones(2))
      >>> for batch in (jnp.array([0.0, 1.0]), jnp.array([0.0, 4.0])):
      ...     state = observer.update(batch, state)
      >>> float(observer.read(state).high)
      3.0

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.1. Differs: started at zero
    and divided by its weight, as Adam does, so that the first batch is not
    over-weighted.
    """
    check_scope("moving_average", spec, axis)
    check_range("moving_average", "decay", decay, 0, 1)

    def init(x):
        zero = jnp.zeros(unknown(x, axis).low.shape, jnp.float32)
        return AverageState(zero, zero, jnp.zeros((), jnp.float32))

    def update(x, state):
        if x.size == 0:
            return state
        batch = AverageState(*extremes(x, spec, axis), jnp.ones((), jnp.float32))
        return jax.tree.map(lambda past, now: decay * past + (1 - decay) * now, state, batch)

    def read(state):
        # A state may be stacked: (stack…) weights beside (stack…, blocks…) ranges.
        weight = state.weight.reshape(
            state.weight.shape + (1,) * (state.low.ndim - state.weight.ndim)
        )
        seen = weight > 0
        weight = jnp.where(seen, weight, 1.0)
        return Range(
            jnp.where(seen, state.low / weight, jnp.inf),
            jnp.where(seen, state.high / weight, -jnp.inf),
        )

    def merge(first, second):
        return jax.tree.map(jnp.add, first, second)

    return Observer(init, update, read, merge)
