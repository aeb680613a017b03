"""How scales are stored: a scale per block, written down and read back.

What encodes reads the scale back first, so that codes are chosen for the scale that
will be multiplied with. A storage of two levels keeps a small number per block and one
float32, the second scale, that several blocks share. Each rounds by arithmetic on bits:
a compiler may drop a pair of casts, and with it the rounding.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.choices import set_whole
from jaxcompress.core.formats.cuts import Cut
from jaxcompress.core.formats.floats import FP8_E4M3
from jaxcompress.core.types import Array

SMALLEST_SCALE = float(2 * np.finfo(np.float32).tiny)
"""Below it a value of one step is subnormal, which XLA flushes to zero."""


@dataclasses.dataclass(frozen=True)
class Float32:
    """Four bytes for each scale, exact."""

    kind: ClassVar[str] = "float32"
    dtype: ClassVar[np.dtype] = np.dtype(np.float32)
    two_levels: ClassVar[bool] = False

    def write(self, scale: Array, parts: Cut | None) -> tuple[Array, None]:
        """What is stored: at least `SMALLEST_SCALE`, 1 for a block of zeros.

        Args:
          scale: float32, at least 0; NaN for a block that is not finite.
          parts: how the array was cut into blocks; None for one that was not.

        Returns:
          (scale, second scale) as stored.
        """
        del parts
        return jnp.where(scale == 0, 1.0, jnp.maximum(scale, SMALLEST_SCALE)), None

    def read(self, stored: Array, second: Array | None) -> Array:
        """The scales that are multiplied with, as float32."""
        del second
        return stored

    def __str__(self) -> str:
        return "float32 scales"


@dataclasses.dataclass(frozen=True)
class BFloat16:
    """Two bytes for each scale, rounded to nearest. Methods as those of `Float32`."""

    kind: ClassVar[str] = "bfloat16"
    dtype: ClassVar[np.dtype] = np.dtype(jnp.bfloat16)
    two_levels: ClassVar[bool] = False

    def write(self, scale: Array, parts: Cut | None) -> tuple[Array, None]:
        exact, _ = Float32().write(scale, parts)
        bits = jax.lax.bitcast_convert_type(exact, jnp.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        # The quiet bit, since the carry of a NaN may overflow.
        rounded = jnp.where(jnp.isnan(exact), jnp.uint32(0x7FC0), rounded)
        return jax.lax.bitcast_convert_type(rounded.astype(jnp.uint16), jnp.bfloat16), None

    def read(self, stored: Array, second: Array | None) -> Array:
        del second
        return stored.astype(jnp.float32)

    def __str__(self) -> str:
        return "bfloat16 scales"


@dataclasses.dataclass(frozen=True)
class PowerOfTwo:
    """One byte for each scale: the power of two at or above it, so that nothing clips.

    Also known as: e8m0, the shared exponent of MX formats, block floating point.

    The byte is e8m0's: e stands for 2**(e - 127), 255 for a block that is not finite.
    Methods as those of `Float32`.

    Source: OCP Microscaling Formats 1.0, section 5. Differs: the exponent is rounded
    up, where the specification's example rounds down and clips what lies above.
    """

    kind: ClassVar[str] = "power_of_two"
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    two_levels: ClassVar[bool] = False

    def write(self, scale: Array, parts: Cut | None) -> tuple[Array, None]:
        exact, _ = Float32().write(scale, parts)
        bits = jax.lax.bitcast_convert_type(exact, jnp.int32)
        # A carry into the exponent unless the fraction is 0, or above 0 by rounding.
        exponent = jnp.minimum((bits + (0x7FFFFF - _ROUNDING)) >> 23, 254)
        return jnp.where(jnp.isnan(exact), 255, exponent).astype(jnp.uint8), None

    def read(self, stored: Array, second: Array | None) -> Array:
        del second
        exponent = stored.astype(jnp.int32)
        power = jax.lax.bitcast_convert_type(exponent << 23, jnp.float32)
        return jnp.where(exponent == 255, jnp.nan, jnp.maximum(power, SMALLEST_SCALE))

    def __str__(self) -> str:
        return "power-of-two scales"


_ROUNDING = 4
"""Last bits that the product which gave a scale may be off by."""


@dataclasses.dataclass(frozen=True)
class E4M3:
    """One byte for each scale, a float of e4m3 under one float32 for the leaf.

    Also known as: the two levels of NVFP4.

    The byte is e4m3's: the largest scale of the leaf is 448, what rounds to 0 is the
    least float above, and 127 is a block that is not finite. Methods as those of
    `Float32`.
    """

    kind: ClassVar[str] = "e4m3"
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    two_levels: ClassVar[bool] = True

    def write(self, scale: Array, parts: Cut | None) -> tuple[Array, Array]:
        second = second_scale(scale, None if parts is None else parts.leaf, FP8_E4M3.ends[1])
        return self.under(scale, second), second

    def under(self, scale: Array, second: Array) -> Array:
        """The bytes of scales under a second scale that is given."""
        counts = jnp.clip(FP8_E4M3.nearest(scale / second), 1, FP8_E4M3.highest)
        return jnp.where(jnp.isnan(scale), 127, counts).astype(jnp.uint8)

    def read(self, stored: Array, second: Array | None) -> Array:
        scale = jnp.maximum(FP8_E4M3.value(stored) * jnp.asarray(second), SMALLEST_SCALE)
        return jnp.where(stored == 127, jnp.nan, scale)

    def __str__(self) -> str:
        return "e4m3 scales under a float32"


@dataclasses.dataclass(frozen=True)
class Codes:
    """One byte for each scale: codes of their own, 1 to 255 steps of a second scale.

    Also known as: double quantization.

    Blocks along one axis share the second scale, those of a row of groups for example.
    Code 0 is a block that is not finite. Methods as those of `Float32`.

    Source: Dettmers et al. 2023, arXiv:2305.14314, section 3. Differs: even steps from
    zero instead of floats around the mean, a row instead of 256 blocks.
    """

    kind: ClassVar[str] = "codes"
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    two_levels: ClassVar[bool] = True

    def write(self, scale: Array, parts: Cut | None) -> tuple[Array, Array]:
        along = None if parts is None else parts.blocks or parts.leaf
        second = second_scale(scale, along, 255.0)
        return self.under(scale, second), second

    def under(self, scale: Array, second: Array) -> Array:
        """The bytes of scales under a second scale that is given."""
        codes = jnp.clip(jnp.round(scale / second), 1, 255)
        return jnp.where(jnp.isnan(scale), 0, codes).astype(jnp.uint8)

    def read(self, stored: Array, second: Array | None) -> Array:
        scale = jnp.maximum(stored.astype(jnp.float32) * jnp.asarray(second), SMALLEST_SCALE)
        return jnp.where(stored == 0, jnp.nan, scale)

    def __str__(self) -> str:
        return "8-bit scales under a float32"


@dataclasses.dataclass(frozen=True)
class Fixed:
    """One step for all, 2**-fraction_bits, that the spec itself holds.

    Also known as: fixed point, Q notation.

    A leaf still carries it, as float32, so that whatever multiplies codes finds a scale
    where it always is. Methods as those of `Float32`.
    """

    kind: ClassVar[str] = "fixed"
    dtype: ClassVar[np.dtype] = np.dtype(np.float32)
    two_levels: ClassVar[bool] = False

    fraction_bits: int

    def __post_init__(self) -> None:
        set_whole(self, "fraction_bits")
        if not -100 <= self.fraction_bits <= 100:
            raise ValueError(f"Fixed(fraction_bits={self.fraction_bits}) must be in [-100, 100].")

    @property
    def step(self) -> float:
        return 2.0**-self.fraction_bits

    def write(self, scale: Array, parts: Cut | None) -> tuple[Array, None]:
        del parts
        return jnp.where(jnp.isnan(scale), scale, self.step), None

    def read(self, stored: Array, second: Array | None) -> Array:
        del second
        return stored

    def __str__(self) -> str:
        return f"steps of 2**{-self.fraction_bits}"


def second_scale(scale: Array, along: tuple[int, ...] | None, highest: float) -> Array:
    """The second scale, of which the largest finite scale along axes is `highest`."""
    finite = jnp.where(jnp.isnan(scale), 0.0, scale)
    largest = jnp.max(finite, along, keepdims=True)
    second = jnp.maximum(largest * np.float32(1 / highest), SMALLEST_SCALE)
    return jnp.where(largest == 0, 1.0, second)


Scales = Float32 | BFloat16 | PowerOfTwo | E4M3 | Codes | Fixed
"""How scales are stored."""

SCALES = (Float32, BFloat16, PowerOfTwo, E4M3, Codes, Fixed)
