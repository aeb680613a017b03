"""Every choice of the demo in one value, so that a run can be repeated or changed."""

import dataclasses
import json
import pathlib
from typing import Any

from jaxcompress.core.checks import (
    check_count,
    check_number,
    check_positive,
    check_range,
    check_share,
)
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import int4, int8


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the demo trains and how it compresses.

    Attributes:
      seed: of the split, the initial weights and the order of examples.
      framework: "nnx" or "linen".
      fractions: shares of training, validation and test images, where one set
        has to be split.
      widths: channels of the two convolutions and units of the hidden layer.
      student_widths: the same for the distilled student.
      batch_size: images per step.
      dense_steps, prune_steps, distill_steps, combined_steps: training steps
        of each variant.
      learning_rate: peak of the cosine schedule from scratch; fine-tuning starts at a
        third of it.
      sparsity: final fraction of weights removed.
      temperature: of the teacher's and the student's softmax.
      soft_weight: share of the soft targets in the distillation loss.
      codebook_bits: of codes whose values each layer stores itself.
      slope: what a bit is worth in squared weights, for rate-distortion.
      int8_rules, int4_rules: (pattern, spec) pairs over leaf names; a group that does
        not divide a weight's inputs becomes their greatest common divisor.
    """

    seed: int = 0
    framework: str = "nnx"
    fractions: tuple[float, float, float] = (0.5, 0.1, 0.4)
    widths: tuple[int, int, int] = (32, 64, 128)
    student_widths: tuple[int, int, int] = (16, 32, 64)
    batch_size: int = 64
    dense_steps: int = 500
    prune_steps: int = 400
    distill_steps: int = 600
    combined_steps: int = 600
    learning_rate: float = 3e-3
    sparsity: float = 0.8
    temperature: float = 4.0
    soft_weight: float = 0.9
    codebook_bits: int = 4
    slope: float = 2e-4
    int8_rules: tuple[tuple[str, QuantSpec], ...] = (("*", int8()),)
    int4_rules: tuple[tuple[str, QuantSpec], ...] = (
        ("conv1/*", int8()),
        ("conv2/*", int4(group_size=16)),
        ("*", int4(group_size=64)),
    )

    def __post_init__(self) -> None:
        if self.framework not in ("nnx", "linen"):
            raise ValueError(f"Recipe(framework={self.framework!r}) must be 'nnx' or 'linen'.")
        for field in ("widths", "student_widths"):
            if len(widths := getattr(self, field)) != 3:
                raise ValueError(f"Recipe({field}={widths}) must be three whole numbers.")
            for width in widths:
                check_count("Recipe", field, width)
        for field in ("batch_size", "dense_steps", "distill_steps"):
            check_count("Recipe", field, getattr(self, field))
        check_count("Recipe", "seed", self.seed, least=0)
        for field in ("prune_steps", "combined_steps"):
            # Weights go through the first two thirds of the steps.
            check_count("Recipe", field, getattr(self, field), least=2)
        for field in ("sparsity", "soft_weight", "learning_rate", "temperature", "slope"):
            check_number("Recipe", field, getattr(self, field))
        check_range("Recipe", "sparsity", self.sparsity, 0.0, 1.0)
        check_share("Recipe", "soft_weight", self.soft_weight)
        check_positive("Recipe", "learning_rate", self.learning_rate)
        check_positive("Recipe", "temperature", self.temperature)
        check_positive("Recipe", "slope", self.slope)
        if not 2 <= check_count("Recipe", "codebook_bits", self.codebook_bits) <= 8:
            raise ValueError(f"Recipe(codebook_bits={self.codebook_bits}) must be from 2 to 8.")

    @property
    def int8(self) -> Rules[QuantSpec]:
        return Rules(self.int8_rules)

    @property
    def int4(self) -> Rules[QuantSpec]:
        return Rules(self.int4_rules)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: _to_json(name, value) for name, value in fields.items()}

    def save(self, path: pathlib.Path) -> None:
        """Writes the recipe as JSON."""
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path: pathlib.Path) -> "Recipe":
        """The recipe that `save` wrote, or one edited by hand.

        Raises:
          ValueError: not JSON, or a field is unknown or out of range.
        """
        try:
            fields = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"Recipe.load({str(path)!r}) is not JSON: {error}.") from error
        unknown = set(fields) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"Recipe.load({str(path)!r}) has unknown fields {sorted(unknown)}.")
        return cls(**{name: _from_json(name, value) for name, value in fields.items()})


def _to_json(name: str, value) -> Any:
    if name.endswith("_rules"):
        return [(pattern, spec.to_json()) for pattern, spec in value]
    return value


def _from_json(name: str, value) -> Any:
    if name.endswith("_rules"):
        return tuple((pattern, QuantSpec.from_json(spec)) for pattern, spec in value)
    return tuple(value) if isinstance(value, list) else value
