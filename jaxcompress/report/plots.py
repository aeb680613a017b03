"""The Pareto plot: bytes on disk against accuracy, with intervals."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Sequence
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

    def __post_init__(self):
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
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: _bytes(size)))
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
    """Places each label where it covers the fewest pixels of other marks."""
    renderer = axes.figure.canvas.get_renderer()
    taken = [_box(axes, *line) for line in _lines(points)]
    for point in sorted(points, key=lambda point: point.size_bytes):
        texts = [_label(axes, point, *place) for place in _places(point)]
        boxes = [text.get_window_extent(renderer) for text in texts]
        covered = [_covered(box, taken, axes.bbox) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        for text in texts[:best] + texts[best + 1 :]:
            text.remove()


def _places(point: Point) -> list[tuple]:
    """Candidate positions of a label: anchor, offset in points, alignments."""
    beside = [
        (point.accuracy, (8 * side, 7 * end), across, along)
        for side, across in ((1, "left"), (-1, "right"))
        for end, along in ((1, "bottom"), (-1, "top"))
    ]
    above = (point.high, (0, 5), "center", "bottom")
    below = (point.low, (0, -5), "center", "top")
    return [*beside, above, below]


def _label(axes, point: Point, anchor: float, offset: tuple, across: str, along: str):
    from matplotlib.patheffects import withStroke

    return axes.annotate(
        point.label,
        (point.size_bytes, anchor),
        xytext=offset,
        textcoords="offset points",
        horizontalalignment=across,
        verticalalignment=along,
        color=INK,
        fontsize=9,
        parse_math=False,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _lines(points: Sequence[Point]) -> list[tuple]:
    """The ends of every straight line drawn: the bars, and the steps of the front."""
    bars = [((p.size_bytes, p.low), (p.size_bytes, p.high)) for p in points]
    steps = []
    for small, large in itertools.pairwise(front(points)):
        corner = (large.size_bytes, small.accuracy)
        steps += [
            ((small.size_bytes, small.accuracy), corner),
            (corner, (large.size_bytes, large.accuracy)),
        ]
    return bars + steps


def _box(axes, begin: tuple, end: tuple):
    """The pixels of a line, with some room around it."""
    from matplotlib.transforms import Bbox

    (left, bottom), (right, top) = axes.transData.transform([begin, end])
    return Bbox.from_extents(left, bottom, right, top).padded(4)


def _covered(box, taken: list, frame) -> float:
    """Pixels of the box that lie on others or outside the frame."""
    inside = _overlap(box, frame)
    return box.width * box.height - inside + sum(_overlap(box, other) for other in taken)


def _overlap(one, two) -> float:
    width = min(one.x1, two.x1) - max(one.x0, two.x0)
    height = min(one.y1, two.y1) - max(one.y0, two.y0)
    return max(width, 0) * max(height, 0)


def _bytes(size: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size:g} B"
