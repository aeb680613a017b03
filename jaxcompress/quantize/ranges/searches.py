"""The search of the range that costs least, among shrunken copies of the whole one."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.coding import decode, encode
from jaxcompress.core.formats.grids import covered, grid, within
from jaxcompress.core.formats.scales import SMALLEST_SCALE, Fixed, Float32
from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.estimator import Axis, extremes
from jaxcompress.quantize.ranges.histograms import Counts, numbers, observed

FACTORS = np.linspace(1.0, 0.01, 100, dtype=np.float32)
"""How far a range may shrink, the widest first: among equals it wins."""

Loss = Callable[[Array, Array], Array]
"""(error, clipped) -> what one number costs. Errors are in units of the block's largest
number; clipped says which numbers lie outside the range."""


def least_loss(spec: QuantSpec, axis: Axis, loss: Loss) -> Observer:
    """An observer of the range whose rounding costs least, summed over the numbers."""

    def of_array(x: Array, shared: tuple[int, ...]) -> Range:
        found = extremes(x, spec, shared)
        return _searched(x, jnp.ones((), jnp.float32), found, shared, spec, loss)

    def of_counts(state: Counts) -> Range:
        whole = jax.tree.map(lambda end: end[..., None], state.range)
        found = _searched(*numbers(state), whole, (-1,), spec, loss)
        return jax.tree.map(lambda end: end[..., 0], found)

    return observed(spec, axis, of_array, of_counts)


def shrunk(
    cost: Callable[[Range], Array],
    whole: Range,
    copy: Callable[[Range, Array], Range],
    factors: np.ndarray = FACTORS,
) -> Range:
    """The copy of a range that costs least; the range itself where no cost is a number.

    Args:
      cost: of a range, of the shape of its ends.
      whole: the range to begin with.
      copy: (range, factor) -> a smaller one.
      factors: of the copies, first those that win among equals.
    """

    def step(best, factor):
        least, found = best
        smaller = copy(whole, factor)
        now = cost(smaller)
        better = now < least  # never where the cost is NaN
        found = jax.tree.map(lambda new, old: jnp.where(better, new, old), smaller, found)
        return (jnp.where(better, now, least), found), None

    # Infinity, but NaN where the range is not finite or unknown.
    start = jnp.inf + 0.0 * (whole.low + whole.high)
    (_, found), _ = jax.lax.scan(step, (start, whole), jnp.asarray(factors))
    return found


def both_ends(whole: Range, factor: Array) -> Range:
    """The range with both ends drawn towards zero."""
    return Range(whole.low * factor, whole.high * factor)


def _low_end(whole: Range, factor: Array) -> Range:
    return Range(whole.low * factor, whole.high)


def _high_end(whole: Range, factor: Array) -> Range:
    return Range(whole.low, whole.high * factor)


def with_exact_scales(spec: QuantSpec) -> QuantSpec:
    """The format with scales of two levels as float32."""
    return dataclasses.replace(spec, scales=Float32()) if spec.scales.two_levels else spec


def _searched(
    x: Array, counts: Array, whole: Range, axis: tuple[int, ...], spec: QuantSpec, loss: Loss
) -> Range:
    """The range of least loss, by the spec's own rounding of codes and scales.

    A second scale is that of a whole leaf, which no range of a block knows: there the
    scale counts as exact.
    """
    if isinstance(spec.scales, Fixed):
        return whole
    spec = with_exact_scales(spec)
    # In quarters of the largest number, whose reciprocal is no subnormal number.
    largest = jnp.maximum(-whole.low, whole.high) * 0.25
    unit = 1.0 / jnp.maximum(largest, SMALLEST_SCALE)

    def cost(found: Range) -> Array:
        cover = covered(found, spec)
        on = grid(cover, spec)
        error = (decode(encode(x, on, spec), on, spec) - x) * 0.25 * unit
        total = counts * loss(error, ~within(x, cover))
        return jnp.sum(total, axis, keepdims=True)

    found = shrunk(cost, whole, both_ends)
    if spec.symmetric:
        return found
    return shrunk(cost, shrunk(cost, found, _high_end), _low_end)
