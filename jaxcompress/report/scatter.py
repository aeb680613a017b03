"""Bytes against accuracy as SVG inside a page: its text, its colours, two widths."""

import itertools
import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from jaxcompress.report import units
from jaxcompress.report.labels import Box, Mark, leader, placed
from jaxcompress.report.plots import Point, front, front_lines
from jaxcompress.report.sections import Scatter

_WIDE, _NARROW = (640, 400), (390, 390)
"""Width and height in CSS pixels; a container below 34rem shows the narrow one."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 46
_TEXT = 12.5
_CHARACTER = 0.62
"""Width of a character by the text's size; in DejaVu Sans, a wide one, at most so on
average over a name."""
_HEADROOMS = (0, 25, 50, 100)
"""Heights that are added where labels then have better places."""
_FEW = (0, 0, 60)
"""Labels without room or that may be mistaken, and pixels, that are not bettered."""
_RADIUS, _CAP = 4.5, 4


Boxes = tuple[Box | None, ...]


class _Plane(NamedTuple):
    """The axes: what the picture's width and height stand for.

    Above the intervals is headroom, where labels may be.
    """

    width: int
    height: int
    headroom: int
    sizes: tuple[float, float]
    shares: tuple[float, float]

    @classmethod
    def of(cls, points: Sequence[Point], width: int, height: int, headroom: int) -> "_Plane":
        sizes = [point.size_bytes for point in points]
        low, high = min(point.low for point in points), max(point.high for point in points)
        margin = 0.1 * (high - low) or 0.01
        return cls(
            width,
            height,
            headroom,
            (min(sizes) / 2, max(sizes) * 1.6),
            (max(low - margin, 0), min(high + margin, 1)),
        )

    @property
    def frame(self) -> Box:
        return Box(_LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM)

    def x(self, size: float) -> float:
        low, high = map(math.log, self.sizes)
        return _LEFT + (math.log(size) - low) / (high - low) * (self.frame.right - _LEFT)

    def y(self, share: float) -> float:
        low, high = self.shares
        length = self.frame.high - _TOP - self.headroom
        return self.frame.high - (share - low) / (high - low) * length

    def mark(self, point: Point) -> Mark:
        ends = self.y(point.high), self.y(point.low)
        return Mark(self.x(point.size_bytes), self.y(point.accuracy), *ends, _RADIUS + 1)


def scatter(section: Scatter) -> str:
    """The figure as HTML."""
    drawings = [_svg(section.points, *size) for size in ((*_WIDE, "wide"), (*_NARROW, "narrow"))]
    missing = sorted(set().union(*(unlabelled for _, unlabelled in drawings)))
    more = [f"Without room for a label: {', '.join(missing)}."] if missing else []
    caption = " ".join([section.caption, *more]).strip()
    told = f"<figcaption>{escape(units.unbroken(caption))}</figcaption>" if caption else ""
    return f'<figure class="scatter">{"".join(each for each, _ in drawings)}{told}</figure>'


def _svg(points: Sequence[Point], width: int, height: int, kind: str) -> tuple[str, list[str]]:
    """The drawing, and the labels that it has no room for."""
    plane, boxes = _labelled(points, width, height)
    description = "; ".join(
        f"{point.label}: {units.size(point.size_bytes)}, {units.percent(point.accuracy)} %"
        for point in points
    )
    parts = [
        f'<svg class="{kind}" viewBox="0 0 {width} {plane.height}" role="img" '
        f'aria-label="{escape(description)}">',
        *_axes(plane),
        _steps(points, plane),
        *_marks(points, plane),
        *_labels(points, plane, boxes),
        "</svg>",
    ]
    places = zip(points, boxes, strict=True)
    return "\n".join(parts), [point.label for point, box in places if box is None]


def _axes(plane: _Plane) -> list[str]:
    frame, parts = plane.frame, []
    for share, text in _share_ticks(plane.shares):
        y = plane.y(share)
        parts.append(_line("grid", frame.left, y, frame.right, y))
        parts.append(_text("tick end", frame.left - 8, y, text))
    for size in _size_ticks(plane.sizes, 6 if plane.width > 500 else 4):
        x = plane.x(size)
        parts.append(_line("grid", x, frame.low, x, frame.high))
        parts.append(_text("tick middle", x, frame.high + 15, units.tick(size)))
    middle = (frame.left + frame.right) / 2
    parts.append(_text("tick middle", middle, plane.height - 9, "file size, logarithmic"))
    return parts


def _share_ticks(ends: tuple[float, float]) -> list[tuple[float, str]]:
    """Three to seven round shares between the ends, and how they are written."""
    low, high = 100 * ends[0], 100 * ends[1]
    rough = (high - low) / 7
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * size for size in (1, 2, 5, 10) if unit * size >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    counts = range(first, last + 1)
    return [(count * step / 100, f"{count * step:.{digits}f} %") for count in counts]


def _size_ticks(ends: tuple[float, float], most: int) -> list[float]:
    """Round sizes between the ends, as many as there may be."""
    decades = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    for sizes in ((1, 2, 5), (1, 3), (1,)):
        every = [size * 10.0**decade for decade in decades for size in sizes]
        found = [size for size in every if ends[0] <= size <= ends[1]]
        if len(found) <= most:
            break
    return found[:: -(-len(found) // most)] if found else []


def _steps(points: Sequence[Point], plane: _Plane) -> str:
    """The front: what accuracy a file of each size can have."""
    best = [plane.mark(point) for point in front(points)]
    path = [f"M{best[0].x:.1f} {best[0].y:.1f}", *(f"H{p.x:.1f}V{p.y:.1f}" for p in best[1:])]
    return f'<path class="front" d="{"".join(path)}"/>'


def _marks(points: Sequence[Point], plane: _Plane) -> list[str]:
    best, parts = front(points), []
    for point in points:
        x, y, top, bottom, _ = plane.mark(point)
        kind = "best" if point in best else "hollow"
        parts.append(
            f'<g class="{kind}"><title>{escape(point.label)}</title>'
            f"{_line('interval', x, top, x, bottom)}"
            f"{_line('cap', x - _CAP, top, x + _CAP, top)}"
            f"{_line('cap', x - _CAP, bottom, x + _CAP, bottom)}"
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/></g>'
        )
    return parts


def _labelled(points: Sequence[Point], width: int, height: int) -> tuple[_Plane, Boxes]:
    """The picture in which labels have the best places, and these by point."""
    tries = []
    for more, claims in itertools.product(_HEADROOMS, _claims(points)):
        plane = _Plane.of(points, width, height + more, more)
        marks = [plane.mark(points[own]) for own in claims]
        sizes = [(_CHARACTER * _TEXT * len(points[own].label), 1.25 * _TEXT) for own in claims]
        found = placed(marks, sizes, front_lines(points, plane.mark), plane.frame)
        boxes = tuple(found.boxes[claims.index(own)] for own in range(len(points)))
        faults = boxes.count(None), found.tangled, found.length + more
        tries.append((faults, len(tries), plane, boxes))
        if faults <= _FEW:
            break
    return min(tries)[2:]


def _claims(points: Sequence[Point]) -> list[list[int]]:
    """Orders in which labels may be placed; which is best is seen when they are."""
    places = range(len(points))
    return [
        sorted(places, key=lambda own: -len(points[own].label)),
        sorted(places, key=lambda own: points[own].size_bytes),
        sorted(places, key=lambda own: -points[own].size_bytes),
        sorted(places, key=lambda own: points[own].accuracy),
    ]


def _labels(points: Sequence[Point], plane: _Plane, boxes: Sequence[Box | None]) -> list[str]:
    parts = []
    for point, box in zip(points, boxes, strict=True):
        if box is None:
            continue
        mark = plane.mark(point)
        line = leader(mark, box)
        if line:
            parts.append(_line("leader", *line[0], *line[1]))
        centre = (box.left + box.right) / 2
        side = "end" if centre < mark.x - 1 else "start" if centre > mark.x + 1 else "middle"
        x = {"end": box.right, "start": box.left, "middle": centre}[side]
        parts.append(_text(f"label {side}", x, (box.low + box.high) / 2, point.label))
    return parts


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    # A third of the size below the middle is where the base line of a text is.
    return f'<text class="{kind}" x="{x:.1f}" y="{y + 0.34 * _TEXT:.1f}">{escape(text)}</text>'
