"""The Pareto plot: bytes on disk against accuracy, with intervals."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jaxcompress.core.checks import check_positive, check_share
from jaxcompress.core.kinds import check_iterable, check_kind, check_text
from jaxcompress.report.figures import (
    ACCENT,
    INK,
    MUTED,
    PNG,
    RULE,
    SVG,
    axes_of,
    destination,
    drawn,
)
from jaxcompress.report.labels import Box, Mark, leader, placed
from jaxcompress.report.units import tick

_REACH = 4.5
"""Points of a seventy-second of an inch that a mark takes to each side."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One model in the plot: its size and its accuracy.

    Invariants:
      - `size_bytes` is above 0, and 0 <= low <= accuracy <= high <= 1.

    Args:
      label: what the plot calls it.
      size_bytes: of its file.
      accuracy: fraction in [0, 1].
      low: lower end of the accuracy's interval.
      high: upper end.
    """

    label: str
    size_bytes: int
    accuracy: float
    low: float
    high: float

    def __post_init__(self) -> None:
        check_text("Point", "label", self.label)
        check_positive("Point", "size_bytes", self.size_bytes)
        for name in ("accuracy", "low", "high"):
            check_share("Point", name, getattr(self, name))
        if not 0 <= self.low <= self.accuracy <= self.high <= 1:
            raise ValueError(
                f"Point({self.label!r}, accuracy={self.accuracy}, low={self.low}, "
                f"high={self.high}) needs 0 <= low <= accuracy <= high <= 1."
            )


def front(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other dominates, from small to large.

    A point dominates another when it is no larger and no worse, and better in one of
    the two. Of points with equal figures all stay. Intervals are not looked at.

    Args:
      points: any number of them, in any order.

    Returns:
      The front, by size.

    Example:
      >>> points = [
      ...     jc.report.Point("dense", 1000, 0.95, 0.94, 0.96),
      ...     jc.report.Point("int8", 250, 0.95, 0.94, 0.96),
      ...     jc.report.Point("int4", 125, 0.93, 0.92, 0.94),
      ... ]
      >>> [point.label for point in jc.report.front(points)]
      ['int4', 'int8']
    """
    points = _checked("front", points)
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.size_bytes, -point.accuracy)):
        if not found or point.accuracy > found[-1].accuracy or _equal(point, found[-1]):
            found.append(point)
    return tuple(found)


def pareto(points: Sequence[Point], path: str | pathlib.Path, *, title: str = "") -> bytes:
    """Draws bytes on disk against accuracy to a file.

    Bars are the points' intervals; the front is a line, dominated points are hollow.

    Args:
      points: at least one.
      path: ends in ".svg" or ".png".
      title: the line above the plot.

    Returns:
      What was written, for embedding; the same points give the same bytes.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: there is no point, or the path ends otherwise.
    """
    path, form = destination("pareto", path)
    data = _drawn("pareto", points, title, form)
    path.write_bytes(data)
    return data


def pareto_svg(points: Sequence[Point], *, title: str = "") -> bytes:
    """The plot of `pareto` as the bytes of an SVG file, its text drawn as shapes."""
    return _drawn("pareto_svg", points, title, SVG)


def pareto_png(points: Sequence[Point], *, title: str = "") -> bytes:
    """The plot of `pareto` as the bytes of a PNG file, 1360 pixels wide."""
    return _drawn("pareto_png", points, title, PNG)


def _equal(one: Point, two: Point) -> bool:
    return (one.size_bytes, one.accuracy) == (two.size_bytes, two.accuracy)


def _checked(caller: str, points: Iterable[Point]) -> list[Point]:
    check_iterable(caller, "points", points, "It holds Points.")
    points = list(points)
    for point in points:
        check_kind(caller, "points", point, Point, "Make it with report.Point.")
    return points


def _drawn(caller: str, points: Iterable[Point], title: str, form: dict[str, Any]) -> bytes:
    points = _checked(caller, points)
    check_text(caller, "title", title)
    if not points:
        raise ValueError(f"{caller}(points) is empty. Give at least one Point.")
    with axes_of("pareto", title, (6.8, 4.2)) as axes:
        _scales(axes, points)
        _marks(axes, points)
        # Labels are placed where the layout has left the marks.
        axes.figure.canvas.draw()
        axes.figure.set_layout_engine("none")
        _labels(axes, points)
        return drawn(axes, form)


def _scales(axes, points: Sequence[Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    sizes = [point.size_bytes for point in points]
    low, high = min(point.low for point in points), max(point.high for point in points)
    margin = 0.12 * (high - low) or 0.01
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 1.5, max(sizes) * 1.7)
    axes.set_ylim(max(low - margin, 0), min(high + margin, 1))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: tick(size)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda accuracy, _: f"{100 * accuracy:.4g}%"))
    axes.set_xlabel("bytes on disk", color=INK, labelpad=8)
    axes.set_ylabel("accuracy", color=INK, labelpad=8)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.spines[:].set_visible(False)


def _marks(axes, points: Sequence[Point]) -> None:
    best = front(points)
    axes.plot(
        [point.size_bytes for point in best],
        [point.accuracy for point in best],
        drawstyle="steps-post",
        color=ACCENT,
        linewidth=1.2,
        alpha=0.5,
    )
    for point in points:
        color = ACCENT if point in best else MUTED
        axes.errorbar(
            point.size_bytes,
            point.accuracy,
            yerr=[[point.accuracy - point.low], [point.high - point.accuracy]],
            color=color,
            elinewidth=1.2,
            capsize=3,
            marker="o",
            markersize=6.5,
            markerfacecolor=color if point in best else "white",
            clip_on=False,
        )


def _labels(axes, points: Sequence[Point]) -> None:
    """Places each label where it covers neither marks nor others, with a line to it."""
    from matplotlib.transforms import Affine2D

    texts = [_label(axes, point) for point in points]
    # Points of a seventy-second of an inch are what places are measured in.
    scale = 72 / axes.figure.dpi
    to_points = axes.transData + Affine2D().scale(scale)
    renderer = axes.figure.canvas.get_renderer()
    extents = [text.get_window_extent(renderer) for text in texts]
    sizes = [(extent.width * scale, extent.height * scale) for extent in extents]

    def mark(point: Point) -> Mark:
        shares = (point.accuracy, point.low, point.high)
        places = to_points.transform([(point.size_bytes, share) for share in shares])
        (x, y), (_, low), (_, high) = places
        return Mark(x, y, low, high, _REACH)

    marks = [mark(point) for point in points]
    corners = (axes.bbox.x0, axes.bbox.y0, axes.bbox.x1, axes.bbox.y1)
    frame = Box(*(scale * corner for corner in corners))
    boxes = placed(marks, sizes, front_lines(points, mark), frame).boxes
    for text, at, box in zip(texts, marks, boxes, strict=True):
        _put(axes, text, at, box, to_points)


def _label(axes, point: Point):
    return axes.annotate(
        point.label,
        (0, 0),
        xycoords="figure points",
        horizontalalignment="left",
        verticalalignment="bottom",
        color=INK,
        fontsize=9,
        parse_math=False,
    )


def _put(axes, text, mark: Mark, box: Box | None, to_points) -> None:
    """Moves a label to its place; one without a place goes."""
    if box is None:
        text.remove()
        return
    text.set_position((box.left, box.low))
    line = leader(mark, box)
    if line:
        ends = to_points.inverted().transform(line)
        axes.plot(*ends.T, color=MUTED, linewidth=0.6)


def front_lines(points: Sequence[Point], mark: Callable[[Point], Mark]) -> list[Box]:
    """What the steps of the front cover, where `mark` says how points are drawn."""
    lines = []
    for small, large in itertools.pairwise(map(mark, front(points))):
        low, high = sorted((small.y, large.y))
        lines += [
            Box(small.x, small.y, large.x, small.y).padded(1),
            Box(large.x, low, large.x, high).padded(1),
        ]
    return lines
