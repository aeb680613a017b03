"""Where the bytes of a file go: a table, a picture, and a page of both."""

import pathlib

from jaxcompress.core.kinds import check_kind, check_text
from jaxcompress.report.figures import (
    ACCENT,
    INK,
    MUTED,
    RULE,
    SVG,
    axes_of,
    destination,
    drawn,
)
from jaxcompress.report.page import Paragraph, Picture, page
from jaxcompress.report.tables import Column, Table, table
from jaxcompress.storage import Breakdown, LeafBytes

_KINDS = {"numbers": ACCENT, "masks": "#5f9dc0", "tables": "#c98b2b", "scales": INK}
_SHOWN = 30
"""Most leaves that have a bar; the smallest others share one."""

_COLUMNS = (
    Column("name", "Leaf"),
    Column("weights", "Weights", ",d"),
    *(Column(kind, kind.capitalize(), ",d") for kind in _KINDS),
    Column("size_bytes", "Bytes", ",d"),
    Column("entropy", "Entropy", ",d"),
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
    whole |= {"size_bytes": breakdown.size_bytes, "bits": _bits(breakdown)}
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
      HTML with a picture and a table; write it as UTF-8.

    Raises:
      ImportError: matplotlib is not installed.
    """
    check_kind("file_page", "breakdown", breakdown, Breakdown, _MAKE)
    name = pathlib.Path(breakdown.path).name
    whole = f"{breakdown.size_bytes:,} bytes for {breakdown.total.weights:,} weights"
    bits = _bits(breakdown)
    sentence = f"{whole}: {bits:.3g} bits per weight." if bits is not None else f"{whole}."
    picture = Picture(_picture(breakdown, "", SVG), "Bytes of each leaf by what they hold")
    return page(name, [Paragraph(sentence), picture, file_table(breakdown)])


def _bits(sized: Breakdown | LeafBytes) -> float | None:
    weights = (sized.total if isinstance(sized, Breakdown) else sized).weights
    return sized.bits_per_weight if weights else None


def _row(leaf: LeafBytes) -> dict:
    counts = {kind: getattr(leaf, kind) for kind in ("weights", *_KINDS, "size_bytes", "entropy")}
    return {"name": leaf.name, "bits": _bits(leaf), **counts}


def _bars(breakdown: Breakdown) -> list[LeafBytes]:
    """The leaves that have a bar, and the others as one."""
    by_size = sorted(breakdown.leaves, key=lambda leaf: -leaf.size_bytes)
    large, small = by_size[:_SHOWN], by_size[_SHOWN:]
    bars = [leaf for leaf in breakdown.leaves if leaf in large]
    if small:
        rest = Breakdown(breakdown.path, 0, tuple(small)).total
        counts = [getattr(rest, field) for field in ("weights", *_KINDS, "entropy")]
        bars.append(LeafBytes(f"{len(small)} smaller leaves", *counts))
    return bars


def _picture(breakdown: Breakdown, title: str, form: dict) -> bytes:
    bars = _bars(breakdown)
    places = range(len(bars) + 1)
    with axes_of("file_sizes", title, (6.8, 1.6 + 0.26 * len(places))) as axes:
        begins = [0] * len(bars)
        for kind, color in _KINDS.items():
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
