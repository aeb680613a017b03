"""Ranges that hold everything: the smallest and the largest value."""

import jax.numpy as jnp

from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize.ranges.estimator import Axis, check_scope, extremes, unknown


def min_max(spec: QuantSpec | None = None, axis: Axis = None) -> Observer:
    """Observes the smallest and the largest value: nothing is clipped.

    Not for: 4 bits and fewer, for which `mean_squared_error` clips, or data with
    outliers, which `percentile` leaves out.

    Also known as: absmax calibration.

    Args:
      spec: what the range is for; None for any format. For an odd one the range is that
        of the largest magnitude on both sides.
      axis: the axes whose entries share a range; None for all of them.

    Returns:
      Observer whose reading is a `Range` of float32, of size 1 along `axis`, of
      shape () without one; merges by minimum and maximum, exactly.

    Example:
      >>> observer = jc.quantize.ranges.min_max()
      >>> state = observer.update(jnp.array([-1.0, 3.0]), observer.init(jnp.ones(2)))
      >>> float(observer.read(state).low), float(observer.read(state).high)
      (-1.0, 3.0)
    """
    check_scope("min_max", spec, axis)

    def init(x):
        return unknown(x, axis)

    def update(x, state):
        return merge(state, extremes(x, spec, axis))

    def merge(first, second):
        return Range(jnp.minimum(first.low, second.low), jnp.maximum(first.high, second.high))

    return Observer(init, update, lambda state: state, merge)
