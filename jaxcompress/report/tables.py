"""Tables as values: rows in, then plain text, rich's table for a terminal, or HTML.

HTML is written by `page`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from jaxcompress.core.kinds import check_each, check_kind, check_mapping, check_text
from jaxcompress.core.messages import shown as quoted
from jaxcompress.core.report import signed

Cell = str | int | float | None
_FIGURES = re.compile(r"[\d\s.,%<±×+−()\[\]–]*")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
      key: where its values are in a row.
      heading: the words above it.
      format: Python's format specification of its numbers: ",d", ".1%"; text has none.
    """

    key: str
    heading: str
    format: str = ""

    def __post_init__(self) -> None:
        for field in ("key", "heading", "format"):
            check_text("Column", field, getattr(self, field))


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under headings; `str` gives plain text, rich prints it in its own form.

    Invariants:
      - Every row has one cell per column: text, a number, or None for "not known".
      - All fields are plain values: `dataclasses.asdict` gives its JSON.

    Args:
      title: the line above it.
      columns: what is shown and how.
      rows: the cells, not yet formatted.
      captions: remarks under it, one line each.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    captions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_text("Table", "title", self.title)
        check_each("Table", "columns", self.columns, _check_column)
        check_each("Table", "rows", self.rows, _check_cells)
        check_each("Table", "captions", self.captions, check_text)

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The rows as text; what is not known is a dash."""
        return tuple(
            tuple(_text(cell, column) for cell, column in zip(row, self.columns, strict=True))
            for row in self.rows
        )

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold figures alone, and are aligned on the right.

        A text of digits and their signs is one too: an interval, a shape.
        """
        return tuple(
            all(_is_figure(row[position]) for row in self.rows)
            for position in range(len(self.columns))
        )

    def __str__(self) -> str:
        headings = tuple(column.heading for column in self.columns)
        widths = [max(map(len, column)) for column in zip(headings, *self.cells, strict=True)]
        rule = tuple("─" * width for width in widths)
        lines = [
            "  ".join(
                cell.rjust(width) if numeric else cell.ljust(width)
                for cell, width, numeric in zip(row, widths, self.numeric, strict=True)
            ).rstrip()
            for row in (headings, rule, *self.cells)
        ]
        return "\n".join([self.title, "", *lines, *self._remarks])

    def __rich__(self) -> Any:
        from rich import box
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(title=Text(self.title), title_justify="left", box=box.SIMPLE_HEAD)
        for column, numeric in zip(self.columns, self.numeric, strict=True):
            shown.add_column(Text(column.heading), justify="right" if numeric else "left")
        for row in self.cells:
            shown.add_row(*map(Text, row))
        return Group(shown, *(Text(line, style="dim") for line in self._remarks))

    @property
    def _remarks(self) -> list[str]:
        return ["", *(f"· {caption}" for caption in self.captions)] if self.captions else []


def table(
    rows: Sequence[Mapping[str, Cell]],
    *,
    columns: Sequence[Column],
    title: str,
    captions: Sequence[str] = (),
) -> Table:
    """The table of these rows.

    Args:
      rows: values by column key; what a row lacks is not known, what no column asks for
        is not shown.
      columns: what is shown, from left to right.
      title: the line above it.
      captions: remarks under it: where figures come from, what an interval means.

    Returns:
      Table; `print` it, give it to `show`, or to `page`.

    Raises:
      ValueError: there is no column, or no row has a value for one.

    Example:
      >>> rows = [
      ...     {"model": "dense", "bytes": 2400000},
      ...     {"model": "int4", "bytes": 310000, "change": -0.004},
      ... ]
      >>> columns = [
      ...     jc.report.Column("model", "Model"),
      ...     jc.report.Column("bytes", "Bytes", ",d"),
      ...     jc.report.Column("change", "Accuracy", "+.1%"),
      ... ]
      >>> print(jc.report.table(rows, columns=columns, title="Sizes"))
      Sizes
      <BLANKLINE>
      Model      Bytes  Accuracy
      ─────  ─────────  ────────
      dense  2,400,000         –
      int4     310,000     −0.4%
    """
    check_text("table", "title", title)
    check_each("table", "rows", rows, _check_row)
    check_each("table", "columns", columns, _check_column)
    check_each("table", "captions", captions, check_text)
    if not columns:
        raise ValueError(f"table(columns=) of {title!r} is empty. Give at least one Column.")
    for column in columns:
        if rows and all(column.key not in row for row in rows):
            keys = sorted({key for row in rows for key in row})
            raise ValueError(
                f"table(columns=): no row of {title!r} has the key {column.key!r}. "
                f"Keys are: {', '.join(keys)}."
            )
    return Table(
        title=title,
        columns=tuple(columns),
        rows=tuple(tuple(row.get(column.key) for column in columns) for row in rows),
        captions=tuple(captions),
    )


def show(shown: Table, file: TextIO) -> None:
    """Writes the table: in rich's form to a terminal, else as plain text.

    Args:
      shown: the table.
      file: where to, for example `sys.stdout`.
    """
    check_kind("show", "shown", shown, Table, "Make it with report.table.")
    if not hasattr(file, "write"):
        raise TypeError(f"show(file={quoted(file)}) must be an open text file, as sys.stdout is.")
    if file.isatty():
        from rich.console import Console

        Console(file=file).print(shown)
    else:
        file.write(f"{shown}\n")


def _check_row(caller: str, argument: str, row: object) -> None:
    check_mapping(caller, argument, row, "A row holds values by column key.")


def _check_cells(caller: str, argument: str, row: object) -> None:
    check_kind(caller, argument, row, tuple, "A row has one cell per column.")


def _check_column(caller: str, argument: str, column: object) -> None:
    check_kind(caller, argument, column, Column, "Make it with report.Column.")


def _is_figure(cell: Cell) -> bool:
    return not isinstance(cell, str) or _FIGURES.fullmatch(cell) is not None


def _text(cell: Cell, column: Column) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else signed(cell, column.format)
