"""What a diagnosis says: rows of sites and of leaves, a table, and JSON both ways."""

import dataclasses
import math
from typing import Any

from jaxcompress.core.report import aligned, signed

_RATIOS = ("weights", "inputs", "outputs", "largest", "range_used")
MANY = 6.0
"""Times the median magnitude from which on a feature counts as an outlier."""


@dataclasses.dataclass(frozen=True)
class SiteSignal:
    """The signal at one site, of one layer where a scan slices the weight.

    Signal-to-noise ratios are in dB: 20 is a tenth of the signal's size as noise, 40 a
    hundredth; inf where nothing changed, -inf where noise is all there is, NaN where
    both are 0.

    Attributes:
      site: its name; of a second one of the same leaf "leaf#2".
      leaf: the leaf that meets data there.
      layer: indices of the scans that slice the leaf; () elsewhere.
      weights: of the weight.
      inputs: of the data that meet it, with all that happened before the site.
      outputs: of what the site gives, before bias and activation.
      features: how many features the data have; 0 where they are indices.
      largest: largest magnitude of a feature over the median one, in the float model;
        NaN where all are 0 or there are none, inf where most are 0.
      outliers: features whose magnitude is 6 times the median or more.
      reason: why a figure is not known; empty where all are.
    """

    site: str
    leaf: str
    layer: tuple[int, ...]
    weights: float
    inputs: float
    outputs: float
    features: int
    largest: float
    outliers: int
    reason: str = ""

    @property
    def name(self) -> str:
        """The site with its layer: "kernel", "layers[3]"."""
        return self.site + (f"[{', '.join(map(str, self.layer))}]" if self.layer else "")


@dataclasses.dataclass(frozen=True)
class LeafCodes:
    """How a leaf uses its format.

    Attributes:
      leaf: its name.
      kind: its format, or the class of a leaf without codes.
      weights: signal-to-noise ratio of the whole leaf in dB.
      range_used: mean over blocks of (largest - smallest code) / (highest - lowest), in
        [0, 1]: 1 where a block fills its codes, 0.5 where all of a block has one sign
        under codes of both, little where a scale is wide; NaN without codes.
      codes: how many codes the format has; 0 without codes.
      unused: how many of them no entry of the leaf has.
    """

    leaf: str
    kind: str
    weights: float
    range_used: float
    codes: int
    unused: int

    @property
    def unused_share(self) -> float:
        """Share of the codes that are never used; NaN without codes."""
        return self.unused / self.codes if self.codes else math.nan


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Where a compressed model loses its signal; prints as a table.

    Attributes:
      sites: in program order, layers of a scan one after another.
      leaves: the compressed ones, in the tree's order.
      batches: how many batches were run.
    """

    sites: tuple[SiteSignal, ...]
    leaves: tuple[LeafCodes, ...]
    batches: int

    @property
    def worst(self) -> SiteSignal:
        """The site of the noisiest output.

        Raises:
          ValueError: no output has a ratio.
        """
        known = [site for site in self.sites if not math.isnan(site.outputs)]
        if not known:
            raise ValueError("Diagnosis.worst: no site has an output with a signal.")
        return min(known, key=lambda site: site.outputs)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values, inf and NaN as words; `from_json` reads them."""
        return {
            "sites": [_plain(site) for site in self.sites],
            "leaves": [_plain(leaf) for leaf in self.leaves],
            "batches": self.batches,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Diagnosis":
        """The diagnosis that `to_json` described."""
        sites = tuple(SiteSignal(**_read(site)) for site in record["sites"])
        leaves = tuple(LeafCodes(**_read(leaf)) for leaf in record["leaves"])
        return cls(sites, leaves, record["batches"])

    def __str__(self) -> str:
        header = ("site", "weights dB", "inputs dB", "outputs dB", "largest", "outliers", "remark")
        rows = [
            (
                site.name,
                *map(_decibels, (site.weights, site.inputs, site.outputs)),
                "-" if math.isnan(site.largest) else f"{site.largest:.1f} x",
                f"{site.outliers} of {site.features}" if site.features else "-",
                site.reason,
            )
            for site in self.sites
        ]
        codes = ("leaf", "format", "weights dB", "range used", "codes never used")
        leaves = [
            (
                leaf.leaf,
                leaf.kind,
                _decibels(leaf.weights),
                f"{leaf.range_used:.1%}" if leaf.codes else "-",
                f"{leaf.unused} of {leaf.codes}" if leaf.codes else "-",
            )
            for leaf in self.leaves
        ]
        title = f"diagnose: signal against noise over {self.batches} batches"
        return "\n".join([title, *aligned([header, *rows]), "", *aligned([codes, *leaves])])


def decibels(signal: float, noise: float) -> float:
    """10 · log10(signal / noise) of two sums of squares; NaN of two zeros.

    Example:
      >>> decibels(4.0, 0.04), decibels(1.0, 0.0), decibels(0.0, 0.0)
      (20.0, inf, nan)
    """
    if not (math.isfinite(signal) and math.isfinite(noise)) or signal == noise == 0:
        return math.nan
    if noise == 0 or signal == 0:
        return math.inf if noise == 0 else -math.inf
    return 10 * (math.log10(signal) - math.log10(noise))


def _decibels(ratio: float) -> str:
    return "-" if math.isnan(ratio) else signed(ratio, ".1f")


def _plain(row: SiteSignal | LeafCodes) -> dict[str, Any]:
    fields = dataclasses.asdict(row)
    words = {
        name: str(value)
        for name, value in fields.items()
        if isinstance(value, float) and not math.isfinite(value)
    }
    return fields | words | ({"layer": list(row.layer)} if isinstance(row, SiteSignal) else {})


def _read(record: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: float(record[name]) for name in _RATIOS if name in record}
    layer = {"layer": tuple(record["layer"])} if "layer" in record else {}
    return record | numbers | layer
