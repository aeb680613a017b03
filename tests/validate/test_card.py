"""The card: what it says, that it is whole, escaped, exact in JSON, and the same."""

import functools
import hashlib
import itertools
import json
import os

import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import report, validate
from jaxcompress.validate.cards.findings import examples_for
from jaxcompress.validate.cards.text import escaped
from tests.report.test_page import HOSTILE, parsed
from tests.validate.evaluations import classifier

ALL_RIGHT = classifier(np.ones(40))


def answers(wrong: int, n: int = 40) -> validate.Evaluation:
    correct = np.arange(n) >= wrong
    return classifier(correct, ~correct)


def full_card(text: str = "digits") -> validate.Card:
    """A card with every kind of entry, and this text in each place that takes one."""
    figure = validate.Figure(text, 0.1 + 0.2, (None, np.float32(0.7)), 0.9)
    finding = validate.Finding("subgroups", text, (figure,), "undecided", (text,), text)
    return validate.Card(
        text,
        (validate.cards.ModelRecord(text, "0f" * 32, 1234567), validate.cards.ModelRecord("dense")),
        (validate.cards.DataRecord(text, np.int64(360), "ab" * 32, text),),
        (finding,),
        text,
    ).adding(answers(4), validate.compare(ALL_RIGHT, answers(4), margin=0.1))


def test_json_gives_the_same_card_back():
    card = full_card(HOSTILE)
    assert validate.Card.from_json(json.loads(json.dumps(card.to_json(), allow_nan=False))) == card
    empty = validate.Card("empty")
    assert validate.Card.from_json(empty.to_json()) == empty


def test_the_same_card_gives_the_same_text():
    one, other = full_card(), full_card()
    assert one.to_markdown() == other.to_markdown()
    assert report.card_page(one) == report.card_page(other)
    assert report.card_page(one) != report.card_page(full_card("letters"))


def test_every_text_is_escaped_and_none_is_lost():
    card = full_card(HOSTILE)
    page = parsed(report.card_page(card))
    assert "script" not in page.seen
    # The page's title twice; date; model; data and its origin; statement; the figure's
    # name is in a cell with its number; "of" of the finding and of its need; the need.
    assert page.text.count(HOSTILE) == 9
    assert any(text.startswith(f"{HOSTILE} 0.3 (at most 0.7)") for text in page.text)
    assert "<script" not in card.to_markdown()
    assert card.to_markdown().count("&lt;script&gt;") == 10


def test_markdown_tables_stay_tables():
    """No text opens a cell, a heading or a list of its own."""
    lines = full_card("- a | b\n# c\n1. d").to_markdown().splitlines()
    assert next(line for line in lines if line.startswith("#")) == "# \\- a \\| b \\# c 1. d"
    for first, second in itertools.pairwise(lines):
        if first.startswith("|") and second.startswith("|"):
            assert first.replace("\\|", "").count("|") == second.replace("\\|", "").count("|")
    assert not [line for line in lines if line.startswith(("- ", "1. "))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, text (1.5)", "plain, text (1.5)"),
        ("1. one", r"1\. one"),
        ("12) one", r"12\) one"),
        ("+ one", r"\+ one"),
        ("a\n\n---", "a ---"),
        ("[a](b)", r"\[a\](b)"),
        ("&lt; <b>", "&amp;lt; &lt;b&gt;"),
        ("", ""),
    ],
)
def test_escaped(text, expected):
    assert escaped(text) == expected


def test_what_has_no_finding_is_listed_as_not_tested():
    names = [topic.name for topic in validate.cards.TOPICS]
    assert [topic.name for topic in validate.Card("x").not_tested] == names
    card = validate.Card("x").adding(ALL_RIGHT)
    assert [topic.name for topic in card.not_tested] == names[1:]
    block = next(block for block in card.blocks if block.heading == "What was not tested")
    assert [row[0] for row in block.rows] == names[1:]
    each = (validate.Finding(name, "Was tested.") for name in names)
    whole = validate.Card("x").adding(*each)
    assert whole.not_tested == ()
    assert "Every kind of test was made at least once." in whole.to_markdown()


@pytest.mark.parametrize("topic", validate.cards.TOPICS, ids=lambda topic: topic.name)
def test_every_topic_names_a_call_that_is_there(topic):
    assert callable(functools.reduce(getattr, topic.call.split("."), jc))
    assert topic.question.endswith("?")
    assert validate.Finding(topic.name, "Was tested.").topic == topic.name


def test_the_opening_counts_claims():
    verdicts = ("holds", "holds", "fails", "undecided", "measured")
    found = [validate.Finding("subgroups", "Seen.", verdict=verdict) for verdict in verdicts]
    opening = validate.Card("x").adding(*found).blocks[0].lines[0]
    assert opening == (
        "4 claims were tested: 2 of them supported by the data, 1 contradicted, 1 left open for "
        "lack of examples. 1 figure was measured without a claim."
    )


def test_intervals_that_may_miss_are_counted():
    figures = tuple(validate.Figure(name, 0.5, (0.4, 0.6), 0.9) for name in "abc")
    card = validate.Card("x").adding(validate.Finding("subgroups", "Seen.", figures))
    assert "90 % confidence" in card.to_markdown()
    assert "of the 3 on this page about 0.3 can be expected to miss it" in card.to_markdown()


def test_findings_are_added_in_order_and_nothing_changes():
    card = validate.Card("x")
    more = card.adding(ALL_RIGHT, about="dense on test").adding(answers(3))
    assert card.findings == ()
    assert [finding.about for finding in more.findings] == ["dense on test", ""]
    assert more.adding() == more


@pytest.mark.parametrize(
    ("wrong", "margin", "verdict"),
    [(0, 0.1, "holds"), (4, 0.3, "holds"), (4, 0.1, "undecided"), (30, 0.1, "fails")],
)
def test_a_comparison_claims_no_loss_of_its_margin(wrong, margin, verdict):
    finding = validate.compare(ALL_RIGHT, answers(wrong), margin=margin).finding()
    assert finding.topic == "comparison with the original"
    assert finding.verdict == verdict
    assert bool(finding.needs) == (verdict == "undecided")


def test_the_number_of_examples_that_is_asked_for_is_enough():
    """With the same shares at that number the loss of the margin is ruled out."""
    n, lost, margin = 400, 8, 0.03
    asked = examples_for(n, -lost / n, validate.paired_interval(0, lost, n)[0], margin)
    assert asked is not None
    low = validate.paired_interval(0, round(lost / n * asked), asked)[0]
    assert -margin - 2e-3 < low  # the exact interval is not quite as wide as 1 / sqrt(n)
    assert validate.paired_interval(0, lost, n)[0] < -margin
    assert examples_for(100, -0.01, -0.05, 0.01) is None


def test_equal_answers_ask_for_examples_too():
    finding = validate.compare(ALL_RIGHT, ALL_RIGHT, margin=0.01).finding()
    (need,) = finding.needs
    assert finding.verdict == "undecided"
    asked = int(need.split()[1].replace(",", ""))
    assert (
        validate.paired_interval(0, 0, asked)[0]
        > -0.01
        >= validate.paired_interval(0, 0, asked - 1)[0]
    )


def test_scores_are_figures_without_a_claim():
    def losses(values):
        metric = validate.metrics.loss(lambda outputs, targets: outputs)
        score = validate.Score(metric, np.float32(values))
        marks = validate.leakage.fingerprints(np.arange(len(values)))
        return validate.Evaluation({"loss": score}, marks, marks)

    one, other = losses([1, 2, 3]), losses([2, 3, 4])
    assert one.finding().verdict == "measured"
    assert one.finding().statement == "loss was measured on 3 examples."
    assert one.finding().figures[0].interval == one["loss"].interval()
    finding = validate.compare_scores(one, other, "loss").finding()
    assert finding.statement.endswith("worse: loss higher by 1 to 1.")
    assert losses([1]).finding().figures[0].interval is None
    shares = ALL_RIGHT.finding().figures
    assert str(shares[1]).startswith("accuracy 100.00% (91.")


SCORES, MEMBERS = np.arange(60.0), np.arange(60) >= 30
CHANCE = np.arange(60.0) % 7
PRIVACY, EQUAL = validate.privacy, validate.comparisons.equivalence
BITS = np.tile([0, 1], 30)
CLOSE = np.where(BITS[:, None] == [0, 1], 0.0, 9.0)
FINDINGS = {
    "an attack that works": (
        lambda: validate.membership.audit(SCORES, MEMBERS, rates=(0.05,)),
        ("membership", "fails"),
    ),
    "an attack that does not": (
        lambda: validate.membership.audit(CHANCE, MEMBERS, rates=(0.05,)),
        ("membership", "undecided"),
    ),
    "coins that are told": (
        lambda: PRIVACY.one_run_audit(SCORES, MEMBERS),
        ("privacy bound", "fails"),
    ),
    "coins that are not": (
        lambda: PRIVACY.one_run_audit(CHANCE, MEMBERS),
        ("privacy bound", "undecided"),
    ),
    "one threshold": (
        lambda: PRIVACY.rate_audit(SCORES, MEMBERS),
        ("privacy bound", "fails"),
    ),
    "versions": (
        lambda: PRIVACY.versions_audit({"a": SCORES, "b": CHANCE}, MEMBERS),
        ("privacy bound", "fails"),
    ),
    "a feature that is known": (
        lambda: PRIVACY.attribute_audit(np.where(MEMBERS[:, None], CLOSE, 0), BITS, MEMBERS),
        ("attribute inference", "fails"),
    ),
    "planted sequences": (
        lambda: PRIVACY.Exposures(BITS * 1.0, BITS * 2.5, BITS * 9.0, 20.0, 100, 0.01),
        ("memorised sequences", "measured"),
    ),
    "no loss": (lambda: EQUAL(2, 3, 2000), ("comparison with the original", "holds")),
    "a loss": (lambda: EQUAL(0, 300, 2000), ("comparison with the original", "fails")),
    "few examples": (lambda: EQUAL(2, 3, 100), ("comparison with the original", "undecided")),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_results_say_what_they_showed(name):
    make, expected = FINDINGS[name]
    result = make()
    card = validate.Card("x").adding(result)
    (finding,) = card.findings
    assert str(result).splitlines()[0] == finding.statement
    assert str(finding) == "\n".join(
        [finding.statement, "; ".join(map(str, finding.figures)), *finding.needs]
    )
    assert (finding.topic, finding.verdict) == expected
    assert finding.statement.endswith(".")
    assert bool(finding.needs) == (finding.verdict == "undecided")
    assert validate.Card.from_json(json.loads(json.dumps(card.to_json(), allow_nan=False))) == card


def test_records_of_models_and_data(tmp_path):
    (tmp_path / "model").write_bytes(b"weights")
    model = validate.cards.model_record("dense", tmp_path / "model")
    assert model.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert model.size_bytes == 7
    x, labels = np.arange(6.0).reshape(3, 2), np.arange(3)
    data = validate.cards.data_record("test", (x, labels), origin="a third")
    assert (data.n, data.origin) == (3, "a third")
    assert data.fingerprint == validate.cards.fingerprint((x, labels))
    others = [(x[::-1], labels), (x.astype(np.float32), labels), (x.T.reshape(3, 2), labels), x]
    assert len({data.fingerprint, *map(validate.cards.fingerprint, others)}) == 5
    assert validate.cards.fingerprint(np.asfortranarray(x)) == validate.cards.fingerprint(x)


def test_files_are_whole_or_not_there(tmp_path, monkeypatch):
    card = full_card()
    report.save_card(card, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["card.html", "card.json", "card.md"]
    saved = json.loads((tmp_path / "card.json").read_text())
    assert validate.Card.from_json(saved) == card
    assert (tmp_path / "card.md").read_text() == card.to_markdown()
    before = (tmp_path / "card.html").read_bytes()
    assert before.decode() == report.card_page(card)

    def broken(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="no space left"):
        report.save_card(full_card("letters"), tmp_path)
    assert (tmp_path / "card.html").read_bytes() == before
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: validate.Finding("luck", "Seen."), r"Finding\(topic='luck'\) must be one of"),
        (lambda: validate.Finding("subgroups", " "), "needs a sentence"),
        (lambda: validate.Finding("subgroups", "Seen.", verdict="yes"), "holds, fails"),
        (lambda: validate.Figure("p", float("nan")), "finite number"),
        (lambda: validate.Figure("p", 0.5, (0.6, 0.4)), "low <= high"),
        (lambda: validate.Figure("p", 0.5, format="d"), r"Figure\(format='d'\) cannot write"),
        (lambda: validate.cards.ModelRecord("a", "xyz"), "64 hexadecimal digits"),
        (lambda: validate.cards.DataRecord("", 3), "must not be empty"),
        (lambda: validate.Card("x", (validate.cards.ModelRecord("a"),) * 2), "holds 'a' twice"),
        (lambda: validate.Card.from_json({"title": "x"}), "lacks models, data, findings, date"),
        (lambda: validate.cards.fingerprint((np.ones(3), np.ones(2))), r"not \(3,\), \(2,\)"),
        (lambda: report.save_card(validate.Card("x"), ".", name="a/b"), "without a folder"),
    ],
)
def test_what_cannot_be_is_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("result", [0.9, validate.Evaluation, {"accuracy": 0.9}])
def test_what_has_no_finding_is_refused(result):
    with pytest.raises(TypeError, match=r"has no finding\(\)"):
        validate.Card("x").adding(result)
