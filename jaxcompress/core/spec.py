"""How a weight becomes low-bit codes: a frozen, hashable value, JSON both ways."""

import dataclasses
from typing import Literal

Sharing = Literal["tensor", "channel", "group"]


@dataclasses.dataclass(frozen=True)
class QuantSpec:
    """A uniform integer grid and which weights share a scale.

    Built by the functions of `quantize` (`int8()`, `int4(group_size=64)`); the same
    spec serves quantization after training, training with quantization, and execution.

        value = (code - zero_point) · scale,   lowest <= code <= highest

    Invariants:
      - `bits` are stored per code; `highest - lowest < 2**bits`.
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
        if self.bits not in (1, 2, 4, 8):
            raise ValueError(f"QuantSpec(bits={self.bits}) must be 1, 2, 4 or 8.")
        if not 0 < self.highest - self.lowest < 2**self.bits:
            raise ValueError(
                f"QuantSpec(lowest={self.lowest}, highest={self.highest}) must be an increasing "
                f"range that "
                f"{self.bits} bits can hold."
            )
        if self.symmetric and not self.lowest < 0 < self.highest:
            raise ValueError(
                f"QuantSpec(lowest={self.lowest}, highest={self.highest}, symmetric=True) must "
                f"have codes on both "
                "sides of zero."
            )
        if self.per not in ("tensor", "channel", "group"):
            raise ValueError(f"QuantSpec(per={self.per!r}) must be 'tensor', 'channel' or 'group'.")
        if (self.per == "group") != (self.group_size > 0):
            raise ValueError(
                f"QuantSpec(per={self.per!r}, group_size={self.group_size}): a group needs a "
                f"group_size above 0, "
                "and nothing else takes one."
            )

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
