"""Reports: a value that survives JSON, and a table that stands straight."""

import dataclasses

import pytest

from jaxcompress.core.report import KEPT, LeafReport, Report, aligned

ROWS = (
    LeafReport("dense/kernel", (784, 300), "int8 per channel", "axes assumed", 940_800, 236_400),
    LeafReport("dense/bias", (300,), KEPT, "not selected", 1_200, 1_200),
    LeafReport("steps", (), KEPT, "dtype int32", 4, 4),
)
REPORT = Report("quantize", ROWS)
EMPTY = Report("quantize", ())


@pytest.mark.parametrize("report", [REPORT, EMPTY], ids=["rows", "no rows"])
def test_json_gives_the_report_back(report):
    again = Report.from_json(report.to_json())
    assert again == report
    assert all(type(leaf.shape) is tuple for leaf in again.leaves)


def test_totals_are_sums():
    assert REPORT.bytes_before == 940_800 + 1_200 + 4
    assert REPORT.bytes_after == 236_400 + 1_200 + 4
    assert (EMPTY.bytes_before, EMPTY.bytes_after) == (0, 0)


def test_what_was_kept_is_listed_with_its_reason():
    assert [leaf.changed for leaf in ROWS] == [True, False, False]
    assert REPORT.kept == ROWS[1:]
    assert [leaf.reason for leaf in REPORT.kept] == ["not selected", "dtype int32"]


def test_the_text_is_a_table_with_totals():
    assert str(REPORT).splitlines() == [
        "quantize",
        "leaf          shape    action            reason        bytes before  after",
        "dense/kernel  784×300  int8 per channel  axes assumed  940,800       236,400",
        "dense/bias    300      kept              not selected  1,200         1,200",
        "steps         ()       kept              dtype int32   4             4",
        "total                                                  942,004       237,604",
    ]
    assert len(str(EMPTY).splitlines()) == 3


def test_columns_are_as_wide_as_their_widest_cell():
    assert aligned([("a", "bb", "c"), ("aaa", "b", "")]) == ["a    bb  c", "aaa  b"]


def test_a_report_cannot_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        REPORT.title = "other"
