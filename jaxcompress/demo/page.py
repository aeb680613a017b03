"""The demo's HTML page: what compression won and cost, where the bytes went.

Made of the figures that `report.json` keeps, so that it can be written anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress import report
from jaxcompress.core.report import Report
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.report import Column, Variant, sections
from jaxcompress.storage import Breakdown
from jaxcompress.validate import Comparison, Figure

_PARTS = ("numbers", "masks", "tables", "scales")


def page(record: Mapping[str, Any], files: Mapping[str, Breakdown]) -> list[sections.Section]:
    """The sections of the page.

    Args:
      record: all figures, as `Results.to_json` gives them.
      files: by name of the file, where the bytes of each model go; what lacks has no
        bar.

    Returns:
      Sections for `report.page`.
    """
    known = {
        name: files[model["file"]]
        for name, model in record["models"].items()
        if model.get("file") in files
    }
    return [
        *report.summary(variants(record), examples="images"),
        sections.Heading("Memory and time"),
        _costs(record),
        sections.Heading("Where the bytes went"),
        *_bytes(known),
        *_stages(record),
        sections.Heading("How sensitive each leaf is to 4 bits"),
        _sensitivities(record),
        sections.Heading("What was left out"),
        *_left_out(record),
        sections.Heading("Leaf by leaf"),
        *_leaves(record, known),
    ]


def variants(record: Mapping[str, Any]) -> list[Variant]:
    """The models as reports take them; the first one is the original."""
    found = []
    for name, model in record["models"].items():
        accuracy = Figure("accuracy", model["accuracy"], tuple(model["accuracy_interval"]))
        test = Comparison.from_json(model["comparison"]) if found else None
        found.append(Variant(name, model["file_bytes"], accuracy, test))
    return found


def identity(record: Mapping[str, Any]) -> str:
    """Whether files gave the same in a fresh process, in words."""
    wrong = [name for name, same in record["identical_in_a_fresh_process"].items() if not same]
    if wrong:
        return f"NOT identical in a fresh process: {', '.join(wrong)}."
    return "Every file was read in a fresh process and gave identical outputs."


def left_out(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """By reason, the leaves that stayed as they were in some variant."""
    reasons: dict[str, list[str]] = {}
    for told in map(Report.from_json, record["leaves"].values()):
        for leaf in told.kept:
            names = reasons.setdefault(leaf.reason, [])
            if leaf.name not in names:
                names.append(leaf.name)
    return reasons


def stages(record: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """By name, bytes stage by stage of variants whose files are entropy coded."""
    return {
        name: model["stage_bytes"] | {"entropy coded": model["file_bytes"]}
        for name, model in record["models"].items()
        if model["stage_bytes"]
    }


def _costs(record: Mapping[str, Any]) -> report.Table:
    batches = record["times"]["batches"]
    columns = (
        Column("model", "Model"),
        Column("memory", "Held in memory, bytes", ",d"),
        Column("peak", "Peak of a call on 64 images, bytes", ",d"),
        *(Column(batch, f"Batch of {batch}, ms", ".2f") for batch in batches),
    )
    rows = [
        {"model": name, "memory": model["size"]["memory"], "peak": model["peak_bytes"]}
        | {batch: 1e3 * times[name]["median_seconds"] for batch, times in batches.items()}
        for name, model in record["models"].items()
    ]
    return report.table(
        rows,
        columns=columns,
        title="",
        captions=[
            identity(record),
            f"Times are medians of interleaved calls on {record['times']['device']}; layers "
            "where integers were measured to be slower run on arrays held in memory.",
            "At its peak a call holds arrays made from the codes too, as XLA counts them.",
        ],
    )


def _bytes(files: Mapping[str, Breakdown]) -> list[sections.Section]:
    if not files:
        return [sections.Paragraph("The model files are not there.")]
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
    return [sections.Bars(shown, bars, (*_PARTS, "header"))]


def _stages(record: Mapping[str, Any]) -> Sequence[sections.Section]:
    """What each stage takes off the files that are entropy coded."""
    each = [
        (f"{name}: {stage}", count)
        for name, counts in stages(record).items()
        for stage, count in counts.items()
    ]
    if not each:
        return []
    shown = report.table(
        [{"stage": stage, "size": count} for stage, count in each],
        columns=(Column("stage", "After this stage"), Column("size", "File, bytes", ",d")),
        title="Entropy-coded files, stage by stage",
    )
    return [sections.Bars(shown, tuple(sections.Bar((count,)) for _, count in each))]


def _sensitivities(record: Mapping[str, Any]) -> Sensitivities:
    rows = [
        LeafSensitivity(
            **row
            | {
                "layer": tuple(row["layer"]),
                "intervals": {name: tuple(ends) for name, ends in row["intervals"].items()},
            }
        )
        for row in record["sensitivities"]
    ]
    return Sensitivities(tuple(rows), "loss", "measured on the validation images")


def _left_out(record: Mapping[str, Any]) -> list[sections.Section]:
    reasons = left_out(record)
    if not reasons:
        return [sections.Paragraph("Every leaf was compressed.")]
    count = len({name for names in reasons.values() for name in names})
    shown = report.table(
        [{"leaves": ", ".join(names), "reason": reason} for reason, names in reasons.items()],
        columns=(Column("leaves", "Leaves"), Column("reason", "Why they stayed as they were")),
        title="",
    )
    return [sections.Folded(f"{count} leaves were not compressed, and why", (shown,))]


def _leaves(record: Mapping[str, Any], files: Mapping[str, Breakdown]) -> list[sections.Section]:
    """Behind a line for each variant: the bytes of its leaves, and how they came."""
    folded = []
    for name, model in record["models"].items():
        told = Report.from_json(record["leaves"][name])
        inside = (*([files[name]] if name in files else []), *([told] if told.leaves else []))
        folded.append(sections.Folded(f"{name}, {model['file_bytes']:,} bytes", inside))
    return folded
