"""Scores of single features against plain loops and scikit-learn; leaks among many."""

import numpy as np
import pytest
from sklearn import metrics

from jaxcompress.validate import leakage
from jaxcompress.validate.leakage import check, features, single

RNG = np.random.default_rng(0)
N = 300
LABELS = RNG.integers(0, 3, N)
NUMBERS = RNG.normal(size=N)
FEATURE = LABELS + 0.8 * RNG.normal(size=N)
FEATURE[:7] = np.nan
BINS = single.binned(FEATURE[:150], FEATURE[150:])
COLUMNS = [single.columns_of("features", target) for target in (LABELS, NUMBERS)]
HALVES = [(each[:150], each[150:]) for each in COLUMNS]


def means_by_hand(fitted):
    overall = fitted.mean(axis=0)
    return np.array(
        [np.mean([overall, *fitted[BINS.fitted == bin]], axis=0) for bin in range(BINS.count)]
    )[BINS.scored]


@pytest.mark.parametrize("fitted_scored", HALVES, ids=["classes", "numbers"])
def test_variance_explained_is_r2_of_the_means(fitted_scored):
    fitted, scored = fitted_scored
    both = np.stack([scored, scored[::-1]])
    found = leakage.variance_explained(BINS, fitted, both)
    for score, targets in zip(found, both, strict=True):
        left = np.sum((targets - means_by_hand(fitted)) ** 2)
        there = np.sum((targets - fitted.mean(axis=0)) ** 2)
        assert score == pytest.approx(1 - left / there)


def test_separation_is_the_auc_of_scikit_learn():
    fitted, scored = HALVES[0]
    expected = [
        2 * metrics.roc_auc_score(scored[:, column], means_by_hand(fitted)[:, column]) - 1
        for column in range(3)
    ]
    found = leakage.separation(BINS, fitted, np.stack([scored, scored[::-1]]))
    assert found[0] == pytest.approx(max(expected))
    fitted, scored = HALVES[1]
    upper = (fitted > np.median(fitted)).astype(float)
    expected = metrics.roc_auc_score(scored[:, 0] > np.median(fitted), means_by_hand(upper)[:, 0])
    assert leakage.separation(BINS, fitted, scored[None])[0] == pytest.approx(2 * expected - 1)


def test_information_is_the_log_loss_saved():
    fitted, scored = HALVES[0]
    overall = (fitted.sum(axis=0) + 1) / (len(fitted) + 3)
    shares = np.array(
        [
            (fitted[BINS.fitted == bin].sum(axis=0) + overall) / (np.sum(BINS.fitted == bin) + 1)
            for bin in range(BINS.count)
        ]
    )[BINS.scored]
    labels = scored.argmax(axis=1)
    expected = 1 - metrics.log_loss(labels, shares) / metrics.log_loss(
        labels, np.tile(overall, (150, 1))
    )
    assert leakage.information(BINS, fitted, scored[None])[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    "score", [leakage.variance_explained, leakage.separation, leakage.information]
)
def test_scores_of_certainty_and_of_nothing(score):
    labels = np.arange(400) % 2
    targets = single.columns_of("t", labels)
    known = single.binned(labels[:200].astype(float), labels[200:].astype(float))
    assert 0.95 < score(known, targets[:200], targets[None, 200:])[0] <= 1
    noise = RNG.normal(size=400)
    nothing = score(single.binned(noise[:200], noise[200:]), targets[:200], targets[None, 200:])[0]
    assert nothing < 0.2
    constant = np.zeros((200, 1))
    assert abs(score(known, constant, constant[None])[0]) < 1e-9


def test_bins_of_few_values_of_quantiles_and_of_texts():
    few = single.binned(np.array([1.0, 2.0, np.nan, 2.0]), np.array([2.0, np.nan, 0.0, 9.0]))
    assert few.fitted.tolist() == [0, 1, 2, 1]
    assert few.scored.tolist() == [1, 2, 0, 1]
    many = single.binned(np.arange(320.0), np.arange(320.0))
    assert np.bincount(many.fitted).tolist() == [10] * 32
    texts = single.binned(np.array(["b", "a"], object), np.array(["a", "c"], object))
    assert (texts.fitted.tolist(), texts.scored.tolist()) == ([1, 0], [0, 2])


def table(labels):
    columns = {f"x{i}": RNG.normal(size=N) for i in range(20)}
    missing = np.where(labels == 1, np.nan, RNG.normal(size=N))
    leaks = {
        "copy": labels + 0.01 * RNG.normal(size=N),
        "missing": missing,
        "word": np.array([f"w{label}" for label in labels], object),
    }
    rest = {"constant": np.ones(N), "id": RNG.permutation(N), "name": np.arange(N).astype(str)}
    return columns | leaks | rest


@pytest.mark.parametrize(
    "score", [leakage.variance_explained, leakage.separation, leakage.information]
)
def test_leaks_among_many_features_are_found_and_nothing_else(score):
    labels = RNG.integers(0, 2, N)
    looked_for = features(lambda e: e["x"], lambda e: e["y"], score=score)
    report = check({"train": {"x": table(labels), "y": labels}}, [looked_for])
    assert [each.name for each in report.features] == ["copy", "missing", "word"]
    assert all(each.p == 0.005 for each in report.features)
    assert report.notes == (
        "train: feature constant is constant",
        "train: feature id is another in every row, as an identifier is",
        "train: feature name is another in every row, as an identifier is",
    )
    assert not report.clean
    assert report.finding().verdict == "fails"


def test_rows_in_the_order_of_the_target_in_chunks():
    y = np.sort(RNG.integers(0, 2, N))
    x = RNG.normal(size=(N, 2))
    in_chunks = lambda: ((x[i : i + 70], y[i : i + 70]) for i in range(0, N, 70))  # noqa: E731
    looked_for = features(lambda e: e[0], lambda e: e[1])
    report = check({"train": in_chunks}, [looked_for])
    assert [(each.name, each.feature) for each in report.features] == [("row order", -1)]
    assert "target train: feature row order alone scores" in str(report)


def test_chance_is_corrected_for_the_number_of_features():
    # Of 400 features of noise on 24 rows the best looks good; so does that of chance.
    x, y = RNG.normal(size=(24, 400)), RNG.integers(0, 2, 24)
    report = check({"a": (x, y)}, [features(lambda e: e[0], lambda e: e[1], least=0.3)])
    assert report.clean


X, Y = np.zeros((30, 2)), np.arange(30)
BAD = [
    (ValueError, r"'a' has 19 examples; at least 20", (X[:19], X[:19, 0]), {}),
    (ValueError, r"features\(target\) gives float64\[30, 2\]", (X, X), {}),
    (ValueError, r"features\(target\) holds NaN", (X, X[:, 0] + np.nan), {}),
    (ValueError, r"features\(of\) gives float64\[30, 2, 1\]", (X[..., None], X[:, 0]), {}),
    (
        ValueError,
        r"features\(score\) gives shape \(\)",
        (X, np.arange(30)),
        {"score": lambda *_: 1.0},
    ),
]


@pytest.mark.parametrize(("error", "message", "examples", "options"), BAD)
def test_refuses_what_has_no_target(error, message, examples, options):
    looked_for = features(lambda e: e[0], lambda e: e[1], **options)
    with pytest.raises(error, match=message):
        check({"a": examples}, [looked_for])


@pytest.mark.parametrize("target", [np.zeros(60, int), np.full(60, "yes"), np.ones(60)])
def test_a_target_of_one_value_is_refused(target):
    x = np.random.default_rng(0).normal(size=(60, 2))
    looked_for = leakage.features(lambda e: e[0], lambda e: e[1])
    with pytest.raises(ValueError, match="all 60 examples of 'train' have one target"):
        leakage.check({"train": (x, target)}, [looked_for])
