"""Groups against the rest and external sets: by hand, by scipy, and what they claim."""

import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcompress import validate
from jaxcompress.validate import metrics, shift
from jaxcompress.validate.comparisons.corrections import holm
from jaxcompress.validate.scores import Score
from jaxcompress.validate.shift import group_tests as shift_tests

SHARE = metrics.mean_of(lambda outputs, targets: outputs, "accuracy", higher_is_better=True)
LOSS = metrics.mean_of(lambda outputs, targets: outputs, "loss", higher_is_better=False)


def median(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The median of values, each counted so often; of each row of counts."""
    rows = counts.reshape(-1, len(values)).astype(int)
    found = np.array([np.median(np.repeat(values, row)) for row in rows])
    return found.reshape(counts.shape[:-1])


MEDIAN = metrics.Metric("median", lambda outputs, targets: outputs, median)


def share(*rights: tuple[int, int]) -> Score:
    """The accuracy of parts in turn, each with so many right answers of so many."""
    return Score(SHARE, np.concatenate([np.arange(n) < right for right, n in rights]))


GROUPS = np.repeat(["a", "b", "c", "d"], [400, 400, 400, 12])
SCORE = share((360, 400), (364, 400), (300, 400), (9, 12))


def by_hand(p: tuple[int, int], q: tuple[int, int], confidence: float) -> tuple[float, float]:
    """Newcombe's interval of q - p, from Wilson's formula."""
    z = stats.norm.ppf((1 + confidence) / 2)

    def wilson(right, n):
        centre = (right + z * z / 2) / (n + z * z)
        half = z * math.sqrt(right * (n - right) / n + z * z / 4) / (n + z * z)
        return right / n, centre - half, centre + half

    (p0, p_low, p_high), (q0, q_low, q_high) = wilson(*p), wilson(*q)
    return (
        q0 - p0 - math.sqrt((q0 - q_low) ** 2 + (p_high - p0) ** 2),
        q0 - p0 + math.sqrt((q_high - q0) ** 2 + (p0 - p_low) ** 2),
    )


# Newcombe 1998, table II, method 10: two shares, and the interval of first - second.
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_newcombes_own_examples(first, second, low, high):
    found = shift.proportion_difference_interval(*second, *first)
    assert found == pytest.approx((low, high), abs=6e-5)
    assert found == pytest.approx(by_hand(second, first, 0.95))


def test_the_interval_of_means_is_scipys():
    old, new = np.random.default_rng(0).normal(size=(2, 20)) * [[1], [3]]
    theirs: Any = stats.ttest_ind(new, old[:15], equal_var=False)
    low, high = shift.mean_difference_interval(old[:15], new, confidence=0.9)
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval(0.9)))
    assert shift.mean_difference_interval([1, 1], [3, 3]) == (2, 2)


def test_every_group_is_tested_against_the_rest():
    found = shift.subgroups(SCORE, GROUPS, margin=0.05)
    assert [group.name for group in found.groups] == ["a", "b", "c", "d"]
    parts = {"a": (360, 400), "b": (364, 400), "c": (300, 400), "d": (9, 12)}
    p = []
    for group in found.groups:
        right, n = parts[group.name]
        rest = 1033 - right, 1212 - n
        assert (group.n, group.value, group.rest) == (n, right / n, rest[0] / rest[1])
        assert group.difference == group.value - group.rest
        assert group.difference_interval == pytest.approx(by_hand(rest, (right, n), 1 - 0.05 / 4))
        assert group.interval == validate.wilson(right, n, confidence=1 - 0.05 / 4)
        table = [[right, n - right], [rest[0], rest[1] - rest[0]]]
        test: Any = stats.fisher_exact(table)
        p.append(test.pvalue)
    assert [group.p for group in found.groups] == p
    assert [group.adjusted for group in found.groups] == holm(p).tolist()


def test_verdicts_name_worse_groups_and_those_too_small_to_tell():
    found = shift.subgroups(SCORE, GROUPS, margin=0.05)
    verdicts = {group.name: group.verdict for group in found.groups}
    assert verdicts == {
        "a": "not worse by the margin",
        "b": "not worse by the margin",
        "c": "worse by the margin or more",
        "d": "too few examples to tell",
    }
    assert found.worst.name in ("c", "d")  # 75 % both
    assert [group.name for group in found.too_small] == ["d"]
    assert {group.name for group in found.different} == {"a", "b", "c"}
    finding = found.finding()
    assert finding.verdict == "fails"
    needed = f"about {found.groups[3].examples_needed:,} of 'd', which has 12"
    assert finding.needs == (f"More examples of a group: {needed}.",)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()


@pytest.mark.parametrize(("right", "n"), [(9, 12), (18, 20), (42, 50)])
def test_the_examples_that_are_asked_for_would_tell(right, n):
    """With the same shares and that many examples the verdict is another."""
    rest = (900, 1000)
    groups = np.repeat(["rest", "small"], [1000, n])
    small = shift.subgroups(share(rest, (right, n)), groups, margin=0.05).groups[1]
    assert small.verdict == "too few examples to tell"
    assert small.examples_needed is not None
    more = round(1.3 * small.examples_needed)  # Newcombe's is no plain 1 / sqrt(n)
    again = shift.subgroups(
        share((100 * rest[0], 100 * rest[1]), (round(right / n * more), more)),
        np.repeat(["rest", "small"], [100 * 1000, more]),
        margin=0.05,
    )
    assert again.groups[1].examples_needed is None


def test_losses_are_compared_by_welch_and_higher_is_worse():
    values = np.random.default_rng(1).exponential(size=90)
    values[:30] += 2
    found = shift.subgroups(Score(LOSS, values), np.repeat([2, 0, 1], 30), margin=0.5)
    assert [group.name for group in found.groups] == ["0", "1", "2"]
    theirs: Any = stats.ttest_ind(values[:30], values[30:], equal_var=False)
    worst = found.worst
    assert (worst.name, worst.verdict) == ("2", "worse by the margin or more")
    assert worst.p == pytest.approx(theirs.pvalue)
    limits = tuple(theirs.confidence_interval(1 - 0.05 / 3))
    assert worst.difference_interval == pytest.approx(limits)
    assert found.groups[0].verdict == "not worse by the margin"


def test_any_metric_is_compared_by_permutation(monkeypatch):
    monkeypatch.setattr(shift_tests, "RESAMPLES", 199)
    values = np.random.default_rng(2).normal(size=60)
    values[:20] -= 3
    groups = np.repeat([True, False], [20, 40])
    found = shift.subgroups(Score(MEDIAN, values), groups, margin=1.0)
    worst = found.worst
    assert worst.name == "True"
    assert worst.value == np.median(values[:20])
    assert worst.p == 1 / 200
    low, high = worst.difference_interval
    assert low < worst.difference < high < -1
    order = np.random.default_rng(3).permutation(60)
    again = shift.subgroups(Score(MEDIAN, values[order]), groups[order], margin=1.0)
    assert again.worst.difference == worst.difference


def test_no_group_is_called_different_without_a_difference():
    """Of 25 seeded draws of 5 equal groups: each alarms by a chance of at most 5 %."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(5), 40)
    alarms = sum(
        bool(shift.subgroups(Score(SHARE, rng.random(200) < 0.8), groups, margin=0.1).different)
        for _ in range(25)
    )
    assert alarms <= 25 * 0.05 + 4 * math.sqrt(25 * 0.05 * 0.95)


def test_external_sets_are_compared_unpaired():
    found = shift.external(share((95, 100)), share((140, 200)), margin=0.1)
    assert found.difference == pytest.approx(-0.25)
    assert found.difference_interval == pytest.approx(by_hand((95, 100), (140, 200), 0.95))
    assert found.external_interval == validate.wilson(140, 200)
    assert found.finding().verdict == "fails"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()
    alike = shift.external(share((950, 1000)), share((1890, 2000)), margin=0.1)
    assert alike.verdict == "no loss of 0.1 or more"
    assert alike.finding().verdict == "holds"
    few = shift.external(share((19, 20)), share((18, 20)), margin=0.1)
    assert few.verdict == "too few examples to rule out a loss of 0.1"
    assert few.finding().verdict == "undecided"
    assert "examples in each set" in few.finding().needs[0]
    some = shift.external(share((930, 1000)), share((900, 1000)), margin=0.05)
    assert some.verdict.startswith("a loss of ")


def test_external_losses_and_other_metrics(monkeypatch):
    monkeypatch.setattr(shift_tests, "RESAMPLES", 199)
    old, new = np.random.default_rng(5).normal(size=(2, 40))
    loss = shift.external(Score(LOSS, old), Score(LOSS, new + 2), margin=0.5)
    assert loss.verdict.startswith("worse by")
    low, high = loss.difference_interval
    assert loss.gain == (-high, -loss.difference, -low)
    middle = shift.external(Score(MEDIAN, old), Score(MEDIAN, new + 2), margin=0.5)
    assert middle.difference == np.median(new + 2) - np.median(old)
    low, high = middle.difference_interval
    assert 0.5 < low < middle.difference < high
    assert middle.verdict == "no loss of 0.5 or more"


def test_an_evaluation_is_looked_at_by_groups():
    labels = np.arange(40) % 2
    logits = jnp.asarray(np.eye(2)[np.where(np.arange(40) < 8, 1 - labels, labels)])
    result = validate.evaluate(lambda params, x: x, {}, logits, labels)
    found = shift.subgroups(result["accuracy"], np.arange(40) < 20, margin=0.2)
    assert (found.worst.name, found.worst.value, found.worst.rest) == ("True", 0.6, 1.0)
    card = validate.Card("x").adding(found)
    assert "subgroups" not in [topic.name for topic in card.not_tested]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (np.zeros(1212, int), "so there is no rest to compare with"),
        (GROUPS[:-1], r"needs the shape \(1212,\)"),
        (np.minimum(np.arange(1212), 1), "group '0' has one example"),
    ],
)
def test_groups_that_cannot_be(groups, said):
    with pytest.raises(ValueError, match=said):
        shift.subgroups(SCORE, groups, margin=0.05)


def test_numbers_are_no_groups_and_metrics_are_one():
    with pytest.raises(TypeError, match="Cut numbers into ranges first"):
        shift.subgroups(SCORE, np.linspace(0, 1, 1212), margin=0.05)
    with pytest.raises(ValueError, match="needs one metric"):
        shift.external(SCORE, Score(LOSS, np.ones(3)), margin=0.05)
    ranked = metrics.Metric(
        "only_above",
        lambda outputs, targets: outputs,
        lambda values, counts: np.where((counts * (values > 0)).sum(-1) > 0, 1.0, np.nan),
        needs="a value above 0",
    )
    with pytest.raises(ValueError, match=r"'a' or its rest cannot be judged.* a value above 0"):
        shift.subgroups(Score(ranked, np.array([1.0, 1, -1, -1])), list("aabb"), margin=0.1)
