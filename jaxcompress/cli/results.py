"""The page about a folder of results: tables of models, tests, bytes and leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress.cli.folder import Folder
from jaxcompress.core.report import signed
from jaxcompress.demo.page import page as demo
from jaxcompress.report import Column, Variant, summary, table
from jaxcompress.report.page import page
from jaxcompress.report.sections import Heading, Paragraph, Preformatted, Scatter, Section
from jaxcompress.validate import Comparison, compare


def html(found: Folder, reference: str | None) -> str:
    """The page; the same folder gives the same.

    Args:
      found: the folder.
      reference: the evaluation that others are compared with; None compares none.

    Raises:
      ValueError: there is no such evaluation, or one is of other examples.
    """
    sections: list[Section] = [
        *(demo(found.demo, found.models) if found.demo else []),
        *_evaluations(found, reference),
        *_comparisons(found.comparisons),
        *_models(found),
    ]
    if found.card is not None:
        sections.append(Paragraph("card.html says what was tested, on which data, and what not."))
    if found.left_out:
        lines = [f"{name}: {reason}" for name, reason in found.left_out.items()]
        sections += [Heading("Files that were not read"), Preformatted("\n".join(lines))]
    return page(found.demo.get("title", f"What is in {found.path.resolve().name}"), sections)


def _evaluations(found: Folder, reference: str | None) -> list[Section]:
    if reference is not None and reference not in found.evaluations:
        known = ", ".join(found.evaluations)
        mend = f"Name one of: {known}." if known else "It holds none: leave --reference out."
        raise ValueError(
            f"report(--reference {reference!r}) is no evaluation in {str(found.path)!r}. {mend}"
        )
    rows = []
    for name, evaluation in found.evaluations.items():
        against = _against(found, name, reference)
        for metric in dict.fromkeys(each for owner, each in found.scores if owner == name):
            interval = evaluation[metric].figure().interval if metric in evaluation else None
            rows.append(
                {
                    "model": name,
                    "metric": metric,
                    "value": found.scores[name, metric],
                    "interval": None if interval is None else _interval(interval, ".4g"),
                    **_compared(against.to_json() if against and metric == "accuracy" else {}),
                }
            )
    if not rows:
        return []
    columns = (
        Column("model", "Model"),
        Column("metric", "Metric"),
        Column("value", "Value", ".4g"),
        Column("interval", "95 % interval"),
        *(_COMPARED if reference else ()),
    )
    title = "Evaluations" if reference is None else f"Evaluations, compared with {reference}"
    return [*_sized(found, reference), table(rows, columns=columns, title=title)]


def _sized(found: Folder, reference: str | None) -> list[Section]:
    """Of two models or more whose files are there, what their bytes cost."""
    variants = [
        Variant(name, size.size_bytes, evaluation, _against(found, name, reference))
        for name, evaluation in found.evaluations.items()
        if (size := found.models.get(f"{name}.safetensors")) and "accuracy" in evaluation
    ]
    if len(variants) < 2:
        return []
    if any(variant.name == reference for variant in variants):
        return summary(variants)
    return [Scatter(tuple(variant.point for variant in variants), "Lines are 95 % intervals.")]


def _against(found: Folder, name: str, reference: str | None) -> Comparison | None:
    if reference is None or name == reference:
        return None
    return compare(found.evaluations[reference], found.evaluations[name])


def _comparisons(records: Mapping[str, Any]) -> list[Section]:
    rows = [{"file": name, "n": each["n"], **_compared(each)} for name, each in records.items()]
    columns = (Column("file", "File"), Column("n", "Examples", ",d"), *_COMPARED)
    return [table(rows, columns=columns, title="Comparisons")] if rows else []


_COMPARED = (
    Column("difference", "Difference, points [95 %]"),
    Column("p", "McNemar p", ".2g"),
    Column("verdict", "Verdict"),
)


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a paired comparison of accuracies; dashes for the reference."""
    if not record:
        return {"difference": None, "p": None, "verdict": None}
    ends = _interval([100 * end for end in record["accuracy_interval"]], "+.2f")
    return {
        "difference": f"{signed(100 * record['accuracy_difference'], '+.2f')} {ends}",
        "p": record["mcnemar_p"],
        "verdict": record["verdict"],
    }


def _interval(ends: Sequence[float | None], form: str) -> str:
    """Both ends; of an open one there is no number."""
    low, high = ("…" if end is None else signed(end, form) for end in ends)
    return f"[{low}, {high}]"


def _models(found: Folder) -> list[Section]:
    kinds = ("numbers", "masks", "tables", "scales")
    told = {model.get("file") for model in found.demo.get("models", {}).values()}
    rows: list[dict[str, Any]] = [
        {
            "file": name,
            "size": each.size_bytes,
            "weights": each.total.weights,
            "bits": each.bits_per_weight if each.total.weights else None,
            **{kind: getattr(each.total, kind) for kind in kinds},
            "header": each.header_bytes,
        }
        for name, each in found.models.items()
        if name not in told
    ]
    columns = (
        Column("file", "File"),
        Column("size", "All, bytes", ",d"),
        Column("weights", "Weights", ",d"),
        Column("bits", "Bits per weight", ".2f"),
        *(Column(kind, f"{kind.capitalize()}, bytes", ",d") for kind in (*kinds, "header")),
    )
    return [table(rows, columns=columns, title="Model files")] if rows else []
