"""What shadow models said, kept without the models; to and from files."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxcompress.core.kinds import check_kind, check_path, check_text
from jaxcompress.validate.arrays import check_all_finite

_ARRAY = "It has one row per model and one column per example."


@dataclasses.dataclass(frozen=True, eq=False)
class Shadows:
    """What shadow models say of each example, and what each was trained on.

    Invariants:
      - Both are NumPy arrays, with one row per model and one column per example.
      - Signals are finite.

    Args:
      signals: (shadows, n) or (shadows, n, k) floating, higher = member.
      members: (shadows, n) bool.
      in_turn: why the models were not trained and asked in one program; empty where
        they were.
    """

    signals: np.ndarray
    members: np.ndarray
    in_turn: str = ""

    def __post_init__(self) -> None:
        for field in ("signals", "members"):
            check_kind("Shadows", field, getattr(self, field), np.ndarray, _ARRAY)
        check_text("Shadows", "in_turn", self.in_turn)
        if self.members.dtype != np.bool_:
            raise TypeError(f"Shadows(members of dtype {self.members.dtype}) must be bool.")
        if self.members.ndim != 2 or self.signals.shape[:2] != self.members.shape:
            raise ValueError(
                f"Shadows(signals {self.signals.shape}, members {self.members.shape}) needs"
                " members (shadows, n), and the same axes first in signals."
            )
        mend = "The axes are models and examples: look whether the training of that one diverged."
        check_all_finite("Shadows", "signals", self.signals, mend)

    @property
    def varying(self) -> np.ndarray:
        """(n,) bool: the examples that some models were trained on, and others not."""
        return np.asarray(self.members.any(0) & ~self.members.all(0))

    def models(self, chosen: Any) -> "Shadows":
        """Some of the models, by indices, a slice or a mask."""
        return dataclasses.replace(self, signals=self.signals[chosen], members=self.members[chosen])

    def examples(self, chosen: Any) -> "Shadows":
        """What all models say of some of the examples."""
        return dataclasses.replace(
            self, signals=self.signals[:, chosen], members=self.members[:, chosen]
        )

    def with_signals(self, change: Callable[[np.ndarray], np.ndarray]) -> "Shadows":
        """Other signals made from these, such as one column of them."""
        return dataclasses.replace(self, signals=change(self.signals))

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the arrays to an `.npz` file, which `load` reads."""
        check_path("save", "path", path)
        np.savez_compressed(path, signals=self.signals, members=self.members, in_turn=self.in_turn)

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "Shadows":
        """The shadows that `save` wrote, bit for bit."""
        check_path("load", "path", path)
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["signals"], arrays["members"], str(arrays["in_turn"]))

    def to_json(self) -> dict[str, Any]:
        """The arrays as lists of plain numbers; `from_json` reads them back exactly."""
        return {
            "signals": self.signals.tolist(),
            "members": self.members.tolist(),
            "in_turn": self.in_turn,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Shadows":
        """The shadows that `to_json` described."""
        signals = np.asarray(record["signals"], np.float32)
        return cls(signals, np.asarray(record["members"], np.bool_), record["in_turn"])
