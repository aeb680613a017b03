"""Ranges that hold a share of the numbers, and clip the outermost."""

import math

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_share
from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.estimator import Axis, check_scope, extremes
from jaxcompress.quantize.ranges.histograms import MOST, Counts, edge, fraction_bits, observed


def percentile(
    spec: QuantSpec | None = None, axis: Axis = None, *, kept: float = 0.9999
) -> Observer:
    """Observes the range that holds a share of the numbers.

    Not for: weights in few bits, where how much to clip depends on the format;
    `mean_squared_error` weighs clipping against rounding.

    Robust where single numbers stand out, however far. Of an odd format the share is
    one of magnitudes; else as much is clipped below as above.

        high = the least number that a share (1 + kept) / 2 of all does not exceed;
        of an odd format the least magnitude that a share kept does not exceed

    Also known as: percentile calibration, quantile clipping. One array, as a block of a
    weight, is ranked exactly. Data over batches are counted in bins of 0.8 % (with
    `axis` 6 %) of a number, 2**31 - 1 numbers each, within which the range is
    interpolated; counts merge exactly. Zeros of padding count as numbers.

    Args:
      spec: what the range is for; None for any format.
      axis: the axes whose entries share a range; None for all of them.
      kept: share of the numbers inside, in [0, 1]; at 1 this is `min_max`.

    Returns:
      Observer whose reading is a `Range` of float32, of size 1 along `axis`, of
      shape () without one.

    Raises:
      ValueError: `kept` is outside [0, 1].

    Example:
      >>> observer = jc.quantize.ranges.percentile(jc.quantize.int8(), kept=0.75)
      >>> found = observer.read(observer.alone(jnp.array([1.0, -2.0, 3.0, 1e6])))
      >>> float(found.low), float(found.high)
      (-3.0, 3.0)

    Source: Wu et al. 2020, arXiv:2004.09602, section 3.3. Differs: with a zero point
    both tails are clipped.
    """
    check_scope("percentile", spec, axis)
    check_share("percentile", "kept", kept)
    kept = float(kept)
    odd = spec is not None and spec.odd

    def of_array(x: Array, shared: tuple[int, ...]) -> Range:
        whole = extremes(x, spec, shared)
        count = math.prod(x.shape[each] for each in shared)
        if odd:
            high = _ranked(jnp.abs(x), shared, max(1, math.ceil(kept * count)))
            return _where_known(whole, Range(-high, high))
        rank = math.ceil((1 + kept) / 2 * count)
        found = Range(-_ranked(-x, shared, rank), _ranked(x, shared, rank))
        return _where_known(whole, found)

    def of_counts(state: Counts) -> Range:
        bits = fraction_bits(state)
        counts = state.counts.astype(jnp.float32)
        if odd:
            negative, positive = jnp.split(counts, 2, axis=-1)
            high = _quantile(positive + jnp.flip(negative, -1), 0, 1 - kept, bits)
            return _where_known(state.range, Range(-high, high))
        clipped, begin = (1 - kept) / 2, -(256 << bits)
        high = _quantile(counts, begin, clipped, bits)
        low = -_quantile(jnp.flip(counts, -1), begin, clipped, bits)
        return _where_known(state.range, Range(low, high))

    return observed(spec, axis, of_array, of_counts)


def _where_known(whole: Range, found: Range) -> Range:
    """What was found inside the extremes, which stay where they are no numbers."""
    known = whole.low <= whole.high
    low, high = (jnp.clip(end, whole.low, whole.high) for end in found)
    return Range(jnp.where(known, low, whole.low), jnp.where(known, high, whole.high))


def _ranked(x: Array, shared: tuple[int, ...], rank: int) -> Array:
    """The number of this rank from 1 on, ascending, of size 1 along axes that share.

    By halving an interval of the floats' own bits: 32 passes that only count, where a
    sort moves all numbers, and none stays sharded.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    keys = jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # in the order of the floats

    def halve(_, ends):
        low, high = ends
        middle = (low & high) + ((low ^ high) >> 1)  # rounded down, without overflow
        enough = jnp.sum(keys <= middle, shared, dtype=jnp.int32, keepdims=True) >= rank
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    zero = jnp.zeros_like(jnp.sum(keys, shared, dtype=jnp.int32, keepdims=True))
    _, found = jax.lax.fori_loop(0, 32, halve, (~(zero + MOST), zero + MOST))
    return jax.lax.bitcast_convert_type(
        jnp.where(found < 0, found ^ 0x7FFFFFFF, found), jnp.float32
    )


def _quantile(counts: Array, begin: int, above: float, bits: int) -> Array:
    """The number that a share of all lies above, (blocks…) float32.

    Args:
      counts: (blocks…, bins) float32, ascending with the numbers.
      begin: the first bin, as `edge` counts.
      above: the share.
      bits: of the fraction.
    """
    # Summed from above, where there are few, so that float32 holds these exactly.
    tail = jnp.flip(jnp.cumsum(jnp.flip(counts, -1), axis=-1), -1)
    beyond = above * tail[..., :1]
    last = jnp.maximum(jnp.sum(tail > beyond, axis=-1, dtype=jnp.int32) - 1, 0)[..., None]
    tail, here = (jnp.take_along_axis(each, last, axis=-1) for each in (tail, counts))
    lower, upper = (edge(last + begin + step, bits) for step in (0, 1))
    share = (tail - beyond) / jnp.maximum(here, 1.0)
    return (lower + share * (upper - lower))[..., 0]
