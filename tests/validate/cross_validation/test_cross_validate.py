"""Cross-validation: one program agrees with separate runs, or says why it is not."""

import io
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.validate import cross_validation, splits
from jaxcompress.validate.cross_validation import CrossValidation, program, tracing
from tests.validate.cross_validation.recipes import PERCEPTRON, regression, ridge, squares

ABSOLUTE = squares(lambda model, x: model * x[:, 0])
TOLERANCE = 1e-6
"""After ten steps in float64, whose rounding alone is ten decimal places below."""


def separate(recipe, data, folds, key):
    """The values of each fold by a run of its own."""
    found = []
    for i, (train, test) in enumerate(folds):
        rows, others = (
            jax.tree.map(lambda a, p=part: jnp.asarray(a[p]), data) for part in (train, test)
        )
        model = recipe.fit(rows, jnp.ones(train.size), jax.random.fold_in(key, i))
        found.append(recipe.evaluate(model, others))
    return found


def test_folds_of_unequal_size_agree_with_separate_runs(key):
    data = regression(8)
    folds = [*splits.k_fold(8, folds=2), splits.Fold(np.arange(6), np.array([7, 6]))]
    with jax.enable_x64(True):
        expected = separate(PERCEPTRON, data, folds, key)
        found = {
            at_once: jc.validate.cross_validate(*PERCEPTRON, data, folds, key=key, at_once=at_once)
            for at_once in (2, 0)
        }
    assert [each.in_turn for each in found.values()] == ["", "at_once is 0"]
    for result in found.values():
        for values, others, fold in zip(result.values, expected, folds, strict=True):
            assert values["square"].shape == fold.test.shape
            np.testing.assert_allclose(values["square"], others["square"], rtol=TOLERANCE)


def test_a_recipe_that_overlooks_weights_sees_no_test_example(key):
    seen = jc.validate.cross_validate(
        lambda rows, weights, key: jnp.zeros(11).at[rows].add(1.0),
        lambda counts, rows: {"seen": counts[rows], "at all": jnp.tile(counts, (len(rows), 1))},
        np.arange(11),
        [([0, 1, 2], [3, 4]), (np.arange(1, 11), [0])],
        key=key,
    )
    assert not np.concatenate([values["seen"] for values in seen.values]).any()
    # The three rows of the short fold fill its ten places, each three times or four.
    np.testing.assert_array_equal(seen.values[0]["at all"][0][:3], [4, 3, 3])


def test_leave_one_out_of_ridge_has_its_closed_form(key):
    x, y = regression(30, features=4)
    hat = x @ np.linalg.solve(x.T @ x + 0.7 * np.eye(4), x.T)
    expected = ((y - hat @ y) / (1 - np.diag(hat))) ** 2
    with jax.enable_x64(True):
        found = jc.validate.cross_validate(
            *ridge(0.7), (x, y), splits.leave_one_out(30), key=key, at_once=8
        )
    np.testing.assert_allclose(found.out_of_fold("square"), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["winequality-red", "sonar"])
def test_scores_are_those_of_scikit_learn_on_tables(name, data_dir, key):
    linear_model = pytest.importorskip("sklearn.linear_model")
    from sklearn.model_selection import KFold, cross_val_score

    cells = np.genfromtxt(data_dir / "tabular" / f"{name}.csv", delimiter=",", dtype=str)
    x = cells[:, :-1].astype(np.float64)
    y = np.unique(cells[:, -1], return_inverse=True)[1].reshape(-1).astype(np.float64)
    model = linear_model.Ridge(alpha=0.7, fit_intercept=False)
    splitter = KFold(5, shuffle=True, random_state=3)
    expected = -cross_val_score(model, x, y, cv=splitter, scoring="neg_mean_squared_error")
    with jax.enable_x64(True):
        ours = jc.validate.cross_validate(
            *ridge(0.7), (x, y), splits.k_fold(len(y), seed=3), key=key
        )
    np.testing.assert_allclose(ours.scores("square"), expected, rtol=1e-8)
    theirs = jc.validate.cross_validate(
        lambda rows, weights, key: linear_model.Ridge(alpha=0.7, fit_intercept=False).fit(*rows),
        squares(lambda fitted, rows: fitted.predict(rows)),
        (x, y),
        splitter,
        key=key,
    )
    assert "__array__() was called on traced array" in theirs.in_turn
    np.testing.assert_allclose(theirs.scores("square"), expected, rtol=1e-12)


def loops(rows, weights, key):
    for _ in range(200):
        weights = weights + 1.0
    return weights.sum()


def asks(rows, weights, key):
    return 1.0 if rows[0].sum() > 0 else 2.0


REASONS = {
    "a bool": (asks, r"^Attempted boolean conversion of traced .* \(test_cross_validate.py, line"),
    "a number": (lambda rows, *_: float(rows[1][0]), "concrete value is expected"),
    "NumPy": (lambda rows, *_: np.asarray(rows[1]).sum(), "__array__"),
    "an index": (lambda rows, *_: [1.0, 2.0][rows[1][0].astype(int) * 0], "__index__"),
    "a mask": (lambda rows, *_: rows[1][rows[1] > 0].sum(), "boolean indices must be concrete"),
    "a shape": (lambda rows, *_: jnp.ones(rows[1].argmax() + 1).sum(), "Shapes must be"),
    "our check": (
        lambda rows, *_: len(jc.validate.predict(lambda p, x: x, {}, rows[0])) * 1.0,
        r"predict\(inputs=...\) reads values",
    ),
    "a loop": (loops, r"^it traces to 2\d\d operations, too many"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_cannot_be_traced_runs_in_turn_and_says_why(name, key, monkeypatch):
    monkeypatch.setattr(tracing, "MOST_EQUATIONS", 150)
    fit, said = REASONS[name]
    data = jax.tree.map(np.float32, regression(9))
    found = jc.validate.cross_validate(fit, ABSOLUTE, data, splits.k_fold(9, folds=3), key=key)
    assert np.isfinite(found.scores("square")).all()
    assert re.search(said, found.in_turn), found.in_turn
    assert "\n" not in found.in_turn


def test_texts_run_in_turn(key):
    texts = np.array(["a", "bb", "ccc", "dddd"])
    found = jc.validate.cross_validate(
        lambda rows, weights, key: max(map(len, rows)),
        lambda longest, rows: np.array([len(row) <= longest for row in rows]),
        texts,
        splits.k_fold(4, folds=2, seed=None),
        key=key,
    )
    assert found.in_turn == "the data hold <U4 at '', which is not for JAX"
    np.testing.assert_array_equal(found.out_of_fold("score"), [True, True, False, False])


def wrong_shapes(rows, weights, key):
    return rows[0] @ rows[0]


def of_its_own(rows, weights, key):
    raise ValueError("the recipe's own")


@pytest.mark.parametrize(
    ("fit", "kind", "said"),
    [
        (wrong_shapes, TypeError, "dot_general"),
        (of_its_own, ValueError, "^the recipe's own"),
        (lambda rows, *_: {}["missing"], KeyError, "missing"),
    ],
)
def test_mistakes_of_a_recipe_are_raised_as_they_are(fit, kind, said, key):
    with pytest.raises(kind, match=said):
        jc.validate.cross_validate(fit, ABSOLUTE, regression(9), splits.k_fold(9), key=key)


@pytest.mark.parametrize("at_once", [None, 0])
def test_a_model_in_place_of_an_evaluation_is_refused_by_name(at_once, key):
    def model(params, x):
        return x @ params

    folds = [(np.arange(6), [6, 7]), (np.arange(5), [5, 6, 7])]
    said = r"^cross_validate\(evaluate=model\) takes the inputs of .* Pass evaluating\(fn\)."
    with pytest.raises(TypeError, match=said):
        jc.validate.cross_validate(
            lambda rows, *_: jnp.eye(2),
            model,
            (np.ones((8, 2)), np.ones(8)),
            folds,
            key=key,
            at_once=at_once,
        )


@pytest.mark.parametrize("at_once", [None, 0])
@pytest.mark.parametrize(
    ("evaluate", "kind", "said"),
    [
        (lambda m, e: {"a": e[1].mean()}, ValueError, r"'a' has shape \(\) for [23] examples"),
        (lambda m, e: {"a": 1.0}, TypeError, "gives float for 'a'"),
        (lambda m, e: [e[1]], TypeError, "gives list for 'score'"),
        (lambda m, e: {}, ValueError, "empty dict"),
        (lambda m, e: jnp.log(0 * e[1] - 1), ValueError, "in fold 0 'score' is not finite for 2"),
    ],
)
def test_what_an_evaluation_must_give(evaluate, kind, said, at_once, key):
    folds = [(np.arange(6), [6, 7]), (np.arange(5), [5, 6, 7])]
    with pytest.raises(kind, match=rf"cross_validate\(evaluate\).*{said}"):
        jc.validate.cross_validate(
            lambda *_: 0.0, evaluate, regression(8), folds, key=key, at_once=at_once
        )


@pytest.mark.parametrize(
    ("data", "folds", "kind", "said"),
    [
        ((np.ones((3, 2)), np.ones(4)), [([0], [1])], ValueError, "3 at '0', 4 at '1'"),
        (np.ones((0, 2)), [([0], [1])], ValueError, "holds no examples"),
        (np.float32(1), [([0], [1])], TypeError, "must be an array or a tree"),
        (np.ones(3), [([0], [3])], ValueError, r"\(splits\): fold 0 holds index 3"),
        (np.ones(3), [([0, 1], [1])], ValueError, r"\(splits\): fold 0 trains on example 1"),
    ],
)
def test_data_and_folds_are_checked_before_anything_is_trained(data, folds, kind, said, key):
    with pytest.raises(kind, match=rf"cross_validate.*{said}"):
        jc.validate.cross_validate(of_its_own, ABSOLUTE, data, folds, key=key)


def test_fits_are_called_alike_in_both_ways(key):
    """Weights of float32 also in float64; the key of fold i by either kind of key."""
    seen = []

    def fit(rows, weights, key):
        seen.append((weights.dtype, weights.shape, jnp.shape(key)))
        return jax.random.uniform(key)

    drawn = {}
    for name, each in {"typed": key, "raw": jax.random.PRNGKey(0)}.items():
        for at_once in (None, 0):
            with jax.enable_x64(True):
                found = jc.validate.cross_validate(
                    fit,
                    lambda drawn, rows: jnp.full(len(rows), drawn),
                    np.arange(5),
                    [([0, 1, 2], [3]), ([1, 2, 4], [0])],
                    key=each,
                    at_once=at_once,
                )
            drawn[name, at_once] = found.scores("score").tolist()
    assert {(dtype, shape) for dtype, shape, _ in seen} == {(np.dtype(np.float32), (3,))}
    first = drawn["typed", None]
    assert len(set(first)) == 2
    assert all(each == first for each in drawn.values())


def test_splitters_get_the_labels(key):
    ms = pytest.importorskip("sklearn.model_selection")
    labels = np.arange(24) % 3
    ours, theirs = (
        jc.validate.cross_validate(
            lambda *_: 0.0, lambda model, rows: rows[1], (np.ones(24), labels), folds, key=key
        )
        for folds in (splits.stratified_k_fold(labels, seed=None), ms.StratifiedKFold(5))
    )
    for one, other in zip(ours.folds, theirs.folds, strict=True):
        np.testing.assert_array_equal(one.test, other.test)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_the_program_lowers_for_accelerators(platform, key):
    data = jax.tree.map(jnp.float32, regression(12))
    folds = splits.k_fold(12, folds=5)
    rows = program.in_chunks(program.padded(folds, program.fold_keys(key, 5)), 2)
    lowered = jax.jit(program.program(*PERCEPTRON)).trace(data, rows)
    assert lowered.lower(lowering_platforms=(platform,)).as_text()


def test_compression_is_part_of_the_recipe(key):
    def fit(rows, weights, key):
        x, y = rows
        params = {"kernel": (x * weights[:, None]).T @ y[:, None]}
        return jc.quantize.quantize(params, jc.quantize.int8())[0]

    def evaluate(params, rows):
        kernel = jc.materialize(params)["kernel"]
        return {"levels": jnp.broadcast_to(kernel[:, 0], rows[0].shape)}

    data, folds = jax.tree.map(np.float32, regression(9)), splits.k_fold(9, folds=2)
    found = jc.validate.cross_validate(fit, evaluate, data, folds, key=key)
    assert not found.in_turn
    for values, (train, _) in zip(found.values, folds, strict=True):
        kernel = data[0][train].T @ data[1][train]
        scale = np.abs(kernel).max() / 127
        steps = values["levels"][0] / scale
        np.testing.assert_allclose(steps, np.round(kernel / scale), rtol=1e-5)


def test_a_bar_is_drawn_on_a_terminal_alone(key, monkeypatch):
    drawn = io.StringIO()
    drawn.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    jc.validate.cross_validate(
        lambda *_: 0.0, ABSOLUTE, regression(6), splits.k_fold(6, folds=3), key=key, at_once=0
    )
    assert "cross-validation" in drawn.getvalue()
    assert "3/3" in drawn.getvalue()


def repeated_result():
    folds = splits.repeated(lambda seed: splits.k_fold(6, folds=3, seed=seed), repeats=2)
    values = [
        {"loss": fold.test + 10.0 * (i > 2), "outputs": np.stack([fold.test] * 2, 1)}
        for i, fold in enumerate(folds)
    ]
    return CrossValidation(tuple(folds), tuple(values), "a reason")


def test_values_come_in_the_order_of_examples():
    found = repeated_result()
    np.testing.assert_array_equal(found.out_of_fold("loss"), np.arange(6) + 5.0)
    np.testing.assert_array_equal(found.out_of_fold("outputs")[:, 1], np.arange(6))
    once = CrossValidation(found.folds[1:3], found.values[1:3])
    np.testing.assert_array_equal(once.out_of_fold("loss"), once.tested)


def test_results_say_what_has_scores_and_go_through_json():
    found = repeated_result()
    assert (found.names, found.scored) == (("loss", "outputs"), ("loss",))
    again = CrossValidation.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.out_of_fold("outputs"), found.out_of_fold("outputs"))
    assert again.values[0]["outputs"].dtype == found.values[0]["outputs"].dtype
    assert again.to_json() == found.to_json()
    assert str(found).startswith("6 folds in turn: a reason\nloss  7.5  (")
    largest = found.by_fold(lambda values, fold: values["outputs"].max() - fold.test.max())
    np.testing.assert_array_equal(largest, np.zeros(6))
    with pytest.raises(ValueError, match=r"scores\('outputs'\): values of shape \(2, 2\)"):
        found.scores("outputs")
    with pytest.raises(KeyError, match=r"scores\('none'\): the values are named loss, outputs"):
        found.scores("none")
    with pytest.raises(ValueError, match="one fold has no spread"):
        CrossValidation(found.folds[:1], found.values[:1]).interval("loss")


def test_metrics_judge_each_fold(key):
    """Means as values per example, others from the statistics of a fold."""
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 3
    metrics = jc.validate.metrics
    several = [metrics.accuracy(), metrics.cross_entropy(), metrics.balanced_accuracy()]
    evaluate = cross_validation.evaluating(lambda params, x: x * params, several)
    folds = splits.stratified_k_fold(labels, folds=2)
    found = jc.validate.cross_validate(
        lambda rows, weights, key: jnp.average(rows[0][:, 0], weights=weights) + 1,
        evaluate,
        (x, labels),
        folds,
        key=key,
    )
    assert found.scored[:2] == ("accuracy", "loss")
    for i, (train, test) in enumerate(folds):
        outputs = x[test] * (x[train, 0].mean() + 1)
        for metric in several:
            # In float32; the loss is a mean of logarithms.
            np.testing.assert_allclose(
                found.by_metric(metric)[i], metric(outputs, labels[test]), rtol=1e-5
            )
    with pytest.raises(KeyError, match=r"by_metric\('top_2'\): the values are named accuracy"):
        found.by_metric(metrics.top_k(2))
    with pytest.raises(ValueError, match="needs metrics of different names"):
        cross_validation.evaluating(lambda params, x: x, [metrics.accuracy()] * 2)


def test_a_finding_gives_means_with_intervals():
    found = repeated_result()
    (figure,) = found.finding().figures
    assert (figure.value, figure.interval) == (found.mean("loss"), found.interval("loss"))
    one = CrossValidation(found.folds[:1], found.values[:1]).finding()
    assert one.figures[0].interval is None
    assert one.needs
    card = jc.validate.Card("Recipes").adding(found, about="dense")
    assert "cross-validation" not in {topic.name for topic in card.not_tested}


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_intervals_of_shares_end_at_0_and_1(dtype):
    wrong = (0, 0, 0, 0, 4)
    values = tuple({"right": (np.arange(10) >= count).astype(dtype)} for count in wrong)
    folds = tuple(splits.k_fold(50, folds=5))
    found = CrossValidation(folds, values)
    wide = cross_validation.corrected_interval(found.scores("right"), found.test_over_train)
    assert wide[1] > 1
    assert found.interval("right") == (wide[0], 1.0)
    lost = CrossValidation(
        folds, tuple({"lost": 1 - fold["right"].astype(np.float32)} for fold in values)
    )
    assert lost.interval("lost") == pytest.approx((0.0, 1 - wide[0]))
    doubled = CrossValidation(folds, tuple({"loss": 2.0 * fold["right"]} for fold in values))
    assert doubled.interval("loss")[1] == pytest.approx(2 * wide[1])


@pytest.mark.parametrize("wrong", [0, 2])
def test_folds_that_score_alike_leave_what_their_examples_tell(wrong):
    fold = {"right": np.arange(10) >= wrong}
    found = CrossValidation(tuple(splits.k_fold(50, folds=5)), (fold,) * 5)
    expected = jc.validate.wilson(50 - 5 * wrong, 50)
    assert found.interval("right") == expected
    assert found.finding().figures[0].interval == expected
    assert found.interval("right", confidence=0.5)[0] > expected[0]


def test_an_error_that_hides_one_of_tracing_is_seen():
    def hides():
        try:
            jax.jit(float)(1.0)
        except jax.errors.ConcretizationTypeError:
            raise ValueError("hidden") from None

    with pytest.raises(ValueError, match="hidden") as raised:
        hides()
    assert "concrete value is expected" in tracing.untraceable(raised.value)
    assert tracing.untraceable(ValueError("shapes differ")) == ""


def test_operations_of_calls_count_once_per_call():
    inner = jax.jit(lambda x: optax.safe_norm(x, 1.0))
    one, two = (
        tracing.equations(jax.make_jaxpr(function)(jnp.ones(3)).jaxpr)
        for function in (lambda x: inner(x), lambda x: (inner(x), inner(x)))
    )
    assert two == 2 * one > 4


def judged(labels, x=None, metric=None, model=(-1.0, 1.0), **how):
    """Two folds of a model that answers by the sign of its input."""
    x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None] if x is None else x
    metric = metric or jc.validate.metrics.accuracy()
    evaluate = cross_validation.evaluating(lambda model, x: model[None] * x, [metric])
    return jc.validate.cross_validate(
        lambda examples, weights, key: jnp.array(model),
        evaluate,
        (x, labels),
        splits.k_fold(8, folds=2),
        **{"key": jax.random.key(0)} | how,
    )


@pytest.mark.parametrize("at_once", [None, 0])
@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
def test_labels_that_are_no_classes_are_refused_in_a_program_too(at_once, as_array):
    labels = as_array(np.arange(8) // 4 + 1)
    with pytest.raises(ValueError, match=r"accuracy\(labels\): .* outside \[0, 2\)"):
        judged(labels, at_once=at_once)
    assert judged(labels - 1, at_once=at_once).mean("accuracy") == 1


def test_a_loss_of_distill_names_a_label_in_a_program(key):
    x, labels = np.ones((8, 2), np.float32), np.arange(8) // 4 + 1
    with pytest.raises(
        ValueError, match=r"hard_targets\(labels\): label 2 of example 4 is none of 2"
    ):
        jc.validate.cross_validate(
            lambda examples, weights, key: jnp.ones((1, 2)),
            lambda model, examples: jc.distill.outputs.hard_targets(
                model * examples[0], examples[1]
            ),
            (x, labels),
            splits.k_fold(8, folds=2),
            key=key,
        )


def test_targets_that_are_no_bools_are_refused_in_a_program_too():
    with pytest.raises(ValueError, match="must be 0 and 1"):
        judged(np.arange(8) // 4 * 2 - 1, metric=jc.validate.metrics.roc_auc())


@pytest.mark.parametrize("at_once", [None, 0])
def test_nan_is_no_answer(at_once):
    x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    x[3] = np.nan
    said = r"cross_validate\(data\): The data at '0' hold NaN or infinity in 1 of 8 .* example 3\."
    with pytest.raises(ValueError, match=said):
        judged(np.arange(8) // 4, x, at_once=at_once)
    with pytest.raises(ValueError, match=r"Training diverged there\.|Look for an overflow"):
        judged(np.arange(8) // 4, model=(-np.inf, np.inf), at_once=at_once)
    assert judged(np.arange(8) // 4).names == ("accuracy",)


def test_an_evaluation_that_needs_arrays_of_jax_still_is_one_program(key):
    found = jc.validate.cross_validate(
        lambda x, weights, key: jnp.int32(1),
        lambda shift, x: x.at[:].add(shift).reshape(4),
        np.arange(8),
        splits.k_fold(8, folds=2),
        key=key,
    )
    assert not found.in_turn


def test_integers_that_would_wrap_are_refused():
    with pytest.raises(ValueError, match="holds 4294967296, which JAX would wrap"):
        judged(np.arange(8) // 4 + 2**32 * (np.arange(8) == 3))
