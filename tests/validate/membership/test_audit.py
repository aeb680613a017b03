"""Operating points, areas and chance, against sklearn, scipy and enumeration."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from jaxcompress.validate import comparisons
from jaxcompress.validate.membership import audit, control, needed_others, operating


def case(seed=0, n=60, ties=False, shift=1.0):
    generator = np.random.default_rng(seed)
    members = generator.permutation(n) < n // 2
    scores = generator.normal(size=n) + shift * members
    return (np.round(scores) if ties else scores), members


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_sklearns(ties):
    scores, members = case(ties=ties)
    expected = metrics.roc_auc_score(members, scores)
    np.testing.assert_allclose(operating.auc(scores, members), expected, rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_true_positives_and_advantage_are_read_off_sklearns_curve(ties):
    scores, members = case(ties=ties)
    false, true, _ = metrics.roc_curve(members, scores, drop_intermediate=False)
    np.testing.assert_allclose(operating.advantage(scores, members), (true - false).max())
    rates = np.array([1 / 30, 0.1, 0.5, 1.0])
    # The published rule: the last point of the curve with fewer false positives.
    expected = [true[np.flatnonzero(false < rate - 1e-9)[-1]] for rate in rates]
    np.testing.assert_allclose(operating.curve(scores, members, rates), expected)
    found = [operating.found(scores, members, rate) / members.sum() for rate in rates]
    np.testing.assert_allclose(found, expected)


def test_chance_is_the_share_of_all_orders():
    """Every way to place 3 members among 8 examples; two false positives at 0.4."""
    counts = []
    for places in itertools.combinations(range(8), 3):
        members = np.isin(np.arange(8), places)
        counts.append(operating.found(np.arange(8.0), members, 0.4))
    for count in range(4):
        expected = np.mean(np.array(counts) >= count)
        np.testing.assert_allclose(operating.chance_of_found(count, 3, 5, 0.4), expected)
    # What guessing finds on average: k / (others + 1).
    np.testing.assert_allclose(np.mean(counts) / 3, 2 / 6)


def test_an_audit_of_one_target():
    scores, members = case(n=200)
    result = audit(scores, members, rates=(0.1, 0.01))
    assert [each.rate for each in result.found] == [0.01, 0.1]
    for each in result.found:
        count = operating.found(scores, members, each.rate)
        limits = stats.binomtest(count, 100).proportion_ci(method="exact")
        np.testing.assert_allclose(each[1:], (count / 100, *limits), rtol=1e-12)
    assert result.auc_interval == comparisons.auc_interval(scores, members)
    assert (result.targets, result.members, result.others) == (1, 100, 100)
    assert result.verdict.startswith("tells members apart: finds")
    np.testing.assert_allclose(result.accuracy, (1 + result.advantage) / 2)


def test_an_audit_over_targets_is_students():
    rows = [case(seed, n=100) for seed in range(5)]
    scores, members = (np.stack(each) for each in zip(*rows, strict=True))
    result = audit(scores, members, rates=(0.1,))
    shares = [operating.found(*row, 0.1) / 50 for row in rows]
    interval = stats.t.interval(0.95, 4, np.mean(shares), stats.sem(shares))
    np.testing.assert_allclose(result.found[0][1:], (np.mean(shares), *interval))
    areas = [operating.auc(*row) for row in rows]
    expected = 2 * min(
        stats.ttest_1samp(each, level, alternative="greater").pvalue
        for each, level in [(shares, 0.1), (areas, 0.5)]
    )
    np.testing.assert_allclose(result.chance, expected)


def test_the_curve_ends_at_its_area_points():
    scores, members = case(n=400)
    false, true = audit(scores, members, rates=(0.01,)).curve
    np.testing.assert_allclose((false[0], false[-1]), (1 / 200, 1))
    assert np.all(np.diff(true) >= 0)


def test_scores_that_say_nothing_are_called_chance_at_the_promised_rate():
    """100 audits of which no more than 5 % may err; three standard deviations above."""
    wrong = sum(
        audit(*case(seed, 400, shift=0), rates=(0.01, 0.1)).chance < 0.05 for seed in range(100)
    )
    assert wrong <= 100 * 0.05 + 3 * (100 * 0.05 * 0.95) ** 0.5


def test_targets_that_give_one_share_are_no_certainty():
    """Two targets that find 2 of 20 each, where one false positive of 20 is allowed."""
    row = np.array([3.0] * 2 + [0.0] * 18 + [2.0] + [1.0] * 19)
    scores, members = np.stack([row, row]), np.stack([np.arange(40) < 20] * 2)
    one, two = audit(scores[0], members[0], rates=(0.05,)), audit(scores, members, rates=(0.05,))
    assert two.found == one.found
    assert one.found[0].low < 0.05 < one.found[0].high
    assert (two.chance, two.auc_interval) == (one.chance, one.auc_interval)
    assert two.chance > 0.05
    none = audit(scores * 0, members, rates=(0.05,))
    assert none.found[0].high > 0.1
    assert none.chance == 1


def test_a_perfect_attack_on_few_examples_leaves_room():
    members = np.arange(40) < 20
    low, high = audit(members * 1.0, members, rates=(0.05,)).auc_interval
    assert (0.8 < low < 0.9, high) == (True, 1)
    assert audit(np.arange(40)[::-1], np.arange(40) < 1, rates=(0.05,)).auc_interval == (0, 1)


def test_a_control_stays_within_chance_where_the_attack_does_not():
    scores, members = case(n=800, shift=2)
    assert audit(scores, members, rates=(0.01,)).verdict.startswith("tells members apart")
    result = control(scores, members, rates=(0.01,))
    assert (result.members, result.others) == (200, 200)
    assert result.verdict.startswith("no better than chance on 200 members and 200 others")
    rows = control(np.stack([scores, scores]), np.stack([members, members]), rates=(0.01,))
    assert (rows.targets, rows.members) == (2, 200)


def test_equal_scores_find_nothing():
    result = audit(np.ones(40), np.arange(40) < 20, rates=(0.1,))
    assert (result.auc, result.found[0].true_positives, result.advantage) == (0.5, 0, 0)
    assert result.verdict.startswith("no better than chance")


def test_the_record_is_plain():
    record = audit(*case(), rates=(0.1,)).to_json()
    assert record["found"][0]["rate"] == 0.1
    assert isinstance(record["curve"], list)
    assert record["verdict"]


def test_needed_others():
    assert [needed_others(rate) for rate in (0.001, 0.01, 0.3)] == [1000, 100, 4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: audit(*case(), rates=(0.001,)),
            r"audit\(rates=\[0.001\]\): a false positive rate of 0.1 % needs 1,000 non-members or"
            r" more, and there are 30",
        ),
        (lambda: audit(*case(), rates=()), r"audit\(rates\) is empty"),
        (lambda: audit(case()[0], np.ones(60, bool)), r"audit\(members\) holds no non-members"),
        (lambda: audit(case()[0], np.zeros(60, bool)), r"audit\(members\) holds no members"),
        (lambda: audit(case()[0][:5], case()[1]), r"audit\(scores of shape \(5,\), members of"),
        (
            lambda: audit([1.0, np.nan], [True, False]),
            r"audit\(scores\): 1 of 2 .* scores\[1\] = nan",
        ),
        (lambda: control(np.arange(5.0), np.arange(5) > 0), "one non-member, and halves need two"),
    ],
)
def test_what_cannot_be_judged_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_column_of_scores_is_told_from_targets():
    scores, members = case()
    with pytest.raises(ValueError, match=r"60 targets with one example each. .* scores\[:, 0\]"):
        audit(scores[:, None], members[:, None])
