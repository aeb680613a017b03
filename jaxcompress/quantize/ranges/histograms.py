"""A histogram whose bins are read off a float's own bits, so that no range is needed.

A bin holds the floats that agree in sign, exponent and the first bits of the fraction.
All data fall into the same bins, so batches and devices merge by sums of integers,
exactly and in any grouping. What is searched is searched on it as on numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.observers import Observer, Range
from jaxcompress.core.sharding import with_whole_results
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array
from jaxcompress.quantize.ranges.estimator import Axis, extremes, unknown

MOST = 2**31 - 1
"""Where the count of a bin stands still."""

SMALLEST = float(np.finfo(np.float32).tiny)

FRACTION = 23
"""Bits of fraction of a float32."""

FINEST = 7
"""Bits of fraction of the parts that a bin is cut into where it is read: bfloat16's."""

BINADES = 16
"""How many powers of two below the largest number are told apart where errors are."""


class Counts(NamedTuple):
    """How many numbers fell into each bin, and the extremes.

    Attributes:
      counts: (blocks…, bins) int32, from the lowest bin to the highest; a count stops
        at `MOST`, so that of more numbers in one bin none is told.
      range: the smallest and the largest number, of the shape of the blocks.
    """

    counts: Array
    range: Range


def observed(
    spec: QuantSpec | None,
    axis: Axis,
    of_array: Callable[[Array, tuple[int, ...]], Range],
    of_counts: Callable[[Counts], Range],
) -> Observer:
    """An observer that counts, and reads a range from one array exactly.

    Args:
      spec: what the range is for; None for any format.
      axis: the axes whose entries share a range; None for all of them.
      of_array: (real float32 array, axes that share) to a range of size 1 along these.
      of_counts: the state to a range of the shape of its own; its axes may be stacked.
    """
    # One range: 256 KB of counts. A range for each channel: 32 KB, an eighth as fine.
    bits = FINEST if axis is None else FINEST - 3

    def init(x):
        fresh = unknown(x, axis)
        return Counts(jnp.zeros((*fresh.low.shape, 512 << bits), jnp.int32), fresh)

    def update(x, state):
        return merge(state, Counts(_counted(x, axis, bits), extremes(x, spec, axis)))

    def merge(first, second):
        counts = first.counts + jnp.minimum(second.counts, MOST - first.counts)
        return Counts(counts, _widest(first.range, second.range))

    def alone(x):
        values, shared = real_parts(x, axis)
        found = of_array(values, shared)
        shape = jax.eval_shape(lambda x: unknown(x, axis), x).low.shape
        return jax.tree.map(lambda end: end.reshape(shape), found)

    def read(state):
        return state if isinstance(state, Range) else of_counts(state)

    return Observer(init, update, read, merge, alone)


def real_parts(x: Array, axis: Axis) -> tuple[Array, tuple[int, ...]]:
    """(…) float32 and the axes that share; the parts of complex numbers lie last."""
    axes = range(x.ndim) if axis is None else axis
    shared = tuple(each % x.ndim for each in axes)
    if jnp.iscomplexobj(x):
        parts = jnp.stack([x.real, x.imag], axis=-1)
        return parts.astype(jnp.float32), (*shared, x.ndim)
    return x.astype(jnp.float32), shared


def _widest(first: Range, second: Range) -> Range:
    return Range(jnp.minimum(first.low, second.low), jnp.maximum(first.high, second.high))


def _counted(x: Array, axis: Axis, bits: int) -> Array:
    """How many of an array's numbers are in each bin, (blocks…, bins) int32."""
    values, shared = real_parts(x, axis)
    whole = tuple(1 if each in shared else size for each, size in enumerate(values.shape))
    blocks = np.arange(int(np.prod(whole)), dtype=np.int32).reshape(whole)
    bins = 512 << bits

    def counts(values):
        place = jnp.asarray(blocks * bins) + bin_of(values, bits)
        total = jnp.zeros(blocks.size * bins, jnp.int32)
        return total.at[place.reshape(-1)].add(1)

    shape = jax.eval_shape(lambda x: unknown(x, axis), x).low.shape
    return with_whole_results(counts, values).reshape(*shape, bins)


def bin_of(x: Array, bits: int) -> Array:
    """Which bin each number is in, ascending with it, int32 in [0, 512 << bits)."""
    magnitude, middle = jnp.abs(x), 256 << bits
    # Subnormal numbers are zero to XLA, whose bits are not.
    magnitude = jnp.where(magnitude < SMALLEST, 0, _top_bits(magnitude, bits))
    return jnp.where(x < 0, middle - 1 - magnitude, middle + magnitude)


def _top_bits(magnitude: Array, bits: int) -> Array:
    return jax.lax.bitcast_convert_type(magnitude, jnp.int32) >> (FRACTION - bits)


def fraction_bits(state: Counts) -> int:
    """How many bits of the fraction tell bins apart."""
    return state.counts.shape[-1].bit_length() - 10


def edge(index: Array, bits: int) -> Array:
    """The number where bins of magnitudes begin, float32; the largest one at the end.

    Args:
      index: int32, counted from zero up; below zero the mirror image.
      bits: of the fraction.
    """
    # The next exponent is that of infinity.
    magnitude = jnp.minimum(jnp.abs(index) << (FRACTION - bits), 0x7F7FFFFF)
    value = jax.lax.bitcast_convert_type(magnitude, jnp.float32)
    return jnp.where(index < 0, -value, value)


def numbers(state: Counts) -> tuple[Array, Array]:
    """Numbers that stand for all that was counted, and how many each stands for.

    The numbers of a bin count as spread evenly over it. Below the largest magnitude
    `BINADES` powers of two are told apart; what is less counts as zero.

    Returns:
      (values, counts): both (blocks…, number) float32.
    """
    bits = fraction_bits(state)
    largest = jnp.maximum(-state.range.low, state.range.high)
    exponent = _top_bits(jnp.where(largest > 0, largest, 0.0), 0)[..., None]  # (blocks…, 1)
    first = (exponent - (BINADES - 1)) << bits
    bins = first + np.arange(BINADES << bits, dtype=np.int32).reshape(_as_last(first))
    middle = 256 << bits
    sides = [
        jnp.where(bins < 0, 0, jnp.take_along_axis(state.counts, index, -1, mode="clip"))
        for index in (middle + bins, middle - 1 - bins)
    ]
    # Each bin in `parts`; a bin's numbers are a golden section apart, since a multiple
    # of the step would hit each level at the same place.
    parts = 1 << (FINEST - bits)
    index = np.arange(BINADES << FINEST)
    within = (index + (index + 0.5) * 0.6180339887498949 % 1) / 2**FINEST
    relative = np.exp2(np.floor(within)) * (1 + within % 1) * 2.0 ** (1 - BINADES)
    unit = jax.lax.bitcast_convert_type(exponent << FRACTION, jnp.float32)
    magnitudes = unit * relative.astype(np.float32).reshape(_as_last(unit))
    shares = [jnp.repeat(side.astype(jnp.float32) / parts, parts, axis=-1) for side in sides]
    total = jnp.sum(state.counts.astype(jnp.float32), axis=-1, keepdims=True)
    seen = sum(jnp.sum(side.astype(jnp.float32), axis=-1, keepdims=True) for side in sides)
    values = jnp.concatenate([magnitudes, -magnitudes, jnp.zeros_like(unit)], axis=-1)
    low, high = (end[..., None] for end in state.range)
    return (
        jnp.minimum(jnp.maximum(values, low), high),
        jnp.concatenate([*shares, jnp.maximum(total - seen, 0.0)], axis=-1),
    )


def _as_last(like: Array) -> tuple[int, ...]:
    """The shape of one axis behind all others of `like`."""
    return (*(1,) * (like.ndim - 1), -1)
