"""The page about a folder of results: tables of models, tests, bytes and leaves."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from jaxcompress.cli.folder import Folder
from jaxcompress.core.report import Report
from jaxcompress.report import Column, Point, pareto_svg, table
from jaxcompress.report.page import page
from jaxcompress.report.sections import Heading, Paragraph, Picture, Preformatted, Section
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
        *_demo(found.demo),
        *_evaluations(found, reference),
        *_comparisons(found.comparisons),
        *_models(found),
        *_leaves(found.demo),
    ]
    if found.card is not None:
        sections.append(Paragraph("card.html says what was tested, on which data, and what not."))
    if found.left_out:
        lines = [f"{name}: {reason}" for name, reason in found.left_out.items()]
        sections += [Heading("Files that were not read"), Preformatted("\n".join(lines))]
    return page(f"What is in {found.path.resolve().name}", sections)


def _demo(record: Mapping[str, Any]) -> list[Section]:
    if not record:
        return []
    batches = record["times"]["batches"]
    columns = (
        Column("model", "model"),
        Column("file", "file, bytes", ",d"),
        Column("smaller", "times smaller", ".1f"),
        Column("memory", "memory, bytes", ",d"),
        Column("peak", "peak, bytes", ",d"),
        Column("accuracy", "accuracy [95 %]"),
        *_COMPARED,
        *(Column(f"ms {batch}", f"ms, batch {batch}", ".3f") for batch in batches),
    )
    dense = next(iter(record["models"].values()))["size"]["dense"]
    rows = []
    for name, model in record["models"].items():
        low, high = model["accuracy_interval"]
        times = {f"ms {batch}": 1e3 * batches[batch][name]["median_seconds"] for batch in batches}
        first = not rows
        rows.append(
            {
                "model": name,
                "file": model["file_bytes"],
                "smaller": dense / model["file_bytes"],
                "memory": model["size"]["memory"],
                "peak": model["peak_bytes"],
                "accuracy": f"{model['accuracy']:.2%} [{low:.2%}, {high:.2%}]",
                **_compared({} if first else model["comparison"]),
                **times,
            }
        )
    wrong = [name for name, same in record["identical_in_a_fresh_process"].items() if not same]
    captions = [
        f"NOT identical in a fresh process: {', '.join(wrong)}."
        if wrong
        else "Every file was read in a fresh process and gave identical outputs.",
        f"Times are medians of interleaved calls on {record['times']['device']}.",
        *_stages(record["models"]),
    ]
    points = [
        Point(name, model["file_bytes"], model["accuracy"], *model["accuracy_interval"])
        for name, model in record["models"].items()
    ]
    shown = table(rows, columns=columns, title="Models of the demo", captions=captions)
    return [shown, *_picture(points), *_sensitivities(record["sensitivities"])]


def _stages(models: Mapping[str, Any]) -> list[str]:
    return [
        f"Bytes of {name}, stage by stage: "
        + ", ".join(f"{stage} {count:,}" for stage, count in model["stage_bytes"].items())
        + f", entropy coded {model['file_bytes']:,}."
        for name, model in models.items()
        if model["stage_bytes"]
    ]


def _sensitivities(rows: list[dict[str, Any]]) -> list[Section]:
    columns = (
        Column("name", "leaf"),
        Column("loss", "loss increase", "+.4f"),
        Column("accuracy", "accuracy change", "+.2%"),
        Column("reason", "remark"),
    )
    cells = [
        {
            "name": row["name"],
            "loss": row["changes"].get("loss"),
            "accuracy": row["changes"].get("accuracy"),
            "reason": row["reason"],
        }
        for row in rows
    ]
    title = "Each leaf alone rounded to 4 bits, on the validation images"
    return [table(cells, columns=columns, title=title)] if cells else []


def _leaves(record: Mapping[str, Any]) -> list[Section]:
    told = {name: Report.from_json(each) for name, each in record.get("leaves", {}).items()}
    told = {name: each for name, each in told.items() if each.leaves}
    head = [Heading("What was done to each leaf")] if told else []
    return [*head, *(Preformatted(f"{name}\n{each}") for name, each in told.items())]


def _evaluations(found: Folder, reference: str | None) -> list[Section]:
    if reference is not None and reference not in found.evaluations:
        known = ", ".join(found.evaluations) or "none"
        raise ValueError(
            f"report(--reference {reference!r}) is no evaluation in {str(found.path)!r}. Name one "
            f"of: {known}."
        )
    rows, points = [], []
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
        size = found.models.get(f"{name}.safetensors")
        if size is not None and "accuracy" in evaluation:
            low, high = evaluation["accuracy"].interval()
            points.append(Point(name, size.size_bytes, evaluation.accuracy, low, high))
    if not rows:
        return []
    columns = (
        Column("model", "model"),
        Column("metric", "metric"),
        Column("value", "value", ".4g"),
        Column("interval", "95 % interval"),
        *(_COMPARED if reference else ()),
    )
    title = "Evaluations" if reference is None else f"Evaluations, compared with {reference}"
    return [table(rows, columns=columns, title=title), *_picture(points)]


def _against(found: Folder, name: str, reference: str | None) -> Comparison | None:
    if reference is None or name == reference:
        return None
    return compare(found.evaluations[reference], found.evaluations[name])


def _comparisons(records: Mapping[str, Any]) -> list[Section]:
    rows = [{"file": name, "n": each["n"], **_compared(each)} for name, each in records.items()]
    columns = (Column("file", "file"), Column("n", "examples", ",d"), *_COMPARED)
    return [table(rows, columns=columns, title="Comparisons")] if rows else []


_COMPARED = (
    Column("difference", "difference, points [95 %]"),
    Column("p", "McNemar p", ".2g"),
    Column("verdict", "verdict"),
)


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a paired comparison of accuracies; dashes for the reference."""
    if not record:
        return {"difference": None, "p": None, "verdict": None}
    ends = _interval([100 * end for end in record["accuracy_interval"]], "+.2f")
    return {
        "difference": f"{100 * record['accuracy_difference']:+.2f} {ends}",
        "p": record["mcnemar_p"],
        "verdict": record["verdict"],
    }


def _interval(ends: Sequence[float | None], form: str) -> str:
    """Both ends; of an open one there is no number."""
    low, high = ("…" if end is None else f"{end:{form}}" for end in ends)
    return f"[{low}, {high}]"


def _models(found: Folder) -> list[Section]:
    kinds = ("numbers", "masks", "tables", "scales")
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
    ]
    columns = (
        Column("file", "file"),
        Column("size", "bytes", ",d"),
        Column("weights", "weights", ",d"),
        Column("bits", "bits per weight", ".3g"),
        *(Column(kind, kind, ",d") for kind in (*kinds, "header")),
    )
    return [table(rows, columns=columns, title="Model files")] if rows else []


def _picture(points: list[Point]) -> list[Section]:
    """Bytes against accuracy, where there are two models or more and matplotlib."""
    if len(points) < 2:
        return []
    if importlib.util.find_spec("matplotlib") is None:
        return [Paragraph("A plot would need matplotlib: pip install 'jaxcompress[plots]'.")]
    picture = pareto_svg(points, title="Bytes against accuracy")
    return [Picture(picture, "Bytes on disk against accuracy", "Bars are 95 % intervals.")]
