"""A format for each leaf, as `mixed_precision` chooses them."""

import dataclasses
from typing import Any

from jaxcompress.auto.parts import literally
from jaxcompress.core.report import KEPT, aligned, signed
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec


@dataclasses.dataclass(frozen=True)
class ChosenFormat:
    """The format of one leaf.

    Args:
      name: the leaf.
      spec: its format, None where it stays as it is.
      change: what the leaf alone in this format changes of the table's metric.
      saved_bytes: what the leaf takes less than as it is.
    """

    name: str
    spec: QuantSpec | None
    change: float
    saved_bytes: int


@dataclasses.dataclass(frozen=True)
class MixedPrecision:
    """A format for each leaf. `print` it for a table.

    Args:
      metric: the table's.
      budget: bytes at most, of the whole tree.
      size: bytes of the whole tree in the chosen formats.
      change: the sum of what single leaves change, which takes errors as if they added
        up: judge the model that comes of it.
      leaves: the choices, in the tree's order.
    """

    metric: str
    budget: int
    size: int
    change: float
    leaves: tuple[ChosenFormat, ...]

    @property
    def rules(self) -> Rules[QuantSpec]:
        """The formats by name, for `quantize`, `reconstruct`, `fake_quantize_model`.

        Raises:
          ValueError: every leaf stays as it is.
        """
        chosen = {literally(leaf.name): leaf.spec for leaf in self.leaves if leaf.spec}
        if not chosen:
            raise ValueError(
                f"mixed_precision(budget={self.budget}) leaves every leaf as it is, so that there "
                "are no rules. Lower the budget, or take None out of the specs."
            )
        return Rules(chosen)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain numbers and words."""
        leaves = [{**vars(leaf), "spec": in_words(leaf.spec)} for leaf in self.leaves]
        return {**vars(self), "leaves": leaves}

    def __str__(self) -> str:
        header = ("leaf", "as", f"change of {self.metric}", "saved bytes")
        rows = [
            (
                leaf.name,
                in_words(leaf.spec),
                signed(leaf.change, "+.4g"),
                signed(leaf.saved_bytes, ","),
            )
            for leaf in self.leaves
        ]
        title = f"mixed precision, {self.size:,} of {self.budget:,} bytes"
        total = (
            "sum",
            "",
            signed(self.change, "+.4g"),
            signed(sum(leaf.saved_bytes for leaf in self.leaves), ","),
        )
        return "\n".join([title, *aligned([header, *rows, total])])


def in_words(spec: QuantSpec | None) -> str:
    """What tables call a format, or a leaf that stays as it is."""
    return KEPT if spec is None else str(spec)
