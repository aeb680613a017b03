"""One self-contained HTML page: inline style, embedded pictures, no script, no request.

What is on it comes in as values; they are escaped here and nowhere else.
"""

import base64
import dataclasses
from collections.abc import Sequence
from html import escape

from jaxcompress.core.kinds import check_each, check_kind, check_text
from jaxcompress.report.tables import Table


@dataclasses.dataclass(frozen=True)
class Heading:
    """A section heading."""

    text: str

    def __post_init__(self):
        check_text("Heading", "text", self.text)


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str

    def __post_init__(self):
        check_text("Paragraph", "text", self.text)


@dataclasses.dataclass(frozen=True)
class Preformatted:
    """Text whose lines and spaces stay: code, a program's output, a report."""

    text: str

    def __post_init__(self):
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

    def __post_init__(self):
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


Section = Heading | Paragraph | Preformatted | Picture | Table


def page(title: str, sections: Sequence[Section]) -> str:
    """Renders sections as one self-contained HTML page.

    It follows the reader's light or dark setting, fits a phone, and forbids the browser
    any request. The same sections give the same text.

    Args:
      title: of the page.
      sections: what is on it, from top to bottom.

    Returns:
      HTML; write it as UTF-8.

    Raises:
      TypeError: a section is of no kind listed in `Section`.
      ValueError: a picture is neither PNG nor SVG.

    Example:
      >>> text = jc.report.page("Results", [jc.report.Paragraph("a < b")])
      >>> "<p>a &lt; b</p>" in text
      True
    """
    check_text("page", "title", title)
    check_each("page", "sections", sections, _check_section)
    return _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(map(_section, sections)))


def _section(section: Section) -> str:
    match section:
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


def _check_section(caller: str, argument: str, section: object) -> None:
    check_kind(caller, argument, section, Section, "Texts go into a Paragraph.")


def _picture(picture: Picture) -> str:
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    image = f'<img src="{picture.uri}" alt="{escape(picture.description)}">'
    return f"<figure>{image}{caption}</figure>"


def _table(table: Table) -> str:
    kinds = [' class="number"' if numeric else "" for numeric in table.numeric]
    headings = "".join(
        f'<th scope="col"{kind}>{escape(column.heading)}</th>'
        for column, kind in zip(table.columns, kinds, strict=True)
    )
    rows = "\n".join(_row(row, kinds) for row in table.cells)
    remarks = "".join(f"<li>{escape(caption)}</li>" for caption in table.captions)
    notes = f'\n<ul class="notes">{remarks}</ul>' if remarks else ""
    return (
        f'<div class="table" tabindex="0"><table>\n<caption>{escape(table.title)}</caption>\n'
        f"<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>{notes}"
    )


def _row(cells: tuple[str, ...], kinds: list[str]) -> str:
    """A table row; its first cell is the row's header."""
    tags = ['th scope="row"', *["td"] * (len(cells) - 1)]
    return "".join(
        ["<tr>"]
        + [
            f"<{tag}{kind}>{escape(cell)}</{tag[:2]}>"
            for tag, kind, cell in zip(tags, kinds, cells, strict=True)
        ]
        + ["</tr>"]
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root {
  --paper: #fdfdfc; --ink: #1d2430; --muted: #5f6875; --rule: #dfe2e6; --shade: #f4f5f6;
  --serif: Charter, "Bitstream Charter", "Iowan Old Style", "Source Serif 4", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181d; --ink: #e4e6e9; --muted: #9aa2ad; --rule: #333942; --shade: #1d2127;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 var(--serif); -webkit-text-size-adjust: 100%;
}
main { max-width: 80rem; margin: 0 auto; padding: 4rem 1.25rem 5rem; }
h1, h2 { line-height: 1.2; font-weight: 600; letter-spacing: -0.01em; text-wrap: balance; }
h1 { font-size: clamp(1.75rem, 6vw, 2.5rem); margin: 0 0 1.5rem; }
h2 { font-size: 1.375rem; margin: 3.25rem 0 0.75rem; }
p { margin: 0 0 1.1rem; max-width: 40rem; white-space: pre-line; overflow-wrap: anywhere; }
pre {
  margin: 1.5rem 0; padding: 1rem 1.125rem; overflow-x: auto; background: var(--shade);
  border-radius: 6px; font: 0.8125rem/1.55 var(--mono); tab-size: 4;
}
figure { margin: 2rem 0; overflow-x: auto; }
figure, .notes { max-width: 50rem; }
figure img {
  display: block; width: 100%; min-width: 30rem; height: auto; padding: 0.75rem; background: #fff;
  border: 1px solid var(--rule); border-radius: 6px;
}
figcaption, .notes { color: var(--muted); font: 0.8125rem/1.5 var(--sans); }
figcaption { margin-top: 0.625rem; }
.table { margin: 2rem 0 0; overflow-x: auto; }
table {
  width: 100%; border-collapse: collapse; font: 0.875rem/1.4 var(--sans);
  font-variant-numeric: tabular-nums lining-nums;
}
caption { padding-bottom: 0.625rem; text-align: left; font-weight: 600; }
th, td {
  min-width: 6rem; padding: 0.5rem 0 0.5rem 1.25rem; text-align: left;
  vertical-align: baseline; border-bottom: 1px solid var(--rule); font-weight: 400;
}
thead th {
  color: var(--muted); vertical-align: bottom; border-bottom: 1px solid var(--muted);
}
th:first-child {
  position: sticky; left: 0; padding: 0.5rem 0.25rem 0.5rem 0; background: var(--paper);
}
tbody th { white-space: nowrap; }
.number { min-width: 0; text-align: right; }
td.number { white-space: nowrap; }
.notes { margin: 0.75rem 0 2rem; padding: 0; list-style: none; }
.notes li { margin: 0.25rem 0; }
@media (max-width: 40rem) { td { white-space: nowrap; } }
@media print { :root { --paper: #fff; --ink: #000; } main { padding: 0; max-width: none; } }
"""
