"""Tables: aligned text, one line per caption, rich for terminals alone, JSON."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from jaxcompress.report import Column, Table, show, table

COLUMNS = [
    Column("model", "Model"),
    Column("size_bytes", "Bytes", ",d"),
    Column("change", "Change", "+.1f"),
]
ROWS = [
    {"model": "dense", "size_bytes": 1234567, "unseen": 1},
    {"model": "[int4]", "size_bytes": 89, "change": -0.25},
]


@pytest.fixture
def sizes() -> Table:
    return table(ROWS, columns=COLUMNS, title="Sizes [B]", captions=["Of files.", "In points."])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_numbers_stand_on_the_right_and_captions_below(sizes):
    assert str(sizes).splitlines() == [
        "Sizes [B]",
        "",
        "Model       Bytes  Change",
        "──────  ─────────  ──────",
        "dense   1,234,567       –",
        "[int4]         89    −0.2",
        "",
        "· Of files.",
        "· In points.",
    ]


def test_a_file_gets_plain_text_and_a_terminal_rich(sizes):
    file, terminal = io.StringIO(), Terminal()
    show(sizes, file)
    show(sizes, terminal)
    assert file.getvalue() == f"{sizes}\n"
    assert terminal.getvalue() != file.getvalue()


def test_rich_shows_every_cell_as_it_is_written(sizes):
    console = Console(file=io.StringIO(), width=100)
    console.print(sizes)
    shown = console.file.getvalue()
    for text in ("Sizes [B]", "[int4]", "1,234,567", "−0.2", "· In points."):
        assert text in shown


def test_a_table_is_plain_data(sizes):
    fields = json.loads(json.dumps(dataclasses.asdict(sizes)))
    assert fields["rows"] == [["dense", 1234567, None], ["[int4]", 89, -0.25]]
    assert fields["columns"][1] == {"key": "size_bytes", "heading": "Bytes", "format": ",d"}


def test_a_table_without_rows_has_its_headings():
    assert str(table([], columns=COLUMNS, title="None")).splitlines()[2] == "Model  Bytes  Change"


def test_a_column_without_values_is_named():
    with pytest.raises(
        ValueError, match=r"table\(columns=\): no row of 'Sizes' has the key 'bytes'.*size_bytes"
    ):
        table(ROWS, columns=[Column("bytes", "Bytes")], title="Sizes")
    with pytest.raises(ValueError, match=r"table\(columns=\) of 'Sizes' is empty"):
        table(ROWS, columns=[], title="Sizes")
