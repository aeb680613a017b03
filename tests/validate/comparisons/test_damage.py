"""Damage against counts by hand; exemplars against the plain vote."""

import collections
import json

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate.comparisons import (
    bonferroni,
    changes,
    class_damage,
    compression_identified_exemplars,
    holm,
    mcnemar,
)
from jaxcompress.validate.intervals import paired_interval, wilson


def drawn(seed, n=200, classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    before, after = (
        np.where(rng.random(n) < share, labels, rng.integers(0, classes, n)) for share in (0.8, 0.6)
    )
    return before, after, labels


def test_changes_by_hand():
    before, after = np.array([0, 1, 1, 2, 2, 0]), np.array([0, 2, 2, 1, 2, 1])
    labels = np.array([0, 1, 2, 1, 2, 2])
    found = changes(before, after, labels)
    assert found.indices.tolist() == [1, 2, 3, 5]
    assert found.lost.tolist() == [True, False, False, False]
    assert found.gained.tolist() == [False, True, True, False]
    assert found.transitions() == {(1, 2): 2, (0, 1): 1, (2, 1): 1}
    assert next(iter(found.transitions())) == (1, 2)
    assert found.churn == 4 / 6
    assert found.churn_interval == wilson(4, 6)
    assert json.loads(json.dumps(found.to_json()))["before"] == [1, 1, 2, 0]
    assert found.finding().statement == (
        "4 of 6 predictions changed: 1 right ones were lost, 2 gained, 1 are wrong as before."
    )


def test_nothing_changed():
    found = changes([1, 2], [1, 2], [1, 1])
    assert found.churn == 0
    assert found.transitions() == {}
    assert found.finding().topic == "damage"


@pytest.mark.parametrize("correct", [holm, bonferroni])
def test_each_class_is_compared_on_its_own_examples(correct):
    before, after, labels = drawn(0)
    table = class_damage(before, after, labels, correct=correct)
    p = {}
    for row in table.rows:
        own = labels == row.label
        was, now = (before == labels)[own], (after == labels)[own]
        assert (row.n, row.gained) == (own.sum(), np.sum(now & ~was))
        assert row.lost == np.sum(was & ~now)
        np.testing.assert_allclose((row.before, row.after), (was.mean(), now.mean()))
        expected = paired_interval(row.gained, row.lost, row.n, confidence=1 - 0.05 / 4)
        np.testing.assert_allclose(row.interval, expected, rtol=1e-9)
        p[row.label] = mcnemar(row.gained, row.lost)
    adjusted = dict(zip(p, correct(np.array(list(p.values()))), strict=True))
    assert {row.label: row.p for row in table.rows} == pytest.approx(adjusted)
    differences = [row.difference for row in table.rows]
    assert differences == sorted(differences)


def test_the_class_that_pays_is_named():
    labels = np.repeat([3, 7], 50)
    after = np.where(np.arange(100) < 12, 7, labels)
    table = class_damage(labels, after, labels)
    assert table.hurt() == [3]
    assert table.finding().verdict == "fails"
    assert "3" in table.finding().statement
    assert str(table).splitlines()[1].split()[:2] == ["3", "50"]
    assert json.loads(json.dumps(table.to_json()))["rows"][0]["lost"] == 12
    unharmed = class_damage(labels, labels, labels)
    assert unharmed.hurt() == []
    assert unharmed.finding().verdict == "measured"


def test_no_class_is_blamed_where_answers_change_at_random():
    """At most 5 % of tables name one, whatever the number of classes."""
    rng, named = np.random.default_rng(1), 0
    for _ in range(40):
        labels = rng.integers(0, 5, 150)
        models = (np.where(rng.random(150) < 0.8, labels, (labels + 1) % 5) for _ in range(2))
        named += bool(class_damage(*models, labels).hurt())
    assert named <= stats.binom.isf(1e-4, 40, 0.05)


def test_exemplars_are_those_of_the_plain_vote():
    rng = np.random.default_rng(2)
    originals, compressed = rng.integers(0, 3, (5, 40)), rng.integers(0, 3, (4, 40))

    def vote(column):
        counts = collections.Counter(column.tolist())
        most = max(counts.values())
        return min(label for label, count in counts.items() if count == most), most / column.size

    found = compression_identified_exemplars(originals, compressed)
    expected = [
        (i, *vote(originals[:, i]), *vote(compressed[:, i]))
        for i in range(40)
        if vote(originals[:, i])[0] != vote(compressed[:, i])[0]
    ]
    columns = zip(*expected, strict=True)
    for mine, theirs in zip(
        (
            found.indices,
            found.before,
            found.agreement_before,
            found.after,
            found.agreement_after,
        ),
        columns,
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs)
    assert json.loads(json.dumps(found.to_json()))["indices"] == found.indices.tolist()


def test_what_cannot_be_paired_is_refused_by_name():
    with pytest.raises(TypeError, match=r"changes\(reference of dtype float64\) needs integer"):
        changes([0.5, 1.0], [0, 1], [0, 1])
    with pytest.raises(ValueError, match=r"reference of 2, candidate of 2, labels of 3"):
        class_damage([0, 1], [0, 1], [0, 1, 2])
    with pytest.raises(
        ValueError, match=r"originals of shape \(2,\)\) needs the shape \(models, n"
    ):
        compression_identified_exemplars([0, 1], [[0, 1]])
