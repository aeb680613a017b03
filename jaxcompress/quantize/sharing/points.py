"""Numbers in order, with sums over any run of them, for k-means on a line."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.types import Array

_SMALLEST_UNIT, _LARGEST_UNIT = 2.0**-126, 2.0**126
"""Powers of two whose reciprocals are normal numbers, too."""


_BITS = 28
"""What is summed is a whole number of 2**-28, so that sums are exact in any order."""


class Sums(NamedTuple):
    """Running sums from the first entry on, exact, of numbers with magnitudes below 4.

    The difference of two running sums of floats would be off by the rounding of the
    whole, which for a short run of a million entries is all of it; and compilers drop
    the terms by which floats are compensated. So numbers are rounded to 2**-28 and
    their digits summed as integers, in as wide digits as no sum overflows.

    Attributes:
      digits: (digits, blocks, entries + 1) int32, those of the lowest value first, all
        with the sign of their number.
    """

    digits: Array

    def between(self, begin: Array, end: Array) -> Array:
        """The sum of the entries from `begin` up to `end`, float32.

        Args:
          begin: (blocks, runs) int32.
          end: of the same shape, at least `begin`.
        """
        width = _width(self.digits.shape[-1] - 1)
        total = jnp.zeros(end.shape, jnp.float32)
        for place, sums in enumerate(self.digits):
            digit = _at(sums, end) - _at(sums, begin)
            total = total + digit.astype(jnp.float32) * 2.0 ** (width * place - _BITS)
        return total

    @property
    def running(self) -> Array:
        """All sums from the first entry on, (blocks, entries + 1) float32."""
        blocks, entries = self.digits.shape[1:]
        ends = jnp.broadcast_to(jnp.arange(entries), (blocks, entries))
        return self.between(jnp.zeros_like(ends), ends)


class Points(NamedTuple):
    """The numbers of each block in ascending order, and what they weigh.

    Attributes:
      values: (blocks, entries) float32 with magnitudes below 4; 0 for what takes no
        part.
      weights: (blocks, entries) float32 in [0, 1], 0 for what takes no part.
      mass: sums of weights.
      moment: sums of weights times values.
      unit: (blocks, 1) float32, the power of two that values are in units of.
    """

    values: Array
    weights: Array
    mass: Sums
    moment: Sums
    unit: Array

    def runs(self, levels: Array) -> Array:
        """Where the entries nearest to each level begin and end, (blocks, levels + 1).

        Those in the middle of two levels go to the lower one, as they do in `nearest`
        of a codebook.

        Args:
          levels: (blocks, levels) ascending.
        """
        middles = levels[:, 1:] / 2 + levels[:, :-1] / 2
        ends = jax.vmap(lambda x, at: jnp.searchsorted(x, at, side="right"))(self.values, middles)
        ends = ends.astype(jnp.int32)
        first = jnp.zeros_like(ends, shape=(len(ends), 1))
        return jnp.concatenate([first, ends, first + self.values.shape[1]], axis=1)

    def at(self, index: Array) -> Array:
        """The values at places in the order, clipped to those that there are."""
        return _at(self.values, jnp.clip(index, 0, self.values.shape[1] - 1))


def points(blocks: Array, importance: Array) -> Points:
    """The numbers of each block in order.

    Zeros take no part, nor does what has less than 2**-29 of the largest importance of
    its block. A block in which nothing has any counts its numbers alike.

    Args:
      blocks: (blocks, entries) float32, finite.
      importance: of the same shape, at least 0.

    Returns:
      Points.

    Example:
      >>> found = points(jnp.array([[3.0, 0.0, -1.0]]), jnp.ones((1, 3)))
      >>> (found.values * found.unit).tolist(), found.weights.tolist()
      ([[-1.0, 0.0, 3.0]], [[1.0, 0.0, 1.0]])
    """
    alive = blocks != 0
    importance = jnp.where(alive, importance, 0.0)
    most = jnp.max(importance, axis=1, keepdims=True)
    weights = jnp.where(
        most > 0, importance / jnp.where(most > 0, most, 1.0), alive.astype(jnp.float32)
    )
    weights = jnp.where(weights * 2.0**_BITS < 0.5, 0.0, weights)
    largest = jnp.max(jnp.abs(blocks), axis=1, keepdims=True)
    unit = unit_of(largest)
    values = jnp.where(weights > 0, blocks / unit, 0.0)
    values, weights = jax.lax.sort((values, weights), dimension=1, num_keys=1)
    return Points(values, weights, _sums(weights), _sums(weights * values), unit)


def _sums(x: Array) -> Sums:
    """The running sums of (blocks, entries) in (-4, 4)."""
    width = _width(x.shape[1])
    whole = jnp.round(jnp.abs(x) * 2.0**_BITS).astype(jnp.int32)
    digits = [whole >> low & (2**width - 1) for low in range(0, _BITS + 2, width)]
    signed = jnp.where(x < 0, -1, 1)[None] * jnp.stack(digits)
    return Sums(jnp.pad(jnp.cumsum(signed, axis=2), ((0, 0), (0, 0), (1, 0))))


def _width(entries: int) -> int:
    """The most bits of a digit whose sum over all entries stays below 2**31."""
    return 31 - max(entries - 1, 1).bit_length()


def _at(x: Array, index: Array) -> Array:
    return jnp.take_along_axis(x, index, axis=1)


def unit_of(largest: Array) -> Array:
    """The power of two that numbers of such magnitudes, float32, are below 2 in.

    Example:
      >>> unit_of(jnp.array([0.0, 3.0, 4.0])).tolist()
      [1.1754943508222875e-38, 2.0, 4.0]
    """
    bits = jax.lax.bitcast_convert_type(largest, jnp.uint32) & jnp.uint32(0x7F800000)
    power = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return jnp.clip(power, _SMALLEST_UNIT, _LARGEST_UNIT)
