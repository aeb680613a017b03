"""Levels as shares of a block's largest magnitude, finer where none is below zero.

The moments of an optimizer are such blocks. Numbers of both signs have half the codes
for each sign, so levels come in two finenesses, chosen block by block. Where levels are
piecewise linear and concave, the position of a number among the codes is the least of a
few straight lines, the value of a code the greatest of their inverses; where codes are
small floats, both are read off the bits of a large one. No table, no search, no gather:
an update is as long as these take.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.floats import FP8_E4M3
from jaxcompress.core.types import Array


class Signs(NamedTuple):
    """Of each block, whether it holds a number below 0, and what follows from that.

    Each is (blocks, 1), to broadcast against the entries of a block.

    Attributes:
      both: bool, whether codes stand for numbers of both signs.
      center: float32, the code that stands for 0.
      highest: float32, how many codes lie above it.
    """

    both: Array
    center: Array
    highest: Array


@dataclasses.dataclass(frozen=True)
class EvenSteps:
    """A map of equal steps between 0 and 1.

    Invariants:
      - `signed` and `unsigned` are the highest code numbers of a block with negative
        numbers and of one without.
      - `position` takes numbers in [-1, 1] to where they lie among the codes, a float;
        `value` takes code numbers, as floats, to [-1, 1]. Both are odd.
      - The value of the highest code is 1, whatever it is multiplied by later.
    """

    signed: int
    unsigned: int

    def position(self, shares: Array, signs: Signs) -> Array:
        return shares * signs.highest

    def value(self, codes: Array, signs: Signs) -> Array:
        inside = jnp.abs(codes) < signs.highest
        return jnp.where(inside, codes * (1 / signs.highest), jnp.clip(codes, -1.0, 1.0))


@dataclasses.dataclass(frozen=True)
class Decades:
    """The dynamic map of 7 bits beside a sign, or of 8: lines between powers of ten.

    Seven bits have 2**k codes in the k-th decade above 1e-6, and one code below. Eight
    bits have twice as many in each: code 2 · c + 1 where seven have c. Below 1e-6 they
    go on with a decade of 2 codes and one of 1. So both are the same six lines, and two
    more. Members are those of `EvenSteps`.
    """

    signed: int = 127
    unsigned: int = 255

    def position(self, shares: Array, signs: Signs) -> Array:
        return _odd(functools.partial(self._position, signs=signs), shares)

    def value(self, codes: Array, signs: Signs) -> Array:
        return _odd(functools.partial(self._value, signs=signs), codes)

    def _position(self, shares: Array, signs: Signs) -> Array:
        upper = _least(
            shares * (2**k / (0.9 * decade)) + (2 ** (k + 1) - 1 - 2**k / 0.9)
            for k, decade in _DECADES
        )
        twice, one_more = jnp.where(signs.both, 1.0, 2.0), jnp.where(signs.both, 0.0, 1.0)
        # From (0, 0) to (1e-6, 1); or to (1e-7, 1), and from there to (1e-6, 3).
        lowest = shares * jnp.where(signs.both, 1e6, 1e7)
        low = shares * jnp.where(signs.both, 1e6, 2 / 9e-7) + one_more * (7 / 9)
        return _least((upper * twice + one_more, low, lowest))

    def _value(self, codes: Array, signs: Signs) -> Array:
        of_seven = jnp.where(signs.both, codes, (codes - 1) * 0.5)
        # From each line's upper end, where the value is exact; the lowest from 0.
        upper = (
            decade - (2 ** (k + 1) - 1 - of_seven) * (0.9 * decade / 2**k) for k, decade in _DECADES
        )
        below = jnp.where(signs.both, 1.0, 3.0) - codes
        low = 1e-6 - below * jnp.where(signs.both, 1e-6, 4.5e-7)
        return _most((codes * jnp.where(signs.both, 1e-6, 1e-7), low, *upper))


_DECADES = tuple((k, 10.0 ** (k - 6)) for k in range(1, 7))
"""How many bits of fraction a decade has in 7 bits, and its upper end."""


def _odd(function: Callable[[Array], Array], x: Array) -> Array:
    """A function of magnitudes, with the sign of x."""
    magnitude = function(jnp.abs(x))
    return jnp.where(x < 0, -magnitude, magnitude)


def _least(lines: Iterable[Array]) -> Array:
    # Not `minimum` and `maximum`: what they do for NaN takes as long as the lines.
    return functools.reduce(lambda least, line: jnp.where(line < least, line, least), lines)


def _most(lines: Iterable[Array]) -> Array:
    return functools.reduce(lambda most, line: jnp.where(line > most, line, most), lines)


@dataclasses.dataclass(frozen=True)
class SmallFloats:
    """The floats of e4m3 from 0 to 448, as shares of 448; the same for both finenesses.

    Members are those of `EvenSteps`.
    """

    signed: int = FP8_E4M3.highest
    unsigned: int = FP8_E4M3.highest

    def position(self, shares: Array, signs: Signs) -> Array:
        del signs
        return FP8_E4M3.position(shares * np.float32(FP8_E4M3.ends[1]))

    def value(self, codes: Array, signs: Signs) -> Array:
        del signs
        shares = FP8_E4M3.value(codes) * np.float32(1 / FP8_E4M3.ends[1])
        # By name: XLA may gather the factors of a product as it likes.
        return jnp.where(jnp.abs(codes) < self.signed, shares, jnp.clip(codes, -1.0, 1.0))


Shares = EvenSteps | Decades | SmallFloats
"""What `position` and `value` are defined by."""
