"""Codes that stand for whole numbers: the uniform grids."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.choices import set_whole
from jaxcompress.core.types import Array


@dataclasses.dataclass(frozen=True)
class Integers:
    """A uniform grid of whole steps, around 0 or around a zero point.

        value = (code - zero_point) · scale,   lowest <= code <= highest

    Also known as: affine quantization (with a zero point), symmetric quantization.

    Invariants:
      - `bits` from 1 to 8 hold a code; `highest - lowest < 2**bits`.
      - Codes lie in [-128, 127], or in [0, 255] for 8 bits with `lowest` 0.
      - `symmetric`: the zero point is 0 and is not stored; the grid is odd when lowest
        == -highest.
      - zero is always exactly representable.
    """

    kind: ClassVar[str] = "integers"
    has_zero: ClassVar[bool] = True

    bits: int
    lowest: int
    highest: int
    symmetric: bool

    def __post_init__(self) -> None:
        set_whole(self, "bits", "lowest", "highest")
        if not isinstance(self.symmetric, bool | np.bool_):
            raise ValueError(f"Integers(symmetric={self.symmetric!r}) must be True or False.")
        object.__setattr__(self, "symmetric", bool(self.symmetric))
        codes = f"lowest={self.lowest}, highest={self.highest}"
        if not 1 <= self.bits <= 8:
            raise ValueError(f"Integers(bits={self.bits}) must be from 1 to 8.")
        if not 0 < self.highest - self.lowest < 2**self.bits:
            raise ValueError(
                f"Integers({codes}) must be an increasing range that {self.bits} bits can hold."
            )
        if self.symmetric and not self.lowest < 0 < self.highest:
            raise ValueError(
                f"Integers({codes}, symmetric=True) must have codes on both sides of zero."
            )
        least, most = (0, 255) if self.bits == 8 and self.lowest == 0 else (-128, 127)
        if self.lowest < least or self.highest > most:
            raise ValueError(
                f"Integers(bits={self.bits}, {codes}) has codes outside of [{least}, {most}], "
                "which a byte holds. Begin at 0 for 8 bits without sign."
            )

    @property
    def odd(self) -> bool:
        return self.symmetric and self.lowest == -self.highest

    @property
    def ends(self) -> tuple[float, float]:
        """What the lowest and the highest code stand for, in steps."""
        return float(self.lowest), float(self.highest)

    @property
    def name(self) -> str:
        """As `quantize.formats` calls it, else with its codes."""
        half = 2 ** (self.bits - 1) - 1
        if self.symmetric and (self.lowest, self.highest) == (-half, half):
            return f"int{self.bits}"
        if not self.symmetric and (self.lowest, self.highest) == (0, 2**self.bits - 1):
            return f"uint{self.bits}"
        sign = "" if self.symmetric else "u"
        return f"{sign}int{self.bits} from {self.lowest} to {self.highest}"

    def nearest(self, x: Array) -> Array:
        """The whole number nearest to each entry, halves to even; not clipped."""
        return jnp.round(x)

    def position(self, x: Array) -> Array:
        """Where each entry lies among the codes: the entry itself."""
        return x

    def value(self, codes: Array) -> Array:
        """What codes less their zero point stand for, in steps: themselves."""
        return codes.astype(jnp.float32)
