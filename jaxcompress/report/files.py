"""Where the bytes of a file go: a table, bars, a picture, and a page."""

import pathlib
from typing import Any

from jaxcompress.core.kinds import check_kind, check_text
from jaxcompress.report.figures import (
    ACCENT,
    INK,
    MUTED,
    RULE,
    axes_of,
    destination,
    drawn,
)
from jaxcompress.report.page import page
from jaxcompress.report.results import PARTS, bars_of, bits
from jaxcompress.report.sections import Folded, Headline
from jaxcompress.report.tables import Column, Table, table
from jaxcompress.report.units import size
from jaxcompress.storage import Breakdown, LeafBytes

_COLORS = dict(zip(PARTS, (ACCENT, "#5f9dc0", "#c98b2b", INK), strict=True))
_COLUMNS = (
    Column("name", "Leaf"),
    Column("weights", "Weights", ",d"),
    *(Column(kind, f"{kind.capitalize()}, bytes", ",d") for kind in PARTS),
    Column("size_bytes", "All, bytes", ",d"),
    Column("entropy", "Entropy, bytes", ",d"),
    Column("bits", "Bits per weight", ".3g"),
)
_MAKE = "storage.breakdown gives one."


def file_table(breakdown: Breakdown) -> Table:
    """Where the bytes of a file go, a row for each leaf.

    Args:
      breakdown: what `storage.breakdown` gives.

    Returns:
      Table.
    """
    check_kind("file_table", "breakdown", breakdown, Breakdown, _MAKE)
    rows = [_row(leaf) for leaf in (*breakdown.leaves, breakdown.total)]
    rows.append({"name": "header", "size_bytes": breakdown.header_bytes})
    whole = {"name": "file", "weights": breakdown.total.weights}
    whole |= {"size_bytes": breakdown.size_bytes, "bits": bits(breakdown)}
    return table(
        [*rows, whole],
        columns=_COLUMNS,
        title=f"Bytes of {pathlib.Path(breakdown.path).name}",
        captions=["Entropy: the least bytes for a coder of single numbers; scales as they are."],
    )


def file_sizes(breakdown: Breakdown, path: str | pathlib.Path, *, title: str = "") -> bytes:
    """Draws where the bytes of a file go: a bar for each leaf, a mark at its entropy.

    Leaves stand in the tree's order, the first on top; of many the largest have bars
    of their own.

    Args:
      breakdown: what `storage.breakdown` gives.
      path: ends in ".svg" or ".png".
      title: the line above the plot.

    Returns:
      What was written, for embedding; the same breakdown gives the same bytes.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: an argument is not of its kind.
      ValueError: the path ends otherwise.
    """
    check_kind("file_sizes", "breakdown", breakdown, Breakdown, _MAKE)
    check_text("file_sizes", "title", title)
    path, form = destination("file_sizes", path)
    data = _picture(breakdown, title, form)
    path.write_bytes(data)
    return data


def file_page(breakdown: Breakdown) -> str:
    """Where the bytes of a file go, as one self-contained HTML page.

    Args:
      breakdown: what `storage.breakdown` gives.

    Returns:
      HTML with a bar for each leaf and a table; write it as UTF-8.
    """
    check_kind("file_page", "breakdown", breakdown, Breakdown, _MAKE)
    name, each = pathlib.Path(breakdown.path).name, bits(breakdown)
    text = f"{size(breakdown.size_bytes)} for {breakdown.total.weights:,} weights"
    headline = Headline(text if each is None else f"{text}: {each:.3g} bits for each")
    every = Folded("Every leaf in numbers", (file_table(breakdown),))
    return page(name, [headline, breakdown, every])


def _row(leaf: LeafBytes) -> dict[Any, Any]:
    counts = {kind: getattr(leaf, kind) for kind in ("weights", *PARTS, "size_bytes", "entropy")}
    return {"name": leaf.name, "bits": bits(leaf), **counts}


def _picture(breakdown: Breakdown, title: str, form: dict[Any, Any]) -> bytes:
    bars = bars_of(breakdown)
    places = range(len(bars) + 1)
    with axes_of("file_sizes", title, (6.8, 1.6 + 0.26 * len(places))) as axes:
        begins = [0] * len(bars)
        for kind, color in _COLORS.items():
            widths = [getattr(leaf, kind) for leaf in bars]
            axes.barh(places[:-1], widths, left=begins, color=color, label=kind, height=0.7)
            begins = [begin + width for begin, width in zip(begins, widths, strict=True)]
        axes.barh(places[-1], breakdown.header_bytes, color=MUTED, label="header", height=0.7)
        entropies = [leaf.entropy for leaf in bars]
        axes.plot(entropies, places[:-1], "|", color=INK, markersize=10, label="entropy")
        names = [leaf.name for leaf in bars]
        axes.set_yticks(places, [*names, "header"], fontsize=8, parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel("bytes", color=INK, labelpad=8)
        axes.grid(axis="x", color=RULE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=INK, labelsize=8)
        axes.spines[:].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
        return drawn(axes, form)
