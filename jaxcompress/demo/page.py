"""The demo's HTML page: what compression won and cost, where the bytes went."""

import pathlib
from collections.abc import Mapping, Sequence

import jax

from jaxcompress import report, storage
from jaxcompress.demo.proof import LATENCY_BATCHES
from jaxcompress.demo.results import Results
from jaxcompress.report import Column, sections
from jaxcompress.storage import Breakdown

_PARTS = ("numbers", "masks", "tables", "scales")


def page(results: Results, title: str, folder: pathlib.Path) -> str:
    """The page as HTML.

    Args:
      results: all figures.
      title: what was tested on what.
      folder: holds the model files.

    Returns:
      HTML; the same results give the same.
    """
    files = {
        variant.name: storage.breakdown(folder / variant.file_name) for variant in results.variants
    }
    return report.page(
        title,
        [
            *report.summary(results.shown, examples="images"),
            sections.Heading("Memory and time"),
            _costs(results),
            sections.Heading("Where the bytes went"),
            *_bytes(results, files),
            sections.Heading("How sensitive each leaf is to 4 bits"),
            results.sensitivities,
            sections.Heading("What was left out"),
            *_left_out(results),
            sections.Heading("Leaf by leaf"),
            *_leaves(results, files),
        ],
    )


def _costs(results: Results) -> report.Table:
    columns = (
        Column("model", "Model"),
        Column("memory", "Held in memory, bytes", ",d"),
        Column("peak", "Peak of a call on 64 images, bytes", ",d"),
        *(Column(f"{batch}", f"Batch of {batch}, ms", ".2f") for batch in LATENCY_BATCHES),
    )
    rows = [
        {"model": name, "memory": proof.size.memory, "peak": proof.peak_bytes}
        | {
            f"{batch}": 1e3 * timings[name].median_seconds
            for batch, timings in results.timings.items()
        }
        for name, proof in results.proofs.items()
    ]
    return report.table(
        rows,
        columns=columns,
        title="",
        captions=[
            results.identity,
            f"Times are medians of interleaved calls on {jax.devices()[0].device_kind}; layers "
            "where integers were measured to be slower run on arrays held in memory.",
            "At its peak a call holds arrays made from the codes too, as XLA counts them.",
        ],
    )


def _bytes(results: Results, files: Mapping[str, Breakdown]) -> list[sections.Section]:
    shown = report.table(
        [{"model": name, "size": each.size_bytes} for name, each in files.items()],
        columns=(Column("model", "Model"), Column("size", "File, bytes", ",d")),
        title="",
        captions=["Numbers are codes or floats; the header names and describes the leaves."],
    )
    bars = tuple(
        sections.Bar((*(getattr(each.total, part) for part in _PARTS), each.header_bytes))
        for each in files.values()
    )
    return [
        sections.Bars(shown, bars, (*_PARTS, "header")),
        *_stages(results),
    ]


def _stages(results: Results) -> Sequence[sections.Section]:
    """What each stage takes off the files that are entropy coded."""
    stages = [
        (f"{name}: {stage}", count)
        for name, counts in results.stages.items()
        for stage, count in counts.items()
    ]
    if not stages:
        return []
    shown = report.table(
        [{"stage": stage, "size": count} for stage, count in stages],
        columns=(Column("stage", "After this stage"), Column("size", "File, bytes", ",d")),
        title="Entropy-coded files, stage by stage",
    )
    return [sections.Bars(shown, tuple(sections.Bar((count,)) for _, count in stages))]


def _left_out(results: Results) -> list[sections.Section]:
    rows = [
        {"leaves": ", ".join(names), "reason": reason} for reason, names in results.left_out.items()
    ]
    if not rows:
        return [sections.Paragraph("Every leaf was compressed.")]
    count = sum(map(len, results.left_out.values()))
    columns = (Column("leaves", "Leaves"), Column("reason", "Why they stayed as they were"))
    shown = report.table(rows, columns=columns, title="")
    return [sections.Folded(f"{count} leaves were not compressed, and why", (shown,))]


def _leaves(results: Results, files: Mapping[str, Breakdown]) -> list[sections.Section]:
    """Behind a line for each variant: the bytes of its leaves, and how they came."""
    return [
        sections.Folded(
            f"{variant.name}, {results.proofs[variant.name].file_bytes:,} bytes",
            (
                files[variant.name],
                *([variant.report] if variant.report.leaves else []),
            ),
        )
        for variant in results.variants
    ]
