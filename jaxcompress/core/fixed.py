"""Fixed-point arithmetic for counts: products and sums without rounding.

Float arithmetic counts wrongly from 2**24 on, and differently on each machine.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array


class Fixed(NamedTuple):
    """Numbers as three uint32 words, `whole + (high · 2**32 + low) / 2**64`.

    Sums of `whole` wrap at 2**32.
    """

    whole: Array
    high: Array
    low: Array


def exact_product(fraction: Array, size: int) -> Fixed:
    """`fraction` times `size`, without rounding.

    Args:
      fraction: (…) in [0, 1], taken as float32; what it has below 2**-64 is cut off.
      size: at most 2**31 - 1.

    Returns:
      Fixed of the shape of `fraction`.

    Example:
      >>> [int(word) for word in exact_product(jnp.float32(0.75), 3)]
      [2, 1073741824, 0]
    """
    # A float32 is an integer of 24 bits times a power of two, so its product with a
    # whole number is an integer of at most 55 bits: two words, shifted to their place.
    mantissa, exponent = jnp.frexp(fraction.astype(jnp.float32))
    places = 24 - exponent  # fraction = mantissa · 2**24 / 2**places
    digits = (mantissa * 2**24).astype(jnp.uint32) >> jnp.clip(places - 64, 0, 31).astype(
        jnp.uint32
    )
    high, low = _wide_product(digits, size)
    shift = (64 - jnp.minimum(places, 64)).astype(jnp.uint32)  # from 0 to 41
    bits = shift % 32
    # By two shifts, since one by all 32 bits is not defined.
    over_low, over_high = ((word >> 1) >> (31 - bits) for word in (low, high))
    # The product shifted by `bits`; a shift by 32 or more moves words one place on.
    words = (over_high, (high << bits) | over_low, low << bits)
    once = shift >= 32
    return Fixed(
        jnp.where(once, words[1], words[0]),
        jnp.where(once, words[2], words[1]),
        jnp.where(once, jnp.uint32(0), words[2]),
    )


def exact_sum(numbers: Fixed) -> Fixed:
    """The sum of all entries, ()."""

    def add(one: tuple[Array, ...], other: tuple[Array, ...]) -> Fixed:
        low = one[2] + other[2]
        carry = (low < one[2]).astype(jnp.uint32)  # an unsigned sum that wrapped is smaller
        partial = one[1] + other[1]
        high = partial + carry
        carried = (partial < one[1]) | (high < partial)
        return Fixed(one[0] + other[0] + carried.astype(jnp.uint32), high, low)

    axes = tuple(range(numbers.whole.ndim))
    return Fixed(*jax.lax.reduce(tuple(numbers), (np.uint32(0),) * 3, add, axes))


def rounded_to_even(number: Fixed) -> Array:
    """The nearest whole number, halves to even; uint32."""
    half = np.uint32(1 << 31)
    over = (number.high > half) | ((number.high == half) & (number.low > 0))
    tie = (number.high == half) & (number.low == 0)
    return number.whole + (over | (tie & (number.whole % 2 == 1))).astype(jnp.uint32)


def _wide_product(a: Array, b: int) -> tuple[Array, Array]:
    """The (high, low) uint32 words of a · b, for a < 2**25 and b < 2**31."""
    # Schoolbook multiplication by 16-bit halves: their products fit in 32 bits, and JAX
    # has no 64-bit integers unless they are enabled.
    low_a, high_a = a & 0xFFFF, a >> 16
    low_b, high_b = jnp.uint32(b & 0xFFFF), jnp.uint32(b >> 16)
    lowest, cross_1, cross_2, highest = (
        low_a * low_b,
        low_a * high_b,
        high_a * low_b,
        high_a * high_b,
    )
    middle = (lowest >> 16) + (cross_1 & 0xFFFF) + (cross_2 & 0xFFFF)
    high = (middle >> 16) + (cross_1 >> 16) + (cross_2 >> 16) + highest
    return high, (middle << 16) | (lowest & 0xFFFF)
