"""What a page says first: the headline is the data's, and never more than they show."""

import dataclasses

import numpy as np
import pytest

from jaxcompress import report, validate
from jaxcompress.report import Variant, page
from tests.report.samples import original, variant, variants

PRINTS = validate.leakage.fingerprints(np.arange(719))


def headline(*made: Variant) -> tuple[str, str]:
    first = report.summary([original(), *made], examples="images")[0]
    return first.text, first.ground


HEADLINES = {
    "the smallest without a loss": (
        (variant("small", 15_000, 3, 2), variant("large", 157_360, 0, 0)),
        "15 kB instead of 608 kB, 41 times smaller; no difference found on 719 images",
    ),
    "a smaller one with a loss is not named": (
        (variant("lossy", 9_000, 0, 40), variant("good", 93_480, 1, 1)),
        "93 kB instead of 608 kB, 6.5 times smaller; no difference found on 719 images",
    ),
    "a gain": (
        (variant("better", 15_000, 7, 0),),
        "15 kB instead of 608 kB, 41 times smaller; a gain of {} to {} points on 719 images",
    ),
    "losses alone": (
        (variant("bad", 9_000, 0, 80), variant("less bad", 15_000, 0, 40)),
        "15 kB instead of 608 kB, 41 times smaller; a loss of {} to {} points on 719 images",
    ),
    "nothing smaller": (
        (variant("large", 700_000, 0, 0),),
        "Nothing is smaller than dense, 608 kB",
    ),
    "nothing at all": ((), "Nothing is smaller than dense, 608 kB"),
}


@pytest.mark.parametrize(("made", "expected"), HEADLINES.values(), ids=HEADLINES)
def test_the_headline(made, expected):
    ends = made[-1].comparison.accuracy_interval if made else ()
    text, _ = headline(*made)
    assert text == expected.format(*sorted(f"{abs(100 * end):.2f}" for end in ends))


def test_the_ground_has_the_figures_and_the_verdict():
    small = variant("small", 15_000, 3, 2)
    _, ground = headline(small, variant("bad", 9_000, 0, 80))
    low, high = small.comparison.accuracy_interval
    assert "small answers 99.17 % right, dense 99.03 %: a difference of +0.14 points" in ground
    assert f"between −{-100 * low:.2f} and +{100 * high:.2f}" in ground
    assert f"Verdict: {small.comparison.verdict}." in ground
    assert "Of 2 variants it is the smallest in which no loss was found." in ground


def test_where_a_loss_is_left_open_the_smallest_firmer_verdict_is_named():
    _, ground = headline(
        variant("open", 15_000, 3, 8), variant("firm", 93_480, 1, 1), variant("int8", 157_360, 0, 0)
    )
    assert "too few examples" in ground
    assert "The smallest with a firmer one is firm: 93 kB, 6.5 times smaller, the same" in ground


def test_where_all_lose_the_ground_says_so():
    _, ground = headline(variant("bad", 9_000, 0, 80), variant("less bad", 15_000, 0, 40))
    assert "A loss was found in every smaller variant; this one answers best." in ground
    assert ground.startswith("less bad answers")


def test_cards_begin_with_the_named_one_and_go_on_by_size():
    tiles = report.summary(variants())[1]
    names = [each.name for each in tiles.ordered]
    assert names[:3] == ["distilled + pruned + int4", "binary", "rate-distortion"]
    assert names[-1] == "dense"
    html = page("Page", [tiles])
    assert html.count('<li class="tile') == len(names)
    assert html.count(" named") == html.count(" named {") + 1
    assert '<li class="tile lost">' in html
    assert '<li class="tile open">' in html
    assert '<li class="tile reference">' in html


def test_every_heading_of_the_table_has_its_unit_and_every_minus_is_one_sign():
    shown = report.summary(variants())[2].left
    headings = [column.heading for column in shown.columns]
    assert headings[1:] == [
        "File, bytes",
        "Times smaller",
        "Accuracy, % [95 %]",
        "Difference, points [95 %]",
        "McNemar p",
    ]
    assert shown.numeric == (False, *[True] * 5)
    cells = [cell for row in shown.cells for cell in row[1:]]
    assert any("−" in cell for cell in cells)
    assert not any("-" in cell for cell in cells)


def test_a_zero_has_no_sign():
    shown = report.summary([original(), variant("same", 1000, 0, 0)])[2].left
    assert shown.cells[1][4].startswith("0.00 [")


REFUSED = {
    "no original": ([variant("a", 1000, 0, 0)], r"without a comparison, the original; none found"),
    "two originals": ([original(), Variant("b", 9, original().evaluation)], r"dense, b found"),
    "one name twice": ([original(), *2 * [variant("a", 1000, 0, 0)]], r"holds 'a' twice"),
    "other examples": ([original(), variant("a", 9, 0, 0, n=300)], r"on \[300, 719\] examples"),
}


@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused(made, message):
    with pytest.raises(ValueError, match=rf"summary\(variants\).*{message}"):
        report.summary(made)


def test_an_accuracy_alone_gives_the_same_as_the_answers():
    known = original()
    figure = known.evaluation["accuracy"].figure()
    assert Variant("dense", known.size_bytes, figure).point == known.point
    with pytest.raises(ValueError, match=r"Variant\(evaluation=accuracy .*both ends"):
        Variant("dense", 1, dataclasses.replace(figure, interval=(0.5, None)))
    without = validate.Evaluation({"loss": known.evaluation["loss"]}, *2 * [PRINTS])
    with pytest.raises(ValueError, match=r"Variant\(evaluation\) of 'dense' has no accuracy"):
        Variant("dense", 1, without)
