"""Variants with answers made by hand, and a page with every kind of section."""

import numpy as np

from jaxcompress import report, storage
from jaxcompress.core.report import LeafReport, Report
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.report import Column, Variant, sections, table
from jaxcompress.validate import compare
from tests.validate.evaluations import classifier

N = 719
SIZES = {
    "int8": (157_360, 0, 0),
    "int4": (93_480, 1, 1),
    "pruned + int8": (54_466, 1, 2),
    "deep compression": (28_968, 1, 5),
    "rate-distortion": (22_770, 1, 2),
    "distilled": (155_480, 3, 4),
    "distilled + pruned + int4": (15_709, 3, 2),
    "binary": (9_120, 2, 90),
}
"""By name: bytes, and how many answers were gained and lost."""


def variant(name: str, size_bytes: int, gained: int, lost: int, n: int = N) -> Variant:
    """A model against one that answers all but seven of n examples right."""
    before = classifier(np.arange(n) >= 7)
    after = classifier((np.arange(n) >= 7 + lost) | (np.arange(n) < gained))
    return Variant(name, size_bytes, after, compare(before, after))


def original(size_bytes: int = 608_160, n: int = N) -> Variant:
    return Variant("dense", size_bytes, classifier(np.arange(n) >= 7))


def variants() -> list[Variant]:
    return [original(), *(variant(name, *figures) for name, figures in SIZES.items())]


def breakdown() -> storage.Breakdown:
    leaves = [
        storage.LeafBytes(f"block{i}/attention/kernel", 4096, 900 * i, 512, 40, 128, 1000)
        for i in range(4)
    ]
    return storage.Breakdown("model.safetensors", 739, tuple(leaves))


def leaves() -> Report:
    reason = "not selected: meets data entry by entry (add)"
    return Report(
        "int4 in groups of 64",
        tuple(
            LeafReport(f"block{i}/attention/kernel", (64, 64), "int4 in groups", reason, 9216, 2432)
            for i in range(4)
        ),
    )


def sensitivities() -> Sensitivities:
    changes = {"head/kernel": (0.002, -0.0076, 0.0413), "conv2/kernel": (-0.0043, -0.0228, 0.0008)}
    rows = [
        LeafSensitivity(
            name,
            {"loss": change, "accuracy": change / 10},
            choice="int4 per channel",
            intervals={"loss": (low, high)},
        )
        for name, (change, low, high) in changes.items()
    ]
    unknown = LeafSensitivity("unused/kernel", {}, "no data reached it", "int4 per channel")
    return Sensitivities.ordered([*rows, unknown], "loss", "measured")


def page() -> str:
    """As the demo's: what is folded is not laid out before it is opened."""
    wide = table(
        [{f"{i}": -1.5 * i for i in range(12)}],
        columns=[Column(f"{i}", f"Column {i}, kilobytes", "+.3f") for i in range(12)],
        title="A wide table",
        captions=["It scrolls within its own box."],
    )
    return report.page(
        "719 test images of digits",
        [
            *report.summary(variants(), examples="images"),
            sections.Heading("Where the bytes went"),
            breakdown(),
            sections.Heading("How sensitive each leaf is"),
            sensitivities(),
            wide,
            sections.Paragraph("Words. " * 40),
            sections.Preformatted("x" * 300),
            sections.Folded("Leaf by leaf", (breakdown(), leaves())),
        ],
    )
