"""All figures of a run."""

import dataclasses
from typing import Any

import jax

from jaxcompress.core.sensitivities import Sensitivities
from jaxcompress.core.timing import Timing
from jaxcompress.demo.proof import Proof
from jaxcompress.demo.recipe import Recipe
from jaxcompress.demo.variants import Variant
from jaxcompress.validate import Card


@dataclasses.dataclass(frozen=True)
class Results:
    """All results of the demo.

    Attributes:
      title: what was tested on what.
      recipe: what was asked for.
      variants: the dense model first.
      proofs: the figures of each variant, by name.
      identical: whether each file gave the same bits in a fresh process, by name.
      timings: per batch size and variant name.
      sensitivities: of the dense model's leaves to 4 bits, most sensitive first.
      card: what was tested of each variant, and what was not.
    """

    title: str
    recipe: Recipe
    variants: tuple[Variant, ...]
    proofs: dict[str, Proof]
    identical: dict[str, bool]
    timings: dict[int, dict[str, Timing]]
    sensitivities: Sensitivities
    card: Card

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values."""
        return {
            "title": self.title,
            "recipe": self.recipe.to_json(),
            "models": {
                v.name: self.proofs[v.name].to_json() | {"file": v.file_name} for v in self.variants
            },
            "identical_in_a_fresh_process": self.identical,
            "sensitivities": [row._asdict() for row in self.sensitivities],
            "leaves": {v.name: v.report.to_json() for v in self.variants},
            "times": {
                "device": jax.devices()[0].device_kind,
                "batches": {
                    f"{batch}": {name: timing._asdict() for name, timing in timings.items()}
                    for batch, timings in self.timings.items()
                },
            },
        }
