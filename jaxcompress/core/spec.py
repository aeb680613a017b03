"""How a weight becomes low-bit codes: a frozen, hashable value, JSON both ways."""

import dataclasses
from numbers import Integral
from typing import Literal

import numpy as np

from jaxcompress.core.packing import WIDTHS

Sharing = Literal["tensor", "channel", "group"]


@dataclasses.dataclass(frozen=True)
class QuantSpec:
    """A uniform integer grid and which weights share a scale.

    Built by the functions of `quantize` (`int8()`, `int4(group_size=64)`); the same
    spec serves quantization after training, training with quantization, and execution.

        value = (code - zero_point) · scale,   lowest <= code <= highest

    Invariants:
      - Numbers are ints and `symmetric` a bool, as JSON writes and reads them.
      - `bits` are stored per code; `highest - lowest < 2**bits`.
      - Codes lie in [-128, 127], or in [0, 255] for 8 bits with `lowest` 0.
      - `symmetric`: the zero point is 0 and is not stored; the grid is odd when lowest
        == -highest.
      - zero is always exactly representable.
      - `per` says what shares one scale: a whole "tensor", an output "channel", or a
        "group" of `group_size` weights along the last contracting axis. Stacked axes
        never share.
    """

    name: str
    bits: int
    lowest: int
    highest: int
    symmetric: bool
    per: Sharing = "channel"
    group_size: int = 0

    def __post_init__(self):
        for field in ("bits", "lowest", "highest", "group_size"):
            object.__setattr__(self, field, _whole(field, getattr(self, field)))
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"QuantSpec(name={self.name!r}) must be a text that reports can show.")
        if not isinstance(self.symmetric, bool | np.bool_):
            raise ValueError(f"QuantSpec(symmetric={self.symmetric!r}) must be True or False.")
        object.__setattr__(self, "symmetric", bool(self.symmetric))
        self._check_codes()
        self._check_sharing()

    def _check_codes(self) -> None:
        codes = f"lowest={self.lowest}, highest={self.highest}"
        if self.bits not in WIDTHS:
            raise ValueError(f"QuantSpec(bits={self.bits}) must be 1, 2, 4 or 8.")
        if not 0 < self.highest - self.lowest < 2**self.bits:
            raise ValueError(
                f"QuantSpec({codes}) must be an increasing range that {self.bits} bits can hold."
            )
        if self.symmetric and not self.lowest < 0 < self.highest:
            raise ValueError(
                f"QuantSpec({codes}, symmetric=True) must have codes on both sides of zero."
            )
        held = np.iinfo(self.code_dtype)
        if self.lowest < held.min or self.highest > held.max:
            raise ValueError(
                f"QuantSpec(bits={self.bits}, {codes}) has codes outside of [{held.min}, "
                f"{held.max}], which {self.code_dtype} holds. Begin at 0 for 8 bits without sign."
            )

    def _check_sharing(self) -> None:
        if self.per not in ("tensor", "channel", "group"):
            raise ValueError(f"QuantSpec(per={self.per!r}) must be 'tensor', 'channel' or 'group'.")
        if (self.per == "group") != (self.group_size > 0):
            raise ValueError(
                f"QuantSpec(per={self.per!r}, group_size={self.group_size}): a group needs a "
                "group_size above 0, and nothing else takes one."
            )

    @property
    def code_dtype(self) -> np.dtype:
        """The integers that hold single codes: int8, uint8 for 8 bits from 0 on."""
        return np.dtype(np.uint8 if self.bits == 8 and self.lowest == 0 else np.int8)

    @property
    def stored_dtype(self) -> np.dtype:
        """What a leaf stores: 8-bit codes as they are, smaller ones packed in uint8."""
        return self.code_dtype if self.bits == 8 else np.dtype(np.uint8)

    @property
    def odd(self) -> bool:
        """True when quantizing -x gives minus what quantizing x gives."""
        return self.symmetric and self.lowest == -self.highest

    def to_json(self) -> dict:
        """A dict of plain values; `QuantSpec.from_json` gives the spec back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict) -> "QuantSpec":
        """The spec that `to_json` described.

        Raises:
          ValueError: a field is missing, unknown or out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if set(fields) != known:
            raise ValueError(
                f"QuantSpec.from_json(fields={fields}) must have exactly the fields "
                f"{sorted(known)}."
            )
        return cls(**fields)

    def __str__(self) -> str:
        return (
            f"{self.name} in groups of {self.group_size}"
            if self.per == "group"
            else f"{self.name} per {self.per}"
        )


def _whole(field: str, value) -> int:
    """A NumPy integer too becomes an int, so that specs compare and JSON takes them."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"QuantSpec({field}={value!r}) must be an int.")
    return int(value)
