"""Codes that stand for small floating-point numbers: fp4, fp6 and fp8."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.choices import set_whole
from jaxcompress.core.types import Array

_FRACTION = 23
"""Bits of fraction of a float32, whose exponent has a bias of 127."""


@dataclasses.dataclass(frozen=True)
class Floats:
    """The floats of a sign, a few bits of exponent and a few of fraction.

    A code counts floats: code c > 0 is the c-th float above zero, code -c the same
    below. Among magnitudes the count is the float's own bits read as a whole number,
    which rises linearly within each binade; so positions and values are read off the
    bits of a float32, without a table.

    Also known as: e2m1 (fp4), e4m3 and e5m2 (fp8), minifloats.

    Invariants:
      - `highest` floats lie above zero: 7 of e2m1 up to 6, 126 of e4m3 up to 448, 123
        of e5m2 up to 57344. Infinities and NaN of the hardware's format have no code.
      - The format is odd; code 0 is zero, and there is no other zero.
    """

    kind: ClassVar[str] = "floats"
    symmetric: ClassVar[bool] = True
    odd: ClassVar[bool] = True
    has_zero: ClassVar[bool] = True

    exponent_bits: int
    fraction_bits: int
    highest: int

    def __post_init__(self) -> None:
        set_whole(self, "exponent_bits", "fraction_bits", "highest")
        sizes = f"exponent_bits={self.exponent_bits}, fraction_bits={self.fraction_bits}"
        if not (2 <= self.exponent_bits <= 5 and 0 <= self.fraction_bits <= 5 and self.bits <= 8):
            raise ValueError(
                f"Floats({sizes}) must have 2 to 5 bits of exponent, at most 5 of fraction and 8 "
                "in all with the sign."
            )
        if not 0 < self.highest < 2 ** (self.bits - 1):
            raise ValueError(
                f"Floats({sizes}, highest={self.highest}) must be a count of floats above zero "
                f"that {self.bits - 1} bits can hold."
            )

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def lowest(self) -> int:
        return -self.highest

    @property
    def name(self) -> str:
        return f"fp{self.bits}_e{self.exponent_bits}m{self.fraction_bits}"

    @property
    def ends(self) -> tuple[float, float]:
        """What the lowest and the highest code stand for, in steps."""
        binade, rest = divmod(self.highest, 2**self.fraction_bits)
        fraction = rest / 2**self.fraction_bits
        exponent = self._least_exponent
        end = (
            fraction * 2.0**exponent
            if binade == 0
            else (1 + fraction) * 2.0 ** (exponent + binade - 1)
        )
        return -end, end

    def nearest(self, x: Array) -> Array:
        """The count of the float nearest to each entry, ties to the even one.

        As hardware rounds, exactly; not clipped to `highest`.
        """
        magnitude = jnp.abs(x)
        bits = jax.lax.bitcast_convert_type(magnitude, jnp.int32)
        dropped = _FRACTION - self.fraction_bits
        # Half of what is dropped, less one where the count would be even without.
        half = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
        in_binade = ((bits + half) >> dropped) - self._below
        # Below the least binade floats lie evenly, a power of two apart.
        even = jnp.round(magnitude * np.float32(2.0**-self._least_step))
        normal = magnitude >= np.float32(2.0**self._least_exponent)
        count = jnp.where(normal, in_binade.astype(jnp.float32), even)
        return jnp.where(x < 0, -count, count)

    def position(self, x: Array) -> Array:
        """Where each entry lies among the floats: its count, with a fraction.

        For rounding at random. A float32 itself, so of a count above 64 it keeps 17
        bits of the fraction; `nearest` is exact.
        """
        magnitude = jnp.abs(x)
        dropped = _FRACTION - self.fraction_bits
        bits = jax.lax.bitcast_convert_type(magnitude, jnp.int32) - (self._below << dropped)
        in_binade = bits.astype(jnp.float32) * np.float32(2.0**-dropped)
        even = magnitude * np.float32(2.0**-self._least_step)
        normal = magnitude >= np.float32(2.0**self._least_exponent)
        count = jnp.where(normal, in_binade, even)
        return jnp.where(x < 0, -count, count)

    def value(self, codes: Array) -> Array:
        """The floats that codes count, as float32."""
        count = jnp.abs(codes.astype(jnp.int32))
        bits = (count + self._below) << (_FRACTION - self.fraction_bits)
        in_binade = jax.lax.bitcast_convert_type(bits, jnp.float32)
        even = count.astype(jnp.float32) * np.float32(2.0**self._least_step)
        magnitude = jnp.where(count < 2**self.fraction_bits, even, in_binade)
        return jnp.where(codes < 0, -magnitude, magnitude)

    @property
    def _least_exponent(self) -> int:
        """Of the least binade: below 2 to this power floats lie evenly."""
        return 2 - 2 ** (self.exponent_bits - 1)

    @property
    def _least_step(self) -> int:
        """The power of two between neighbours in and below the least binade."""
        return self._least_exponent - self.fraction_bits

    @property
    def _below(self) -> int:
        """How many steps of so many bits of fraction a float32 has below count 0."""
        bias = 2 ** (self.exponent_bits - 1) - 1
        return (127 - bias) << self.fraction_bits


FP4 = Floats(2, 1, 7)
"""e2m1: 0, 0.5, 1, 1.5, 2, 3, 4, 6."""

FP8_E4M3 = Floats(4, 3, 126)
"""Up to 448, three bits of fraction; e4m3fn of hardware."""

FP8_E5M2 = Floats(5, 2, 123)
"""Up to 57344, two bits of fraction."""
