"""What a page is made of; `page` writes it.

Texts are Headline, Heading, Paragraph and Preformatted; numbers are Bars, Scatter and
Tiles, and the tables of `report.table`; Beside and Folded hold other sections. What
verbs give, `Report`, `Sensitivities` and `Breakdown`, is a section as it is.
"""

import base64
import dataclasses
import math

from jaxcompress.core import exports
from jaxcompress.core.checks import check_number
from jaxcompress.core.kinds import check_each, check_kind, check_text
from jaxcompress.core.report import Report
from jaxcompress.core.sensitivities import Sensitivities
from jaxcompress.report.plots import Point
from jaxcompress.report.tables import Table
from jaxcompress.report.variants import Variant, named, reference
from jaxcompress.storage import Breakdown

exports.list_definitions(globals())

MEND = "Texts go into a Paragraph."
"""What to do about a section of no kind."""


@dataclasses.dataclass(frozen=True)
class Headline:
    """The sentence that a page begins with, and what it rests on.

    Args:
      text: the sentence.
      ground: smaller text under it.
    """

    text: str
    ground: str = ""

    def __post_init__(self) -> None:
        check_text("Headline", "text", self.text)
        check_text("Headline", "ground", self.ground)


@dataclasses.dataclass(frozen=True)
class Heading:
    """A section heading."""

    text: str

    def __post_init__(self) -> None:
        check_text("Heading", "text", self.text)


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str

    def __post_init__(self) -> None:
        check_text("Paragraph", "text", self.text)


@dataclasses.dataclass(frozen=True)
class Preformatted:
    """Text whose lines and spaces stay: code, a program's output, a report."""

    text: str

    def __post_init__(self) -> None:
        check_text("Preformatted", "text", self.text)


@dataclasses.dataclass(frozen=True)
class Picture:
    """An embedded picture.

    Args:
      data: the bytes of a PNG or SVG file.
      description: what it shows, for who cannot see it.
      caption: the line under it.
    """

    data: bytes
    description: str
    caption: str = ""

    def __post_init__(self) -> None:
        check_kind("Picture", "data", self.data, bytes, "As report.pareto_svg gives them.")
        check_text("Picture", "description", self.description)
        check_text("Picture", "caption", self.caption)

    @property
    def uri(self) -> str:
        """The picture as a `data:` address.

        Raises:
          ValueError: the bytes are neither PNG nor SVG.
        """
        return f"data:{self._media_type};base64,{base64.b64encode(self.data).decode()}"

    @property
    def _media_type(self) -> str:
        if self.data.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png"
        if self.data.lstrip().startswith((b"<?xml", b"<svg")):
            return "image/svg+xml"
        raise ValueError(f"Picture({self.description!r}) is neither a PNG nor an SVG file.")


@dataclasses.dataclass(frozen=True)
class Scatter:
    """Bytes against accuracy as `pareto` draws them, in the colours of the page.

    Drawn once for wide screens and once for narrow ones, with text that can be read.

    Args:
      points: at least one.
      caption: the line under it.
    """

    points: tuple[Point, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        check_kind("Scatter", "points", self.points, tuple, "End one entry by a comma.")
        check_each("Scatter", "points", self.points, _check_point)
        check_text("Scatter", "caption", self.caption)
        if not self.points:
            raise ValueError("Scatter(points=()) is empty. Give at least one Point.")


@dataclasses.dataclass(frozen=True)
class Tiles:
    """A card for each model: its verdict, its size, its accuracy with the interval.

    The one that the headline names comes first, the others follow by size.

    Args:
      variants: one of them the reference, which has no comparison.
    """

    variants: tuple[Variant, ...]

    def __post_init__(self) -> None:
        check_kind("Tiles", "variants", self.variants, tuple, "End one entry by a comma.")
        reference("Tiles", self.variants)

    @property
    def ordered(self) -> tuple[Variant, ...]:
        """The variants as they are shown."""
        first = named(self.variants)
        by_size = sorted(self.variants, key=lambda variant: variant.size_bytes)
        return tuple(sorted(by_size, key=lambda variant: variant is not first))


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar: values that stand one after another, and the interval of their sum.

    Args:
      values: finite, at least one; only a single one may be below 0.
      interval: (low, high), or None.
    """

    values: tuple[float, ...]
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_kind("Bar", "values", self.values, tuple, "End one entry by a comma.")
        check_each("Bar", "values", self.values, check_number)
        if not self.values or (len(self.values) > 1 and min(self.values) < 0):
            raise ValueError(
                f"Bar(values={self.values}) needs one value, or several that are at least 0."
            )
        if self.interval is not None:
            check_kind("Bar", "interval", self.interval, tuple, "It is (low, high).")
            check_each("Bar", "interval", self.interval, check_number)
            if len(self.interval) != 2 or not self.interval[0] <= self.interval[1]:
                raise ValueError(f"Bar(interval={self.interval}) must be (low, high).")

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest place that it takes, 0 among them."""
        total = math.fsum(self.values)
        places = (0.0, total, *(self.interval or ()))
        return min(places), max(places)


@dataclasses.dataclass(frozen=True)
class Bars:
    """A table whose rows end in bars, all on one scale.

    Args:
      table: what is written.
      bars: one for each row; None where a row has none.
      series: what the values of a bar are, where they are several.
    """

    table: Table
    bars: tuple[Bar | None, ...]
    series: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_kind("Bars", "table", self.table, Table, "Make it with report.table.")
        check_kind("Bars", "bars", self.bars, tuple, "End one entry by a comma.")
        check_each("Bars", "bars", self.bars, _check_bar)
        check_kind("Bars", "series", self.series, tuple, "End one entry by a comma.")
        check_each("Bars", "series", self.series, check_text)
        if len(self.bars) != len(self.table.rows):
            raise ValueError(
                f"Bars(bars) has {len(self.bars)} for {len(self.table.rows)} rows. Give one each."
            )
        wrong = {len(bar.values) for bar in self.bars if bar} - {len(self.series) or 1}
        if wrong:
            raise ValueError(
                f"Bars(series={self.series}) must name the values of each bar, which has "
                f"{min(wrong)}."
            )


@dataclasses.dataclass(frozen=True)
class Beside:
    """Two sections side by side; one above the other where there is no room.

    Args:
      left: the one that comes first.
      right: the other.
    """

    left: "Section"
    right: "Section"

    def __post_init__(self) -> None:
        for field in ("left", "right"):
            _check_section("Beside", field, getattr(self, field))


@dataclasses.dataclass(frozen=True)
class Folded:
    """Sections behind a line that opens them.

    Args:
      title: the line.
      sections: what it opens.
    """

    title: str
    sections: tuple["Section", ...]

    def __post_init__(self) -> None:
        check_text("Folded", "title", self.title)
        check_kind("Folded", "sections", self.sections, tuple, "End one entry by a comma.")
        check_each("Folded", "sections", self.sections, _check_section)


Section = (
    Heading
    | Headline
    | Paragraph
    | Preformatted
    | Picture
    | Table
    | Bars
    | Scatter
    | Tiles
    | Beside
    | Folded
    | Report
    | Sensitivities
    | Breakdown
)


def _check_section(caller: str, argument: str, section: object) -> None:
    check_kind(caller, argument, section, Section, MEND)


def _check_point(caller: str, argument: str, point: object) -> None:
    check_kind(caller, argument, point, Point, "Make it with report.Point.")


def _check_bar(caller: str, argument: str, bar: object) -> None:
    check_kind(caller, argument, bar, Bar | None, "Make it with report.sections.Bar.")
