"""Reports, breakdowns and sensitivities as tables and bars: no figure is lost."""

import pytest

from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.report.results import byte_bars, leaf_table, sensitivity_bars
from tests.report import samples


def column(table, heading: str) -> list:
    place = [column.heading for column in table.columns].index(heading)
    return [row[place] for row in table.rows]


def test_every_leaf_of_a_report_has_a_row_and_the_last_is_their_sum():
    report = samples.leaves()
    table = leaf_table(report)
    assert column(table, "Leaf") == [*(leaf.name for leaf in report.leaves), "total"]
    assert column(table, "Shape")[0] == "64×64"
    for heading in ("Before, bytes", "After, bytes"):
        *counts, total = column(table, heading)
        assert sum(counts) == total


def test_bars_of_bytes_are_as_long_as_the_bytes_they_stand_beside():
    found = samples.breakdown()
    section = byte_bars(found)
    lengths = [sum(bar.values) for bar in section.bars]
    assert lengths == column(section.table, "Bytes")
    assert sum(lengths) == found.size_bytes
    assert section.series == ("numbers", "masks", "tables", "scales", "header")


def test_bars_of_sensitivities_keep_changes_and_intervals():
    found = samples.sensitivities()
    section = sensitivity_bars(found)
    assert section.table.title == (
        "Change of loss with one leaf alone compressed to int4 per channel, measured"
    )
    for row, bar, change, interval, remark in zip(
        found,
        section.bars,
        column(section.table, "Change of loss, nats"),
        column(section.table, "95 % interval, nats"),
        column(section.table, "Remark"),
        strict=True,
    ):
        if row.reason:
            assert (bar, change, interval, remark) == (None, None, None, row.reason)
        else:
            assert bar.values == (change,) == (row.loss_increase,)
            assert bar.interval == row.intervals["loss"]
            assert interval == f"[{bar.interval[0]:+.4f}, {bar.interval[1]:+.4f}]".replace("-", "−")


@pytest.mark.parametrize("choices", [("int4", "int8"), ("", "")])
def test_what_was_chosen_has_a_column_where_it_differs(choices):
    rows = [LeafSensitivity("kernel", {"auc": -0.1}, choice=choice) for choice in choices]
    section = sensitivity_bars(Sensitivities(tuple(rows), "auc", "measured"))
    headings = [column.heading for column in section.table.columns]
    chosen = ["Compressed to"] * (choices[0] != choices[1])
    assert headings == ["Leaf", *chosen, "Change of auc"]
