"""Every exported method is in the index and on a page."""

import inspect
import re

import optax
import pytest

import jaxcompress as jc
from tests import methods
from tests.test_findings import chosen, typed, unfounded
from website import measured

NO_LIMITS = {
    "quantize.rounding.orders.by_energy": "no order left less error in less time",
    "train.augment.chain": "it only puts others one after another",
}
"""Methods with a usual name beside which no other does better, and why."""


def test_the_pages_are_up_to_date():
    written = {path.name: path.read_text(encoding="utf-8") for path in methods.FOLDER.glob("*.md")}
    made = {name: f"{text.rstrip()}\n" for name, text in methods.pages().items()}
    assert written == made, "run: python -m tests.methods"


def test_what_was_measured_is_of_methods():
    calls = {method.call for room in methods.ROOMS for method in methods.methods(room)}
    assert set(measured.measured()) <= calls


@pytest.mark.parametrize("path", sorted(measured.FOLDER.iterdir()), ids=lambda path: path.stem)
def test_what_was_measured_is_read_from_its_record(path):
    for call, template in measured.read(path.read_text(encoding="utf-8"), path.name):
        told = measured.measured()[call]
        assert told == (path.stem, template)
        assert not re.search(r"[{}]", told.sentence())
        assert typed(template) == []
        assert unfounded(template, chosen(path.stem)) == []


TOLD = """{with form=FORM}
a net, NAME:
{FORM, cut · error} of FORMS

| call | NAME | FORM |
|---|---|---|
| `prune.one` | a FORM | 2:4 |
| `prune.two` | two | |
"""
MISTAKES = {
    "a sentence alone": (TOLD.partition("\n\n")[0], "not sentences, each above a table"),
    "no rows": (
        TOLD.partition("| `prune.one")[0],
        "no table of calls below: {with form=FORM} a net",
    ),
    "no calls": (TOLD.replace("| call |", "| method |"), "no table of calls below"),
    "two sentences": ("one\n\ntwo", "no table of calls below: one"),
    "a cell too few": (TOLD.replace("| two | |", "| two |"), "no table of calls below"),
    "a word too many": (TOLD.replace("NAME:", "names:"), "columns ['NAME'] of which nothing is in"),
}


def test_the_words_of_a_row_stand_in_its_sentence():
    assert measured.read(TOLD, "any.md") == [
        ("prune.one", "{with form=2:4} a net, a FORM: {2:4, cut · error} of FORMS"),
        ("prune.two", "{with form=} a net, two: {, cut · error} of FORMS"),
    ]
    assert measured.read("a net\n\n| call |\n|---|\n| `prune.one` |", "") == [
        ("prune.one", "a net")
    ]


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_sentence_without_its_calls_is_an_error(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        measured.read(text, "any.md")


def test_two_sentences_on_a_method_are_an_error(monkeypatch, tmp_path):
    for name in ("any.md", "other.md"):
        (tmp_path / name).write_text(TOLD, encoding="utf-8")
    monkeypatch.setattr(measured, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"other.md tells of prune.one, as any.md does"):
        measured.measured.__wrapped__()


@pytest.mark.parametrize("room", methods.ROOMS)
def test_every_method_is_on_a_page(room):
    found = list(methods.methods(room))
    assert found
    assert [method.call for method in found if not method.page] == []


@pytest.mark.parametrize("room", methods.ROOMS)
def test_every_method_with_a_usual_name_says_when_to_take_another(room):
    named = [method for method in methods.methods(room) if method.names]
    excused = {call for call in NO_LIMITS if call.startswith(f"{room}.")}
    assert {method.call for method in named if not method.limits} == excused


@pytest.fixture(scope="module")
def callables():
    """Calls with each way to shorten them from the left, and what the top exports."""
    calls = [call.split(".") for room in methods.ROOMS for call in methods.exported_by(room)]
    shortened = {".".join(parts[i:]) for parts in calls for i in range(len(parts))}
    return shortened | {name for name in dir(jc) if callable(getattr(jc, name))}


@pytest.mark.parametrize("room", methods.ROOMS)
def test_what_to_take_instead_exists(room, callables):
    functions = methods.exported_by(room)
    for method in methods.methods(room):
        known = callables | set(inspect.signature(functions[method.call]).parameters)
        for name in re.findall(r"`(.+?)`", method.limits):
            package, _, member = name.rpartition(".")
            exists = hasattr(optax, member) if package == "optax" else name in known
            assert exists, (method.call, name)


def test_what_docstrings_say_is_read():
    docstring = inspect.cleandoc(
        """Raises a sparsity.

        Also known as: gradual pruning (GMP, agp), L2,1 in [0, 1], polynomial
        decay. More text.

        Source: Zhu et al. 2017, arXiv:1710.01878, equation 1. Differs: not at all.
        """
    )
    assert methods.usual_names(docstring) == (
        "gradual pruning (GMP, agp)",
        "L2,1 in [0, 1]",
        "polynomial decay",
    )
    assert methods.source(docstring).startswith("Zhu et al. 2017, [arXiv:1710.01878](https://")
    assert (
        methods.source(
            "Source: Ba, Li and Zhu 2007, pages 3 to 5, as in Yao 2020, arXiv:2006.00719; Hu et\n"
            "al. 2021, arXiv:2106.09685, section 4. Differs: as Xu 2022, arXiv:2201.00001; more."
        )
        == "Ba, Li and Zhu 2007; Hu et al. 2021, [arXiv:2106.09685](https://arxiv.org/abs/2106.09685)"
    )
    assert methods.usual_names("Nothing.") == ()
    assert methods.source("Nothing.") == ""
