"""What verbs of other rooms give, as tables and bars: leaves, bytes, sensitivities."""

from typing import Any

from jaxcompress.core.report import Report, signed
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.report import units
from jaxcompress.report.sections import Bar, Bars
from jaxcompress.report.tables import Column, Table, table
from jaxcompress.storage import Breakdown, LeafBytes

PARTS = ("numbers", "masks", "tables", "scales")
"""What the bytes of a leaf are, in the order of their bars."""
_SHOWN = 30
"""Most leaves that have a bar; the smallest others share one."""


def leaf_table(report: Report) -> Table:
    """What a transform did to each leaf, and why."""
    columns = (
        Column("name", "Leaf"),
        Column("shape", "Shape"),
        Column("action", "What was done"),
        Column("reason", "Why"),
        Column("before", "Before, bytes", ",d"),
        Column("after", "After, bytes", ",d"),
    )
    rows = [
        {
            "name": leaf.name,
            "shape": "×".join(map(str, leaf.shape)) or "()",
            "action": leaf.action,
            "reason": leaf.reason,
            "before": leaf.bytes_before,
            "after": leaf.bytes_after,
        }
        for leaf in report.leaves
    ]
    total = {"before": report.bytes_before, "after": report.bytes_after}
    words = {"name": "total", "shape": "", "action": "", "reason": ""}
    return table([*rows, words | total], columns=columns, title=report.title)


def byte_bars(breakdown: Breakdown) -> Bars:
    """Where the bytes of a file go: a bar for each leaf, one for the header.

    Leaves stand in the tree's order; of many the largest have bars of their own.
    """
    leaves = bars_of(breakdown)
    rows = [{"name": each.name, "bits": bits(each), "size": each.size_bytes} for each in leaves]
    rows.append({"name": "header", "bits": None, "size": breakdown.header_bytes})
    columns = (
        Column("name", "Leaf"),
        Column("size", "Bytes", ",d"),
        Column("bits", "Bits per weight", ".2f"),
    )
    bars = [Bar((*(getattr(leaf, part) for part in PARTS), 0)) for leaf in leaves]
    header = Bar((*[0] * len(PARTS), breakdown.header_bytes))
    shown = table(rows, columns=columns, title="")
    return Bars(shown, (*bars, header), (*PARTS, "header"))


def bars_of(breakdown: Breakdown) -> list[LeafBytes]:
    """The leaves that have a bar, and the others as one."""
    by_size = sorted(breakdown.leaves, key=lambda leaf: -leaf.size_bytes)
    large, small = by_size[:_SHOWN], by_size[_SHOWN:]
    bars = [leaf for leaf in breakdown.leaves if leaf in large]
    if small:
        rest = Breakdown(breakdown.path, 0, tuple(small)).total
        counts = [getattr(rest, field) for field in ("weights", *PARTS, "entropy")]
        bars.append(LeafBytes(f"{len(small)} smaller leaves", *counts))
    return bars


def bits(sized: Breakdown | LeafBytes) -> float | None:
    """Bits per weight; None where there is no weight."""
    weights = (sized.total if isinstance(sized, Breakdown) else sized).weights
    return sized.bits_per_weight if weights else None


def sensitivity_bars(found: Sensitivities) -> Bars:
    """How much a metric changes by each part alone, with the intervals."""
    unit = ", nats" if found.metric == "loss" else ""
    columns = [
        Column("part", "Leaf"),
        Column("choice", "Compressed to"),
        Column("change", f"Change of {found.metric}{unit}", "+.4f"),
        Column("interval", f"{100 * found.confidence:g} % interval{unit}"),
        Column("accuracy", "Change of accuracy, points"),
        Column("reason", "Remark"),
    ]
    rows = [_sensitivity(row, found.metric) for row in found]
    choices = {row.choice for row in found}
    if len(choices) == 1:
        columns = [column for column in columns if column.key != "choice"]
    what = choices.pop() if len(choices) == 1 else ""
    told = [each for each in columns if any(row[each.key] is not None for row in rows)]
    done = f"compressed to {what}" if what else "compressed"
    title = f"Change of {found.metric} with one leaf alone {done}, {found.method}"
    shown = table(rows, columns=told or columns[:1], title=title)
    return Bars(shown, tuple(_bar(row, found.metric) for row in found))


def _sensitivity(row: LeafSensitivity, metric: str) -> dict[Any, Any]:
    ends = row.intervals.get(metric)
    interval = None if ends is None else f"[{', '.join(signed(end, '+.4f') for end in ends)}]"
    accuracy = row.changes.get("accuracy") if metric != "accuracy" else None
    return {
        "part": row.part,
        "choice": row.choice or None,
        "change": row.changes.get(metric),
        "interval": interval,
        "accuracy": None if accuracy is None else units.points(accuracy),
        "reason": row.reason or None,
    }


def _bar(row: LeafSensitivity, metric: str) -> Bar | None:
    change = row.changes.get(metric)
    return None if change is None else Bar((change,), row.intervals.get(metric))
