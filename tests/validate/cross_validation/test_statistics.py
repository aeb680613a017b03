"""Corrected statistics, preprocessing inside of folds, nested choices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxcompress as jc
from jaxcompress.validate import cross_validation, splits
from tests.validate.cross_validation.recipes import numpy_ridge, regression, ridge


def of_scores(scores, folds):
    """A result with these scores, one value per fold."""
    values = [
        {"score": np.full(fold.test.size, score)} for score, fold in zip(scores, folds, strict=True)
    ]
    return cross_validation.CrossValidation(tuple(folds), tuple(values))


FOLDS = splits.k_fold(20, folds=5)
ONE = np.array([0.9, 0.94, 0.92, 0.88, 0.91])
OTHER = np.array([0.91, 0.97, 0.92, 0.9, 0.93])


def test_the_interval_and_the_test_are_scipys_with_another_variance():
    result = of_scores(ONE, FOLDS)
    scale = np.sqrt(ONE.var(ddof=1) * (1 / 5 + 1 / 4))
    np.testing.assert_allclose(result.standard_error("score"), scale, rtol=1e-12)
    expected = stats.t.interval(0.9, 4, loc=ONE.mean(), scale=scale)
    np.testing.assert_allclose(result.interval("score", confidence=0.9), expected, rtol=1e-12)
    # With test sets of no size the correction is nothing, and both are Student's.
    plain = cross_validation.corrected_interval(ONE, 1e-300)
    np.testing.assert_allclose(plain, jc.validate.mean_interval(ONE), rtol=1e-12)

    compared = cross_validation.compare_folds(result, of_scores(OTHER, FOLDS), "score")
    differences = OTHER - ONE
    t = stats.ttest_1samp(differences, 0).statistic / np.sqrt(1 + 5 / 4)
    np.testing.assert_allclose(compared.p_value, 2 * stats.t.sf(abs(t), 4), rtol=1e-9)
    np.testing.assert_allclose(compared.difference, differences.mean(), rtol=1e-9)
    assert compared.to_json()["verdict"].startswith(
        "not decided: the interval of the score difference reaches from −0.0"
    )
    assert compared.finding().figures[0].interval == compared.interval


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.0, "no difference of"), (1.0, "score higher by 1 to 1"), (-1.0, "score lower by 1 to 1")],
)
def test_equal_differences_have_no_spread(shift, verdict):
    compared = cross_validation.compare_folds(
        of_scores(np.ones(5), FOLDS), of_scores(np.ones(5) + shift, FOLDS), "score"
    )
    assert compared.verdict.startswith(verdict)
    assert compared.p_value == (shift == 0)
    assert compared.interval == (shift, shift)


MARGINS = {
    # By shifts of the mean; half an interval is t(0.975, 4) · 0.01 · sqrt(1/5 + 1/4).
    0.01: ("the same within 0.05", "holds"),
    0.04: ("a gain of 0.0214 to 0.0586; too few examples to tell whether it", "holds"),
    0.2: ("better by 0.181 to 0.219", "holds"),
    -0.04: ("a loss of 0.0214 to 0.0586; too few examples to tell whether it", "undecided"),
    -0.2: ("worse by 0.181 to 0.219", "fails"),
}


@pytest.mark.parametrize(("shift", "said"), MARGINS.items())
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_margin_is_judged_as_by_the_other_comparisons(shift, said, higher_is_better):
    noise = 0.01 * np.array([-1.0, 1.0, 0.0, 1.0, -1.0])
    sign = 1 if higher_is_better else -1
    compared = cross_validation.compare_folds(
        of_scores(ONE, FOLDS),
        of_scores(ONE + sign * shift + noise, FOLDS),
        "score",
        margin=0.05,
        higher_is_better=higher_is_better,
    )
    finding = compared.finding()
    words, verdict = said
    assert compared.verdict.startswith(words)
    assert finding.verdict == verdict
    assert finding.statement.endswith("A loss of 0.05 or more was to be ruled out.")
    assert bool(finding.needs) == (verdict == "undecided")
    record = compared.to_json()
    assert (record["margin"], record["higher_is_better"]) == (0.05, higher_is_better)
    low, high = compared.gain
    assert (low > -0.05) == (words[:8] not in ("worse by", "a loss o"))
    assert low < sign * compared.difference < high


def test_a_wide_interval_is_no_claim_that_nothing_changed():
    wide = of_scores(ONE + np.array([0.3, -0.2, 0.1, -0.3, 0.2]), FOLDS)
    compare = cross_validation.compare_folds
    judged = compare(of_scores(ONE, FOLDS), wide, "score", margin=0.01, higher_is_better=True)
    assert judged.verdict == "too few examples to tell"
    assert str(judged) == ("score +0.02 [−0.4621, +0.5021] on 5 folds: too few examples to tell")
    assert judged.finding().verdict == "undecided"
    open_ended = compare(of_scores(ONE, FOLDS), wide, "score")
    assert open_ended.verdict.startswith("not decided: the interval of the score difference")
    assert open_ended.finding().verdict == "measured"


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "undecided"), (0.5, "undecided"), (-0.5, "fails")]
)
def test_folds_without_spread_rule_no_loss_out(shift, verdict):
    found = cross_validation.compare_folds(
        of_scores(np.ones(5), FOLDS),
        of_scores(np.ones(5) + shift, FOLDS),
        "score",
        margin=0.1,
        higher_is_better=True,
    ).finding()
    assert found.verdict == verdict
    assert (verdict == "fails") or "no spread" in found.needs[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"margin": 0.1}, "needs both or neither"),
        ({"higher_is_better": False}, "needs both or neither"),
        ({"margin": 0, "higher_is_better": True}, r"\(margin=0\)"),
    ],
)
def test_a_margin_has_a_direction(given, said):
    result = of_scores(ONE, FOLDS)
    with pytest.raises(ValueError, match=f"compare_folds.*{said}"):
        cross_validation.compare_folds(result, result, "score", **given)


def test_the_corrected_test_keeps_its_level_where_the_plain_one_does_not():
    """Scores that depend on test examples alone: any two correlate by n_test / n."""
    random, corrected, plain = np.random.default_rng(0), 0, 0
    for trial in range(300):
        data = random.normal(size=60)
        folds = splits.holdout(60, test_fraction=0.2, folds=10, seed=trial)
        scores = [data[test].mean() for _, test in folds]
        low, high = cross_validation.corrected_interval(scores, 12 / 48)
        corrected += not low <= 0 <= high
        plain += stats.ttest_1samp(scores, 0).pvalue < 0.05
    # 5 % of 300 is 15, with a standard deviation of 3.8.
    assert corrected <= 30
    assert plain > 75


@pytest.mark.parametrize(
    ("folds", "name", "said"),
    [
        (splits.k_fold(20, folds=5, seed=1), "score", "fold 0 trains on other examples"),
        (splits.k_fold(20, folds=4), "score", "reference of 5 folds, candidate of 4"),
        (FOLDS, "loss", r"\(name='loss'\): reference has scores of score"),
    ],
)
def test_only_the_same_folds_are_compared(folds, name, said):
    with pytest.raises(ValueError, match=rf"compare_folds.*{said}"):
        cross_validation.compare_folds(
            of_scores(ONE, FOLDS), of_scores(OTHER[: len(folds)], folds), name
        )


def test_preprocessing_is_fitted_inside_of_the_fold(key):
    sk = pytest.importorskip("sklearn.linear_model")
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = regression(31)
    x = x * [1.0, 100.0, 0.0] + 7.0  # the last feature is constant
    recipe = cross_validation.prepared(cross_validation.standardize(), ridge(2.0))
    with jax.enable_x64(True):
        found = jc.validate.cross_validate(
            *recipe, (x, y), splits.k_fold(31, folds=4, seed=2), key=key
        )
    model = make_pipeline(StandardScaler(), sk.Ridge(alpha=2.0, fit_intercept=False))
    splitter = KFold(4, shuffle=True, random_state=2)
    expected = -cross_val_score(model, x, y, cv=splitter, scoring="neg_mean_squared_error")
    np.testing.assert_allclose(found.scores("square"), expected, rtol=1e-9)


def test_a_recipe_that_looks_at_all_examples_would_be_seen():
    x = jnp.array([[1.0], [2.0], [3.0], [1000.0]])
    constants = cross_validation.standardize().fit((x,), jnp.array([1.0, 1.0, 1.0, 0.0]))
    np.testing.assert_allclose(constants[0], [2.0], rtol=1e-6)
    np.testing.assert_allclose(constants[1], [np.sqrt(2 / 3)], rtol=1e-6)


PENALTIES = [0.01, 10.0, 1000.0]


def test_a_nested_choice_is_that_of_scikit_learn(key):
    sk = pytest.importorskip("sklearn.linear_model")
    ms = pytest.importorskip("sklearn.model_selection")
    random = np.random.default_rng(4)
    x = random.normal(size=(26, 6))
    y = 0.6 * x[:, 0] + random.normal(size=26)
    outer, inner = ms.KFold(4, shuffle=True, random_state=0), ms.KFold(3)
    folds = splits.nested(
        splits.k_fold(26, folds=4, seed=0),
        lambda train: splits.k_fold(train.size, folds=3, seed=None),
    )
    found = cross_validation.nested_cross_validate(
        {str(penalty): numpy_ridge(penalty) for penalty in PENALTIES},
        (x, y),
        folds,
        key=key,
        judge=lambda values: -values["square"].mean(),
        at_once=0,
    )
    scoring = "neg_mean_squared_error"
    search = ms.GridSearchCV(
        sk.Ridge(fit_intercept=False), {"alpha": PENALTIES}, cv=inner, scoring=scoring
    )
    theirs = ms.cross_validate(search, x, y, cv=outer, scoring=scoring, return_estimator=True)
    chosen = tuple(str(each.best_params_["alpha"]) for each in theirs["estimator"])
    assert found.chosen == chosen
    assert len(set(chosen)) > 1, "the folds of this test should not all choose alike"
    np.testing.assert_allclose(found.outer.scores("square"), -theirs["test_score"], rtol=1e-9)
    for i, each in enumerate(theirs["estimator"]):
        means = [found.inner[str(penalty)][i] for penalty in PENALTIES]
        np.testing.assert_allclose(means, each.cv_results_["mean_test_score"], rtol=1e-9)
    assert found.to_json()["chosen"] == list(chosen)
    assert "among 3 candidates" in found.finding().statement


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"candidates": {}}, "holds no recipe"),
        ({"judge": lambda values: np.nan}, r"judge\) gives NaN for the candidate 'a'"),
        (
            {
                "folds": [
                    splits.NestedFold(
                        np.arange(4), np.array([5]), [splits.Fold(np.array([0]), np.array([5]))]
                    )
                ]
            },
            "an inner fold of fold 0 holds an example that is not trained on",
        ),
        ({"folds": []}, "holds no fold"),
    ],
)
def test_wrong_nesting_is_refused(change, said, key):
    given = {
        "candidates": {"a": numpy_ridge(1.0)},
        "data": regression(6),
        "folds": [
            splits.NestedFold(
                np.arange(4), np.array([5]), [splits.Fold(np.array([0, 2]), np.array([1]))]
            )
        ],
        "judge": lambda values: 1.0,
    }
    with pytest.raises(ValueError, match=f"nested_cross_validate.*{said}"):
        cross_validation.nested_cross_validate(**given | change, key=key, at_once=0)
