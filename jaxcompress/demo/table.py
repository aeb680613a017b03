"""The table that the demo prints."""

from collections.abc import Mapping
from typing import Any

from jaxcompress import report
from jaxcompress.core.report import signed
from jaxcompress.demo.page import identity, left_out, stages
from jaxcompress.report import Column, Table

_COLUMNS = (
    Column("model", "model"),
    Column("file", "file, bytes", ",d"),
    Column("smaller", "times smaller", ".1f"),
    Column("memory", "memory, bytes", ",d"),
    Column("peak", "peak, bytes", ",d"),
    Column("accuracy", "accuracy, % [95 %]"),
    Column("difference", "difference, points [95 %]"),
    Column("p", "McNemar p", ".2g"),
)


def results_table(record: Mapping[str, Any]) -> Table:
    """All figures of every variant, and remarks on them.

    Args:
      record: all figures, as `Results.to_json` gives them.
    """
    batches = record["times"]["batches"]
    columns = (
        *_COLUMNS,
        *(Column(batch, f"batch {batch}, ms", ".3f") for batch in batches),
        Column("verdict", "verdict"),
    )
    original, *_ = record["models"].values()
    rows = [
        _row(name, model, original)
        | {batch: 1e3 * times[name]["median_seconds"] for batch, times in batches.items()}
        for name, model in record["models"].items()
    ]
    return report.table(rows, columns=columns, title=record["title"], captions=captions(record))


def captions(record: Mapping[str, Any]) -> list[str]:
    """Notes that explain the figures, and what was not compressed."""
    worst = next(row for row in record["sensitivities"] if not row["reason"])
    change = signed(worst["changes"]["loss"], "+.4f")
    return [
        identity(record),
        "Files are compared with that of the dense model; peak is that of a call on 64 images, "
        "where codes become arrays.",
        f"Times are medians of interleaved calls on {record['times']['device']}; sites where "
        "integers were measured to be slower run on arrays held in memory.",
        f"Most sensitive layer: {worst['name']}, whose rounding to 4 bits alone changes the "
        f"validation loss by {change} nats.",
        *(_stages(name, counts) for name, counts in stages(record).items()),
        *(
            f"Not compressed ({reason}): {', '.join(names)}."
            for reason, names in left_out(record).items()
        ),
    ]


def _row(name: str, model: Mapping[str, Any], original: Mapping[str, Any]) -> dict:
    comparison, (low, high) = model["comparison"], model["accuracy_interval"]
    against = model is not original
    change, below, above = (
        signed(100 * each, "+.2f")
        for each in (comparison["accuracy_difference"], *comparison["accuracy_interval"])
    )
    return {
        "model": name,
        "file": model["file_bytes"],
        "smaller": original["file_bytes"] / model["file_bytes"],
        "memory": model["size"]["memory"],
        "peak": model["peak_bytes"],
        "accuracy": f"{100 * model['accuracy']:.2f} [{100 * low:.2f}, {100 * high:.2f}]",
        "difference": f"{change} [{below}, {above}]" if against else None,
        "p": comparison["mcnemar_p"] if against else None,
        "verdict": comparison["verdict"] if against else "the reference",
    }


def _stages(name: str, counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{stage} {count:,}" for stage, count in counts.items())
    return f"Bytes of {name}, stage by stage: {told}."
