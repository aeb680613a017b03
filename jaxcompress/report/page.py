"""One self-contained HTML page: inline style, embedded pictures, no script, no request.

What is on it comes in as values; they are escaped where they are written.
"""

from collections.abc import Sequence
from html import escape

from jaxcompress.core.kinds import check_each, check_kind, check_text
from jaxcompress.core.report import Report
from jaxcompress.core.sensitivities import Sensitivities
from jaxcompress.report import bars
from jaxcompress.report.results import byte_bars, leaf_table, sensitivity_bars
from jaxcompress.report.scatter import scatter
from jaxcompress.report.sections import (
    MEND,
    Bars,
    Beside,
    Folded,
    Heading,
    Headline,
    Paragraph,
    Picture,
    Preformatted,
    Scatter,
    Section,
    Tiles,
)
from jaxcompress.report.style import FRAME, STYLE
from jaxcompress.report.tables import Table
from jaxcompress.report.tiles import tiles
from jaxcompress.report.units import unbroken
from jaxcompress.storage import Breakdown


def page(title: str, sections: Sequence[Section]) -> str:
    """Renders sections as one self-contained HTML page.

    It follows the reader's light or dark setting, fits a phone, and forbids the browser
    any request. The same sections give the same text.

    Args:
      title: of the page; small where the first section is a headline.
      sections: what is on it, from top to bottom.

    Returns:
      HTML; write it as UTF-8.

    Raises:
      TypeError: a section is of no kind listed in `sections`.
      ValueError: a picture is neither PNG nor SVG.

    Example:
      >>> text = jc.report.page("Results", [jc.report.sections.Paragraph("a < b")])
      >>> "<p>a &lt; b</p>" in text
      True
    """
    check_text("page", "title", title)
    check_each("page", "sections", sections, _check_section)
    return FRAME.format(title=escape(title), style=STYLE, body=_body(sections))


def _body(sections: Sequence[Section]) -> str:
    return "\n".join(map(_section, sections))


def _section(section: Section) -> str:
    match section:
        case Headline(text, ground):
            under = f'\n<p class="ground">{escape(unbroken(ground))}</p>' if ground else ""
            return f'<p class="headline">{escape(unbroken(text))}</p>{under}'
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Preformatted(text):
            return f"<pre>{escape(text)}</pre>"
        case Picture():
            return _picture(section)
        case Table():
            return _table(section)
        case Bars():
            return _bars(section)
        case Scatter():
            return scatter(section)
        case Tiles():
            return tiles(section)
        case Beside(left, right):
            parts = "".join(f"<div>{_section(each)}</div>\n" for each in (left, right))
            return f'<div class="beside">\n{parts}</div>'
        case Folded(title, sections):
            opened = f"<summary>{escape(title)}</summary>\n{_body(sections)}"
            return f"<details>{opened}\n</details>"
        case Report():
            return _table(leaf_table(section))
        case Sensitivities():
            return _bars(sensitivity_bars(section))
        case Breakdown():
            return _bars(byte_bars(section))


def _check_section(caller: str, argument: str, section: object) -> None:
    check_kind(caller, argument, section, Section, MEND)


def _picture(picture: Picture) -> str:
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    image = f'<img src="{picture.uri}" alt="{escape(picture.description)}">'
    return f"<figure>{image}{caption}</figure>"


_WORDY = 3
"""Columns of words from which on narrow screens show each row of a table apart."""


def _table(table: Table) -> str:
    wordy = table.numeric[1:].count(False) >= _WORDY and len(table.rows) > 0
    return _grid(table, ' class="wordy"' if wordy else "", *_cells(table))


def _bars(section: Bars) -> str:
    """A table whose bars stand after the names, where narrow screens show them."""
    headings, rows = _cells(section.table)
    drawn = zip(rows, bars.cells(section), strict=True)
    wider = [[name, bar, *figures] for (name, *figures), bar in drawn]
    headings[1:1] = ["<td></td>"]
    return bars.legend(section) + _grid(section.table, ' class="bars"', headings, wider)


def _grid(table: Table, kind: str, headings: list[str], rows: list[list[str]]) -> str:
    """Cells as a table in a box that scrolls, its title above and remarks under it."""
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    lines = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    remarks = "".join(f"<li>{escape(unbroken(caption))}</li>" for caption in table.captions)
    notes = f'\n<ul class="notes">{remarks}</ul>' if remarks else ""
    return (
        f'{title}<div class="table" tabindex="0"><table{kind}>\n'
        f"<thead><tr>{''.join(headings)}</tr></thead>\n"
        f"<tbody>\n{lines}\n</tbody></table></div>{notes}"
    )


def _cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of each row, whose first is its header."""
    kinds = [' class="number"' if numeric else "" for numeric in table.numeric]
    tags = ["td"] * len(kinds)
    tags[0] = 'th scope="row"'
    headings = [
        f'<th scope="col"{kind}>{escape(unbroken(column.heading))}</th>'
        for column, kind in zip(table.columns, kinds, strict=True)
    ]
    names = [f' data-name="{escape(column.heading)}"' for column in table.columns]
    names[0] = ""
    rows = [
        [
            f"<{tag}{kind}{name}>{_written(cell, tag)}</{tag[:2]}>"
            for tag, kind, name, cell in zip(tags, kinds, names, row, strict=True)
        ]
        for row in table.cells
    ]
    return headings, rows


def _written(cell: str, tag: str) -> str:
    """A cell's text; a leaf's name, in the first one, may end its line at a slash."""
    text = escape(cell)
    return text.replace("/", "/<wbr>") if tag.startswith("th") else text
