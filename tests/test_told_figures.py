"""The figures that pages tell in their own words are those of the records.

Below a paragraph, or a table and the line above it, a page has a comment that nobody
sees: the name of a record and, in the order of the text, its figures as templates of
`benchmarks/templates.py`, with as many of the words beside them as tell them apart.

    <!-- quantized_lstm: closes {[…] ÷ […]:.0%} of the gap … {test · float:.3f} -->

`…` stands for what lies between. Filled in, every piece is found in the text, and no
number with a point or an exponent and no percentage of the text lies outside of them: a
setting is named too, as `{"50 %"}`, and what the record does not have, as
`{"published: 1.9 %"}` or `{"without a record: 1.9 %"}`. What docstrings say in percent
is listed here.
"""

import inspect
import operator
import pathlib
import re
from typing import NamedTuple

import pytest

import jaxcompress as jc
from benchmarks import runner, templates
from tests.test_findings import chosen, typed, unfounded

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted({*ROOT.glob("docs/**/*.md")} - {*ROOT.glob("docs/methods/*.md")})
"""All that people write; `docs/methods` is made."""
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!-- (?P<record>[\w/]+): (?P<template>.*)\s-->", re.DOTALL)
SEEN = re.compile(r"\{\"(?:published|without a record): ([^{}]*)\"\}")
"""Quotes that say whose a figure is, and the figure as the page has it."""
UNSEEN = re.compile(r"`[^`]*`|\]\([^)]*\)")
"""Code and the targets of links, whose numbers are no figures."""
FIGURE = re.compile(r"\d[\d,]*\.\d+(?:e-\d+)?|\d+e-\d+|\d+(?= %)")
NAMED = re.compile(r"\w+_\w+|\w+(?=\.json\b)")
"""Words that may be a record: those of one word need their ending."""
RECORDS = {path.stem for path in runner.RESULTS.rglob("*.json")}


class Told(NamedTuple):
    """What a comment says of the text above it."""

    place: str
    text: str
    record: str
    template: str


def flat(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def parts(text: str) -> list[str]:
    """What empty lines part on a page, without blocks of code."""
    return [part for part in re.split(r"\n\s*\n", FENCE.sub("\n\n", text)) if part.strip()]


def told(page: pathlib.Path) -> list[Told]:
    """The comments of a page, each with the text above it."""
    found, every = [], parts(page.read_text(encoding="utf-8"))
    for n, part in enumerate(every):
        if match := COMMENT.fullmatch(part.strip()):
            above = every[max(n - 2, 0) if every[n - 1].startswith("|") else n - 1 : n]
            text = flat("\n".join(each for each in above if not COMMENT.fullmatch(each.strip())))
            template = flat(match["template"])
            place = f"{page.relative_to(ROOT)}, {template[:60]}"
            found.append(Told(place, text, match["record"], template))
    return found


def missing(text: str, record: str, template: str) -> list[str]:
    """The pieces that are not in the text in their order, then its other figures."""
    rest = UNSEEN.sub(lambda match: " " * len(match[0]), text)
    absent, end = [], 0
    for piece in map(str.strip, templates.filled(SEEN.sub(r'{"\1"}', template), record).split("…")):
        match = re.compile(rf"(?<![\d.,]){re.escape(piece)}(?!\d|[.,]\d)").search(text, end)
        if match:
            rest = rest[: match.start()] + " " * len(piece) + rest[match.end() :]
        else:
            absent.append(piece)
        end = match.end() if match else end
    return absent + FIGURE.findall(rest)


EVERY = [each for page in PAGES for each in told(page)]


@pytest.mark.parametrize("each", EVERY, ids=[each.place for each in EVERY])
def test_figures_are_those_of_the_record(each: Told):
    assert missing(each.text, each.record, each.template) == []
    assert typed(each.template) == []
    named = {each.record, *re.findall(r"\brecord=([\w/]+)", each.template)}
    assert unfounded(each.template, set().union(*map(numbers, named))) == []


def numbers(record: str) -> set[str]:
    """The numbers that the benchmark of a record chose."""
    return chosen(record.rpartition("/")[2])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_what_names_a_record_has_its_figures_below(page: pathlib.Path):
    every = parts(page.read_text(encoding="utf-8"))
    for n, part in enumerate(every):
        named = "benchmarks/README.md" in part or RECORDS & set(NAMED.findall(part))
        if named and not COMMENT.search(part) and FIGURE.search(UNSEEN.sub("", part)):
            below = [each for each in every[n + 1 : n + 3] if not each.startswith("|")]
            assert COMMENT.fullmatch("".join(below[:1]).strip()), f"no figures below: {part}"


DOCSTRINGS = {
    "validate.membership.attacks.calibrated": (
        "membership_audit",
        "{with kind=copies; version=dense}at {found · 0 · rate (attack=LiRA):.1%} false … "
        "{found · 0 · true_positives (attack=calibrated loss):.0p} % of … {found · 0 · "
        "true_positives (attack=LiRA):.0p} %",
    ),
    "validate.membership.attacks.quantile_regression": (
        "membership_audit",
        "{with kind=copies; version=dense}{found · 0 · true_positives (attack=RMIA, 2 "
        "models):.1p} % where it found {found · 0 · true_positives (attack=quantile "
        "regression):.1p} %",
    ),
    "validate.membership.attacks.rmia": (
        "membership_audit",
        "{with kind=copies; version=dense}{found · 0 · true_positives (attack=LiRA):.0p} "
        "% where it found {found · 0 · true_positives (attack=RMIA, 4 models):.0p} %",
    ),
    "validate.membership.attacks.shadow_classifier": (
        "membership_audit",
        "{with kind=copies; version=dense}at {found · 0 · rate (attack=LiRA):.1%} it "
        "found {found · 0 · true_positives (attack=shadow classifier):.1p} % where … "
        "{found · 0 · true_positives (attack=RMIA, 2 models):.1p} %",
    ),
    "validate.shift.classifier_test": (
        "shift_tests",
        "{with data=gaussian; shift=one mean by 0.5}{kernel:.0%} of draws, this at most "
        "{classifier, by AUC:.0%}",
    ),
    "validate.shift.kernel_test": (
        "shift_tests",
        "{with data=gaussian; shift=a correlation of 0.7}{kernel:.0%} of draws, … "
        "{classifier:.0p} to {classifier, by AUC:.0p} %",
    ),
    "validate.shift.linear_kernel_test": (
        "shift_tests",
        "{with data=gaussian; shift=one mean by 0.5}{kernel:.0%} of draws, this in "
        "{kernel, linear time:.0%}",
    ),
    "validate.bootstrap_interval": (
        "error_rates",
        'covers {min coverage (part=bootstrap_interval):.0%} where {"95"} are',
    ),
}


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_percentages_of_docstrings_are_those_of_the_record(name: str):
    text = inspect.getdoc(operator.attrgetter(name)(jc))
    assert text is not None
    said = flat("\n".join(part for part in text.split("\n\n") if " %" in part))
    record, template = DOCSTRINGS[name]
    assert missing(said, record, template) == []
    assert typed(template) == []


TEXT = "At 4 bits `0.5` of 1.25 and 3 %, as [told](of/1.5.md)."
MISSING = {
    '{"1.25"} … {"3 %"}': [],
    '{"1.25 and 3 %,"}': [],
    '{"1.25"}': ["3"],
    '{"3 %"} … {"1.25"}': ["1.25", "1.25"],
    '{"25"} … {"3 %"}': ["25", "1.25"],
    '{"1.2"} … {"without a record: 3 %"}': ["1.2", "1.25"],
}


@pytest.mark.parametrize(("template", "found"), MISSING.items(), ids=MISSING)
def test_a_figure_that_differs_is_seen(template: str, found: list[str]):
    assert missing(TEXT, "any", template) == found


def test_a_comment_is_about_what_stands_above_it(tmp_path, monkeypatch):
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    monkeypatch.setattr("tests.test_told_figures.ROOT", tmp_path)
    page.write_text("one\n\ntwo\nlines:\n\n| 1 |\n| 2 |\n\n<!-- any: {a …\nb} -->\n\nthree\n")
    assert told(page) == [Told("docs/page.md, {a … b}", "two lines: | 1 | | 2 |", "any", "{a … b}")]
