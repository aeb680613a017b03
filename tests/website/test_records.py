"""Tables of benchmarks hold the figures of their records."""

import pathlib
import re

import pytest

from benchmarks import figures, runner
from benchmarks.records import finding, sources
from website import records

RUNS = [
    {"settings": {"bits": 4, "net": "a"}, "figures": {"test": {"x": 1.0, "y": True}}},
    {"settings": {"bits": 4, "net": "a"}, "figures": {"test": {"x": 3.0}, "curve": [12345] * 5}},
    {
        "settings": {"bits": 2, "net": "a"},
        "figures": {"test": {"x": 0.25}, "curve": [1, 2, 3, 4, 5]},
    },
]


def test_runs_under_equal_settings_are_one_column():
    assert records.tables(RUNS).splitlines() == [
        "|  | bits 4 | bits 2 |",
        "| --- | --- | --- |",
        "| runs | 2 | 1 |",
        "| test · x | 2 ± 1 | 0.25 |",
        "| curve · last | 12,345 | 5 |",
    ]
    assert records.shared(RUNS) == "- net: `a`"


def test_runs_with_other_figures_have_a_table_of_their_own():
    runs = [{"settings": {"n": n, "m": 1}, "figures": {f"x{n}": n}} for n in (1, 2)]
    assert records.tables(runs).splitlines() == [
        *("n `1`", "", "|  |  |", "| --- | --- |", "| runs | 1 |", "| x1 | 1 |", ""),
        *("n `2`", "", "|  |  |", "| --- | --- |", "| runs | 1 |", "| x2 | 2 |"),
    ]


def test_many_settings_become_rows():
    runs = [{"settings": {"n": n}, "figures": {"x": n / 8}} for n in range(7)]
    lines = records.tables(runs).splitlines()
    assert lines[0] == "| n | runs | x |"
    assert lines[2:4] == ["| 0 | 1 | 0 |", "| 1 | 1 | 0.125 |"]


@pytest.mark.parametrize("name", records.names())
def test_a_page_shows_figures_of_every_record(name):
    text = records.page(name)
    assert "## Figures" in text
    runs = runner.read(runner.RESULTS / f"{name}.json")
    counts = {str(len(each)) for _, each in figures.groups(runs)}
    shown = {word for line in text.splitlines() for word in re.split(r" *\| *", line)}
    assert counts <= shown
    for target in re.findall(r"\]\(([^)]+\.(?:png|py))\)", text):
        assert (pathlib.Path(records.README).parent / target).exists(), target


def test_the_index_leads_to_every_benchmark_that_was_found():
    text = records.index()
    for name in sources():
        told = finding(name)
        row = f"| [`{name}`](results/{name}.json) | {told.question} | {told.answer} |"
        assert row in text.splitlines(), name
        assert told.how not in text, name
    assert "details>" not in text


@pytest.mark.parametrize("name", ["sparsity_lenet", "import_cost"])
def test_a_page_says_what_was_found_and_then_how(name):
    text = records.page(name)
    places = [text.index(part) for part in finding(name)]
    assert places[:-1] == sorted(places[:-1])
    assert not finding(name).details or places[-1] > places[-2]
