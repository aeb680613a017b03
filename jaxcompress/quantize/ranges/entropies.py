"""Ranges that lose the least information, by the divergence of two histograms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.grids import covered, grid, within
from jaxcompress.core.formats.scales import SMALLEST_SCALE, Fixed
from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.sharding import gathered, with_whole_results
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.estimator import Axis, check_format, extremes
from jaxcompress.quantize.ranges.histograms import (
    MOST,
    Counts,
    bin_of,
    edge,
    observed,
)
from jaxcompress.quantize.ranges.searches import FACTORS, both_ends, shrunk, with_exact_scales

BINS = 2048
"""Bins of equal width between the ends of the whole range."""

SMOOTHING = 1e-4
"""Share of a distribution that is spread evenly, so that no bin is empty."""


def entropy(spec: QuantSpec | None, axis: Axis = None) -> Observer:
    """Searches for the range whose codes tell most about the distribution of the data.

    Not for: blocks of few numbers, which have no distribution, such as groups of
    weights; `mean_squared_error` searches those.

    Numbers inside are counted in 2048 bins of the whole range: P, to whose outermost
    bins what is clipped is added. Q has the mean of the bins of each code in place of
    each that is not empty, and nothing of what is clipped.

        range = argmin over f of Σ P log(P / Q),   f = 1, 0.99, …

    Also known as: KL calibration, TensorRT's entropy calibration. Each block takes a
    pass over its bins for each f. Zeros, which are exact in every range, are left out.
    Data over batches are counted in bins of 0.8 % (with `axis` 6 %) of a number, of
    2**31 - 1 numbers each, which merge exactly and are spread over bins of equal width.

    Args:
      spec: the format whose codes tell; never None.
      axis: the axes whose entries share a range; None for all of them.

    Returns:
      Observer whose reading is a `Range` of float32, of size 1 along `axis`, of
      shape () without one.

    Raises:
      TypeError: `spec` is no format.

    Example:
      >>> observer = jc.quantize.ranges.entropy(jc.quantize.int4())
      >>> x = jnp.append(jnp.linspace(-1.0, 1.0, 4001) ** 3, 8.0)
      >>> float(observer.read(observer.alone(x)).high) < 2.0
      True

    Source: Migacz 2017, "8-bit Inference with TensorRT", GTC S7310. Differs: at most a
    hundred ranges are tried, from as many bins as codes on; bins belong to the code
    that their middle rounds to, in any format; both distributions are smoothed alike.
    """
    known = check_format("entropy", spec, axis)
    if isinstance(known.scales, Fixed):
        return observed(
            spec, axis, lambda x, shared: extremes(x, spec, shared), lambda state: state.range
        )
    exact = with_exact_scales(known)
    return observed(
        spec,
        axis,
        lambda x, shared: _of_array(x, shared, known, exact),
        lambda state: _of_counts(state, exact),
    )


# One program each for a shape and a format, not one for each operation.
@functools.partial(jax.jit, static_argnums=(1, 2, 3), inline=True)
def _of_array(x: Array, shared: tuple[int, ...], spec: QuantSpec, exact: QuantSpec) -> Range:
    """The range of all numbers of an array that share one."""
    whole = extremes(x, spec, shared)
    flat = with_whole_results(lambda x: _rows(x, shared), x)  # (blocks, numbers)
    ends = _flat(whole)
    edges = _edges(ends, exact)
    width = edges[:, 1:2] - edges[:, :1]
    values = jnp.abs(flat) if exact.odd else flat
    place = jnp.clip(jnp.floor((values - edges[:, :1]) / width), 0, BINS - 1)
    real = (flat != 0).astype(jnp.float32)
    counts = jax.vmap(lambda place, real: jnp.zeros_like(real, shape=BINS).at[place].add(real))
    return _searched(counts(place.astype(jnp.int32), real), edges, ends, whole, exact)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _of_counts(state: Counts, spec: QuantSpec) -> Range:
    """The range of the numbers that were counted."""
    ends = _flat(state.range)
    edges = _edges(ends, spec)
    counts = gathered(state.counts).reshape(-1, state.counts.shape[-1])
    # No entry of an explicit mesh's array can be set where no `jit` has the mesh.
    spread = with_whole_results(lambda counts, edges: _spread(counts, edges, spec), counts, edges)
    return _searched(spread, edges, ends, state.range, spec)


def divergence(counts: Array, middles: Array, found: Range, spec: QuantSpec) -> Array:
    """Σ P log(P / Q) of one range, (1,) float32.

    Args:
      counts: (bins,) float32.
      middles: (bins,) float32, ascending.
      found: the range, of shape (1,).
      spec: the format, of one level of scales.
    """
    cover = covered(found, spec)
    inside = within(middles, cover)
    codes = encode(middles, grid(cover, spec), spec).astype(jnp.int32) - spec.lowest
    seen = jnp.where(inside, counts, 0.0)
    levels = jnp.zeros(spec.highest - spec.lowest + 1, jnp.float32)
    total = levels.at[codes].add(seen)
    filled = levels.at[codes].add((seen > 0).astype(jnp.float32))
    coarse = jnp.where(seen > 0, (total / jnp.maximum(filled, 1.0))[codes], 0.0)
    index = np.arange(len(middles), dtype=np.int32)
    first, after = (jnp.argmax(each).astype(jnp.int32) for each in (inside, jnp.flip(inside)))
    last = len(middles) - 1 - after
    low, high = (
        jnp.sum(jnp.where(beyond, counts, 0.0)) for beyond in (index < first, index > last)
    )
    fine = seen + jnp.where(index == first, low, 0.0) + jnp.where(index == last, high, 0.0)
    fine, coarse = (_smoothed(each, inside) for each in (fine, coarse))
    terms = fine * jnp.log(jnp.where(inside, fine / coarse, 1.0))
    return jnp.sum(terms, keepdims=True)


def _smoothed(counts: Array, inside: Array) -> Array:
    share = counts / jnp.maximum(jnp.sum(counts), 1.0)
    evenly = jnp.where(inside, 1.0 / jnp.sum(inside, dtype=jnp.float32), 0.0)
    return (1 - SMOOTHING) * share + SMOOTHING * evenly


def _searched(counts: Array, edges: Array, ends: Range, whole: Range, spec: QuantSpec) -> Range:
    """The range of least divergence of each block, of the shape of `whole`."""
    codes = spec.highest + 1 if spec.odd else spec.highest - spec.lowest + 1
    factors = FACTORS[codes / BINS <= FACTORS]

    def one(block):
        counts, edges, ends = block
        middles = edges[:-1] / 2 + edges[1:] / 2
        return shrunk(
            lambda found: divergence(counts, middles, found, spec), ends, both_ends, factors
        )

    found = jax.lax.map(one, (counts, edges, ends))
    return jax.tree.map(lambda end: end.reshape(whole.low.shape), found)


def _edges(ends: Range, spec: QuantSpec) -> Array:
    """(blocks, BINS + 1) float32, evenly from end to end; from zero of magnitudes."""
    cover = covered(ends, spec)
    low = jnp.zeros_like(cover.low) if spec.odd else cover.low
    step = cover.high / BINS - low / BINS
    return low + step * np.arange(BINS + 1, dtype=np.float32)[None]


def _spread(counts: Array, edges: Array, spec: QuantSpec) -> Array:
    """Counts by bits as counts between edges, each bin's numbers spread evenly."""
    bits = counts.shape[-1].bit_length() - 10
    middle = 256 << bits
    counts = counts.at[:, middle - 1 : middle + 1].set(0)  # zeros, and what counts as such
    if spec.odd:
        negative, positive = jnp.flip(counts[:, :middle], -1), counts[:, middle:]
        counts = positive + jnp.minimum(negative, MOST - positive)
        middle = 0
    place = bin_of(edges, bits) - ((256 << bits) - middle)
    lower, upper = (edge(place - middle + step, bits) for step in (0, 1))
    # Differences of whole sums are exact, though the sums may wrap.
    below = jnp.take_along_axis(jnp.cumsum(counts, -1) - counts, place, -1)
    share = (edges - lower) / jnp.maximum(upper - lower, SMALLEST_SCALE)  # 0 / 0 at zero
    part = jnp.take_along_axis(counts, place, -1).astype(jnp.float32) * share
    return jnp.diff(below, axis=-1).astype(jnp.float32) + jnp.diff(part, axis=-1)


def _rows(x: Array, shared: tuple[int, ...]) -> Array:
    """(blocks, numbers): the axes that share behind all others, and flat."""
    others = [axis for axis in range(x.ndim) if axis not in shared]
    count = int(np.prod([x.shape[axis] for axis in others]))
    return jnp.transpose(x, (*others, *shared)).reshape(count, -1)


def _flat(whole: Range) -> Range:
    return jax.tree.map(lambda end: gathered(end).reshape(-1, 1), whole)
