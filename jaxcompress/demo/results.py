"""All figures of a run, and what of them is the same whatever they are shown in."""

import dataclasses
from typing import Any

import jax

from jaxcompress import report
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
      recipe: what was asked for.
      variants: the dense model first.
      proofs: the figures of each variant, by name.
      identical: whether each file gave the same bits in a fresh process, by name.
      timings: per batch size and variant name.
      sensitivities: of the dense model's leaves to 4 bits, most sensitive first.
      card: what was tested of each variant, and what was not.
    """

    recipe: Recipe
    variants: tuple[Variant, ...]
    proofs: dict[str, Proof]
    identical: dict[str, bool]
    timings: dict[int, dict[str, Timing]]
    sensitivities: Sensitivities
    card: Card

    @property
    def shown(self) -> list[report.Variant]:
        """The variants as reports take them; the dense model is the original."""
        return [
            report.Variant(
                name,
                proof.file_bytes,
                proof.evaluation,
                None if name == "dense" else proof.comparison,
            )
            for name, proof in self.proofs.items()
        ]

    @property
    def identity(self) -> str:
        """Whether files gave the same in a fresh process, in words."""
        wrong = [name for name, same in self.identical.items() if not same]
        if wrong:
            return f"NOT identical in a fresh process: {', '.join(wrong)}."
        return "Every file was read in a fresh process and gave identical outputs."

    @property
    def left_out(self) -> dict[str, list[str]]:
        """By reason, the leaves that stayed as they were in some variant."""
        reasons: dict[str, list[str]] = {}
        for variant in self.variants:
            for leaf in variant.report.kept:
                names = reasons.setdefault(leaf.reason, [])
                if leaf.name not in names:
                    names.append(leaf.name)
        return reasons

    @property
    def stages(self) -> dict[str, dict[str, int]]:
        """By name, bytes stage by stage of variants whose files are entropy coded."""
        return {
            name: proof.stage_bytes | {"entropy coded": proof.file_bytes}
            for name, proof in self.proofs.items()
            if proof.stage_bytes
        }

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values."""
        return {
            "recipe": self.recipe.to_json(),
            "models": {name: proof.to_json() for name, proof in self.proofs.items()},
            "identical_in_a_fresh_process": self.identical,
            "sensitivities": [row._asdict() for row in self.sensitivities],
            "leaves": {v.name: v.report.to_json() for v in self.variants},
            "times": {
                "device": jax.devices()[0].device_kind,
                "batches": {
                    batch: {name: timing._asdict() for name, timing in timings.items()}
                    for batch, timings in self.timings.items()
                },
            },
        }
