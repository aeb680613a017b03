"""How numbers become low-bit codes: a frozen, hashable value, JSON both ways."""

import dataclasses
from typing import Any

import numpy as np

from jaxcompress.core.formats.choices import from_json, to_json
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.floats import Floats
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.scales import SCALES, Fixed, Float32, Scales
from jaxcompress.core.formats.sharing import SHARINGS, Channel, Group, Sharing, Tensor
from jaxcompress.core.formats.tables import Table
from jaxcompress.core.packing import WIDTHS

Levels = Integers | Floats | Table | Codebook
"""What one code stands for, in units of its block's scale."""

LEVELS = (Integers, Floats, Table, Codebook)


@dataclasses.dataclass(frozen=True)
class QuantSpec:
    """A number format: three choices, each a small value of its own.

    Built by the functions of `quantize.formats` (`int8()`, `int4(group_size=64)`); the
    same spec serves quantization after training, training with quantization, execution
    and files.

        value = levels.value(code - zero_point) · scale

    Attributes:
      levels: what one code stands for, in units of its block's scale.
      sharing: which entries share a scale. Stacked axes never share.
      scales: how the scales are stored.

    Invariants:
      - Code 0 stands for exactly zero where the levels have a zero and no zero point.
    """

    levels: Levels
    sharing: Sharing = dataclasses.field(default_factory=Channel)
    scales: Scales = dataclasses.field(default_factory=Float32)

    def __post_init__(self) -> None:
        choices = {"levels": LEVELS, "sharing": SHARINGS, "scales": SCALES}
        for field, kinds in choices.items():
            value = getattr(self, field)
            if not isinstance(value, kinds):
                names = ", ".join(kind.__name__ for kind in kinds)
                raise ValueError(f"QuantSpec({field}={value!r}) must be one of {names}.")
        if isinstance(self.scales, Fixed) and not self.symmetric:
            raise ValueError(
                f"QuantSpec({self}) has fixed steps around a zero point that follows the data. "
                "Make the levels symmetric."
            )

    @property
    def name(self) -> str:
        return self.levels.name

    @property
    def bits(self) -> int:
        """Bits that tell the codes apart, and take in a file."""
        return self.levels.bits

    @property
    def stored_bits(self) -> int:
        """Bits that a code takes in memory: 1, 2, 4 or 8, which fill a byte."""
        return next(width for width in WIDTHS if width >= self.bits)

    @property
    def lowest(self) -> int:
        return self.levels.lowest

    @property
    def highest(self) -> int:
        return self.levels.highest

    @property
    def symmetric(self) -> bool:
        """True where no zero point is stored."""
        return self.levels.symmetric

    @property
    def has_zero(self) -> bool:
        """True where zero is represented exactly, so that pruned weights stay zero."""
        return self.levels.has_zero

    @property
    def odd(self) -> bool:
        """True when quantizing -x gives minus what quantizing x gives."""
        return self.levels.odd

    @property
    def code_dtype(self) -> np.dtype:
        """The integers that hold single codes: int8, uint8 for 8 bits from 0 on."""
        return np.dtype(np.uint8 if self.bits == 8 and self.lowest == 0 else np.int8)

    @property
    def stored_dtype(self) -> np.dtype:
        """What a leaf stores: 8-bit codes as they are, smaller ones packed in uint8."""
        return self.code_dtype if self.stored_bits == 8 else np.dtype(np.uint8)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values; `QuantSpec.from_json` gives the spec back.

        Example:
          >>> fields = jc.quantize.int4(group_size=64).to_json()
          >>> fields["sharing"], fields["scales"]
          ({'kind': 'group', 'size': 64}, {'kind': 'float32'})
        """
        return {
            field.name: to_json(getattr(self, field.name)) for field in dataclasses.fields(self)
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "QuantSpec":
        """The spec that `to_json` described.

        Raises:
          ValueError: a field is missing, unknown or out of range.
        """
        if not isinstance(fields, dict) or set(fields) != {"levels", "sharing", "scales"}:
            raise ValueError(
                f"QuantSpec.from_json(fields={fields}) must have exactly the fields levels, "
                "sharing and scales."
            )
        return cls(
            from_json("levels", fields["levels"], LEVELS),
            from_json("sharing", fields["sharing"], SHARINGS),
            from_json("scales", fields["scales"], SCALES),
        )

    def __str__(self) -> str:
        stored = "" if self.scales == Float32() else f", {self.scales}"
        return f"{self.name} {self.sharing}{stored}"


def from_version_1(fields: dict[Any, Any]) -> QuantSpec:
    """The spec that files of format version 1 describe by one flat dict.

    Its free `name` is dropped: a spec is now named by its codes.

    Args:
      fields: name, bits, lowest, highest, symmetric, per, group_size.

    Raises:
      ValueError: a field is missing, unknown or out of range.

    Example:
      >>> grid = {"name": "int4", "bits": 4, "lowest": -7, "highest": 7}
      >>> shared = {"symmetric": True, "per": "group", "group_size": 64}
      >>> from_version_1(grid | shared) == jc.quantize.int4(group_size=64)
      True
    """
    known = {"name", "bits", "lowest", "highest", "symmetric", "per", "group_size"}
    if not isinstance(fields, dict) or set(fields) != known:
        raise ValueError(
            f"from_version_1(fields={fields}) must have exactly the fields {sorted(known)}."
        )
    levels = Integers(*(fields[name] for name in ("bits", "lowest", "highest", "symmetric")))
    per, size = fields["per"], fields["group_size"]
    plain = {"tensor": Tensor(), "channel": Channel()}
    if per == "group":
        return QuantSpec(levels, Group(size))
    if size != 0 or not isinstance(per, str) or per not in plain:
        raise ValueError(
            f"from_version_1: per={per!r} with group_size={size!r} must be 'tensor' or 'channel' "
            "with 0, or 'group' with a size."
        )
    return QuantSpec(levels, plain[per])
