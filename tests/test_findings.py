"""What the pages say of records is read from the records: nobody types a figure."""

import json
import pathlib
import re

import pytest

from benchmarks import records, runner, templates

WORD = re.compile(r"[^\W\d][\w.×-]*")
"""Digits inside a word, as of LeNet-300-100 and int8, are its name."""
QUOTED = re.compile(r'\{"([^{}]*)"\}')
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)*(?:e-?\d+)?")
ELSEWHERE = re.compile(r"\b(?:published|aim|without a record)\b", re.IGNORECASE)
"""Numbers in quotes are chosen by the benchmark, or the quotes say whose they are."""
SIZES = {"1797", "10000", "60000"}
"""How many examples the data sets have."""
CODE = records.PAGE.parent
WORDS = 50
"""What fits into a cell of a table."""
SETUP = re.compile(r"\b(?:seeds|opened|EPYC|Xeon)\b")
"""Words that tell how something was measured, and not what was found."""


def typed(text: str) -> list[str]:
    """The digits of a template that are neither in braces nor in a word."""
    return re.findall(r"\S*\d\S*", WORD.sub("", templates.BRACES.sub("", text)))


def unfounded(text: str, chosen: set[str]) -> list[str]:
    """The numbers in quotes that nobody chose and that are nobody else's."""
    quotes = [quote for quote in QUOTED.findall(text) if not ELSEWHERE.search(quote)]
    numbers = {number for quote in quotes for number in NUMBER.findall(WORD.sub("", quote))}
    return sorted(number for number in numbers if number.replace(",", "") not in chosen)


def chosen(name: str) -> set[str]:
    """The numbers in the settings and the code of a benchmark, with what it reads."""
    settings = [run["settings"] for run in runner.read(runner.RESULTS / f"{name}.json")]
    codes = {path.stem: path.read_text(encoding="utf-8") for path in CODE.glob("*.py")}
    own = max(filter(name.startswith, codes), key=len)
    read = [text for stem, text in codes.items() if re.search(rf"\b{stem}\b", codes[own] + own)]
    return SIZES | set(NUMBER.findall(json.dumps(settings) + "".join(read).replace("_", "")))


@pytest.mark.parametrize(("name", "path"), records.sources().items(), ids=records.sources())
def test_no_figure_of_a_finding_is_typed(name: str, path: pathlib.Path):
    text = path.read_text(encoding="utf-8")
    assert typed(text) == []
    assert unfounded(text, chosen(name)) == []
    found = records.finding(name)
    assert found.question.endswith("?")
    assert found.answer


@pytest.mark.parametrize(("name", "path"), records.sources().items(), ids=records.sources())
def test_an_answer_is_short_and_gives_a_figure(name: str, path: pathlib.Path):
    template, found = records.parts(path.read_text(encoding="utf-8")), records.finding(name)
    assert len(found.answer.split()) <= WORDS
    assert not SETUP.search(found.answer)
    inside = templates.BRACES.findall(template.answer)
    assert [each for each in inside if not each.startswith(("with ", '"'))]
    assert found.how, "how it was measured stands below the answer"
    assert found.how[0] not in "-|", "what opens with a name is a paragraph"


TEMPLATE = """What?

An answer
in two lines.

How.

- A list.

#### At length

More.
"""


def test_a_template_has_its_parts():
    how, details = "How.\n\n- A list.", "#### At length\n\nMore."
    assert records.parts(TEMPLATE) == ("What?", "An answer in two lines.", how, details)
    assert records.parts("What?\n\nNothing.\n") == ("What?", "Nothing.", "", "")


def test_how_it_was_measured_is_a_block_of_markdown_below_the_table():
    text = records.section("privacy", ["private_training", "planted_leaks"])
    table, block = text.split(f"\n\n{records.OPENING}\n\n")
    how = [
        f"**`{name}`**: {records.finding(name).how}"
        for name in ("private_training", "planted_leaks")
    ]
    assert block == "\n\n".join([*how, f"{records.CLOSING}\n"])
    assert records.finding("planted_leaks").answer in table


def test_every_record_is_told():
    assert {path.stem for path in runner.RESULTS.glob("*.json")} == set(records.sources())


def test_a_typed_figure_is_seen():
    text = 'LeNet-300-100 in {bits} bits: {error:.1%} of {"500 images"}'
    assert typed(text) == []
    assert typed(f"{text}, 2.5 % before") == ["2.5"]
    assert unfounded(text, {"500"}) == []
    assert unfounded(text, {"5"}) == ["500"]
    assert unfounded('{"published: 1.9 %"}', set()) == []


def test_the_pages_are_made_of_templates_and_records():
    pages = [page.read_text(encoding="utf-8") for page in (records.PAGE, records.FRONT)]
    assert [*map(records.rewritten, pages)] == pages, "run python -m benchmarks.records"
    marked = [match["name"] for page in pages for match in records.MARKED.finditer(page)]
    assert sorted(marked) == sorted(records.PARTS)


def test_no_figure_of_the_first_page_is_typed():
    text = (records.FINDINGS / "highlights.md").read_text(encoding="utf-8")
    named = re.findall(r"\bwith record=(\w+)", text)
    assert typed(text) == []
    assert unfounded(text, set().union(*map(chosen, named))) == []


RUNS = [
    {
        "settings": {"bits": bits, "form": {"kept": kept}},
        "seed": seed,
        "figures": {
            "test": {"loss": bits + seed / 4, "dense": 2.0},
            "bytes": 1500 * bits,
            "list": [bits, bits + 2],
            "curve": [4 - seed, 2.5 - seed, 2.0, 3.0],
            "deep": {"a": {"b": {"c": {"d": [1, 2, {"e": 1e-5}]}}}},
            **({"only": 7} if bits == 8 else {}),
        },
        "wall_seconds": 120.0 * bits,
    }
    for bits, kept in ((2, "x, y"), (8, "2:4"))
    for seed in (2, 0, 1)
]

FIGURES = {
    "test · loss (bits=2)": "2.25",
    "test · loss (bits=2):±": "2.25 ± 0.14",
    "test · loss (form, kept=2:4):.2f": "8.25",
    "test · loss (bits=2):.1f±": "2.2 ± 0.1",
    "test · loss (bits=2):.1f[]": "2.2 [1.6, 2.9]",
    "test · loss (bits=2) − test · dense (bits=2):+.2f±": "+0.25 ± 0.14",
    "test · dense (bits=2) − test · loss (bits=2):.0p±": "−25 ± 14",
    "test · dense (bits=2) − test · loss (bits=2):.2p[]": "−25.00 [−87.10, 37.10]",
    "test · loss (bits=8) ÷ test · loss (bits=2):.2f": "3.69",
    "wall_seconds (bits=2) ÷ 60:.0f": "4",
    "each test · loss (bits=2):.2f": "2.00, 2.25 and 2.50",
    "test · loss (bits=2|8):.2f": "2.25 and 8.25",
    "test · loss|dense (bits=2):.1%": "225.0 % and 200.0 %",
    "min test · loss": "2",
    "max test · loss − test · dense:.1f": "6.5",
    "count bytes": "6",
    "median bytes": "7,500",
    "sum bytes:.1k": "45.0",
    "bytes (bits=8):.0f": "12,000",
    "bits (bits=8)": "8",
    "test · dense": "2",
    "only": "7",
    "[bytes (bits=8) − bytes (bits=2)] ÷ [bits (bits=8) − bits (bits=2)]": "1,500",
    "bytes (bits=8) − bytes (bits=2) ÷ 100": "90",
    "list (bits=2)": "3",
    "deep · a · b · c · d · 0:2 (bits=2)": "1.5",
    "list (bits=2) ≤ bits (bits=2)": "1",
    "each curve ≤ test · dense": "3, 2, 1, 3, 2 and 1",
    "each list (bits=2)": "2, 4, 2, 4, 2 and 4",
    "deep · a · b · c · d · 1 (bits=2)": "2",
    "deep · a · b · c · d · last · e (bits=2):.0e": "1e-5",
}

ERRORS = {
    "test · loss": "found in 2 groups of runs of any with {}, not in one",
    "test · gain (bits=2)": "found in 0 groups of runs of any with {'bits': '2'}",
    "test · loss (bits=4)": "found in 0 groups",
    "only − test · loss": "found in 2 groups",
    "deep · a": "found in 0 groups",
    "test · loss|dense (bits=2|8|2)": "tells of unlike numbers of figures: [2, 3]",
    "list (bits=2) − bits (bits=2)": "joins lists of different lengths",
    "curve (bits=2) ≤ test · best": "found in 0 groups",
    "curve (bits=2) ≤ deep · a · b · c · d · 0 (bits=2)": "A curve does not come down to its goal",
}


@pytest.fixture
def any_record(monkeypatch, tmp_path):
    runner.write(tmp_path / "any.json", RUNS)
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    templates.runs.cache_clear()
    yield
    templates.runs.cache_clear()


@pytest.mark.parametrize(("place", "text"), FIGURES.items(), ids=FIGURES)
def test_a_figure_is_read_from_its_runs(any_record, place, text):
    assert templates.filled(f"<{{{place}}}>", "any") == f"<{text}>"


@pytest.mark.parametrize(("place", "message"), ERRORS.items(), ids=ERRORS)
def test_a_figure_that_is_not_there_is_an_error(any_record, place, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        templates.filled(f"{{{place}}}", "any")


def test_settings_hold_up_to_the_next_ones(any_record):
    text = '{with bits=2}{bytes}, {bytes (bits=8)}, {with record=any; bits=8}{bytes}, {"4 bits"}'
    assert templates.filled(text, "any") == "3,000, 12,000, 12,000, 4 bits"
