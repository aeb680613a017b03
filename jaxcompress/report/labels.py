"""Where the labels of a plot go, so that none covers a mark or another label.

Plain geometry: lengths are in pixels or points, and the vertical axis may run either
way. A mark is a point on a vertical line, its interval.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_GAP = 10
"""Distance from a mark to a label beside it."""
_TURNS = (0, 1, -1, 8, 7, -7, 2, -2, 6, -6)
"""Directions from the point that are tried, in sixteenths of a turn."""
_STEP = 9
"""Labels that have no room beside their mark may stand this far apart."""
_ROOM = 3
"""Free space around a label."""
_NEAR = 16
"""A label that is no farther from its mark needs no line to it."""

Line = tuple[tuple[float, float], tuple[float, float]]


class Box(NamedTuple):
    """A rectangle with left <= right and low <= high."""

    left: float
    low: float
    right: float
    high: float

    def padded(self, room: float) -> "Box":
        """It with some room on each side."""
        return Box(self.left - room, self.low - room, self.right + room, self.high + room)

    def overlaps(self, other: "Box") -> bool:
        """Whether the two share more than an edge."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.low < other.high
            and other.low < self.high
        )

    def holds(self, other: "Box") -> bool:
        """Whether the other lies within."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.low <= other.low
            and other.high <= self.high
        )


class Mark(NamedTuple):
    """A point, its interval from low to high, how far it reaches to each side."""

    x: float
    y: float
    low: float
    high: float
    reach: float

    @property
    def box(self) -> Box:
        """What it covers."""
        low, high = min(self.low, self.y - self.reach), max(self.high, self.y + self.reach)
        return Box(self.x - self.reach, low, self.x + self.reach, high)


class Placed(NamedTuple):
    """Where labels go.

    Attributes:
      boxes: one for each label; None where there is no free place.
      tangled: how many of them may be taken for another mark's.
      length: of all lines to labels.
    """

    boxes: tuple[Box | None, ...]
    tangled: int
    length: float


def placed(
    marks: Sequence[Mark], sizes: Sequence[tuple[float, float]], lines: Sequence[Box], frame: Box
) -> Placed:
    """Places for labels inside the frame, apart from marks, lines and one another.

    Args:
      marks: what is labelled, in the order of their claims.
      sizes: width and height of each label.
      lines: what else no label may cover.
      frame: where labels may be.
    """
    found: list[Box | None] = []
    leaders: list[Line] = []
    drawn, tangled = [*(mark.box for mark in marks), *lines], 0
    for own, (mark, size) in enumerate(zip(marks, sizes, strict=True)):
        boxes = [box for box in found if box is not None]
        free = (
            box
            for box in _candidates(mark, size, frame)
            if frame.holds(box)
            and not any(box.padded(_ROOM).overlaps(other) for other in (*drawn, *boxes))
            and not any(crosses(line, box) for line in leaders)
            and not _crossed(mark, box, boxes)
        )
        best, clear = _best(mark, free, [*marks[:own], *marks[own + 1 :]])
        found.append(best)
        tangled += not clear
        line = leader(mark, best) if best else None
        if line:
            leaders.append(line)
    return Placed(tuple(found), tangled, sum(math.dist(*line) for line in leaders))


def leader(mark: Mark, box: Box) -> Line | None:
    """The shortest line from a mark to its label, or None where the label is near."""
    begin, end = _between(mark, box)
    return None if math.dist(begin, end) <= _NEAR else (begin, end)


def crosses(line: Line, box: Box) -> bool:
    """Whether a straight line enters a box."""
    low, high = 0.0, 1.0
    sides = ((box.left, box.right), (box.low, box.high))
    for start, stop, (least, most) in zip(*line, sides, strict=True):
        step = stop - start
        if step == 0:
            if not least < start < most:
                return False
            continue
        enter, leave = sorted(((least - start) / step, (most - start) / step))
        low, high = max(low, enter), min(high, leave)
    return low < high


def _between(mark: Mark, box: Box) -> Line:
    """The nearest points of a mark's interval and of a box."""
    x = min(max(mark.x, box.left), box.right)
    if box.high < mark.low:
        return (mark.x, mark.low), (x, box.high)
    if box.low > mark.high:
        return (mark.x, mark.high), (x, box.low)
    middle = min(max((box.low + box.high) / 2, mark.low), mark.high)
    return (mark.x, middle), (x, middle)


def _best(mark: Mark, free: Iterable[Box], others: Sequence[Mark]) -> tuple[Box | None, bool]:
    """The first place that is clear, else the first; and whether it is."""
    first = None
    for box in free:
        if _clear(mark, box, others):
            return box, True
        first = first or box
    return first, False


def _clear(mark: Mark, box: Box, others: Sequence[Mark]) -> bool:
    """Whether a label cannot be taken for another mark's.

    Its line crosses none; where it needs no line, none is as near.
    """
    line = leader(mark, box)
    if line is None:
        own = _distance(mark, box) + _ROOM
        return all(_distance(other, box) > own for other in others)
    return not any(crosses(line, other.box.padded(_ROOM)) for other in others)


def _distance(mark: Mark, box: Box) -> float:
    """From a box to what eyes take a label for: the point, an end of its interval."""
    x = min(max(mark.x, box.left), box.right)
    ends = ((x, min(max(y, box.low), box.high), y) for y in (mark.y, mark.low, mark.high))
    return min(math.dist((x, near), (mark.x, y)) for x, near, y in ends)


def _crossed(mark: Mark, box: Box, others: Sequence[Box]) -> bool:
    line = leader(mark, box)
    return line is not None and any(crosses(line, other) for other in others)


def _candidates(mark: Mark, size: tuple[float, float], frame: Box) -> Iterator[Box]:
    """Beside the point, at an end of its interval, then anywhere, the nearest first."""
    width, height = size
    for turn in _TURNS:
        across, along = (f(math.tau * turn / 16) for f in (math.cos, math.sin))
        # From about a diagonal on, a corner or an edge's end faces the point.
        x = mark.x + _GAP * across + width / 2 * max(-1, min(1, 1.5 * across))
        y = mark.y + _GAP * along + height / 2 * max(-1, min(1, 1.5 * along))
        yield Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    for left in (mark.x - width / 2, mark.x - mark.reach, mark.x + mark.reach - width):
        for low in (mark.high + _GAP / 2, mark.low - _GAP / 2 - height):
            yield Box(left, low, left + width, low + height)
    lefts = _steps(frame.left, frame.right - width)
    lows = _steps(frame.low, frame.high - height)
    grid = [Box(left, low, left + width, low + height) for left in lefts for low in lows]
    yield from sorted(grid, key=lambda box: math.dist(*_between(mark, box)))


def _steps(begin: float, end: float) -> list[float]:
    return [begin + _STEP * place for place in range(math.floor((end - begin) / _STEP) + 1)]
