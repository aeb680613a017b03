"""Any figure per example: losses of tokens, numbers and trees, judged and compared."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import graph, prune, validate
from jaxcompress.structure import importance
from tests.validate.evaluations import classifier

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.standard_normal((7, 3, 4)).astype(np.float32)  # (examples, time, features)
PARAMS = {
    "in": RANDOM.standard_normal((4, 6)).astype(np.float32),
    "out": RANDOM.standard_normal((6, 5)).astype(np.float32),
}
TOKENS = RANDOM.integers(0, 5, (7, 3))
TOKENS[0, 1] = -100


def model(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"]


def of_tokens(logits, labels):
    """The mean over the tokens that count."""
    losses = jc.distill.outputs.hard_targets(logits, labels, ignore=-100)
    return losses.sum(-1) / jc.distill.counted(labels, ignore=-100).sum(-1).astype(jnp.float32)


def of_numbers(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=(-1, -2))


def of_both(outputs, targets):
    return of_tokens(outputs, targets["tokens"]) + of_numbers(outputs, targets["numbers"])


NUMBERS = RANDOM.standard_normal((7, 3, 5)).astype(np.float32)
KINDS: dict[str, tuple[Any, Any]] = {
    "tokens": (TOKENS, of_tokens),
    "numbers": (NUMBERS, of_numbers),
    "a tree": ({"tokens": TOKENS, "numbers": NUMBERS}, of_both),
}


def by_hand(kind) -> np.ndarray:
    """Example by example, in float64."""
    outputs = np.tanh(INPUTS.astype(np.float64) @ PARAMS["in"]) @ PARAMS["out"]
    chances = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
    tokens = [
        -np.mean([chances[i, t, label] for t, label in enumerate(row) if label != -100])
        for i, row in enumerate(TOKENS)
    ]
    numbers = ((outputs - NUMBERS) ** 2).sum((1, 2))
    return {"tokens": tokens, "numbers": numbers, "a tree": tokens + numbers}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_by_hand_in_batches_that_do_not_divide(kind):
    targets, loss = KINDS[kind]
    measured = [validate.metrics.loss(loss)]
    found = validate.evaluate(model, PARAMS, INPUTS, targets, measured, batch_size=3)
    np.testing.assert_allclose(found.loss, by_hand(kind), rtol=1e-5)
    np.testing.assert_allclose(found.mean_loss, np.mean(by_hand(kind)), rtol=1e-5)
    assert found.n == 7
    low, high = found["loss"].interval()
    assert low < found.mean_loss < high
    again = validate.Evaluation.from_json(json.loads(json.dumps(found.to_json())), measured)
    np.testing.assert_array_equal(again.loss, found.loss)
    np.testing.assert_array_equal(again.fingerprints, found.fingerprints)
    assert again.loss.dtype == np.float32


def test_the_sensitivity_of_leaves_is_measured_by_the_examples_loss():
    targets, loss = KINDS["tokens"]
    measured = [validate.metrics.loss(loss)]
    examples = validate.Examples(INPUTS, targets, measured, batch_size=4)
    spec = jc.quantize.formats.int2()
    rows = {row.name: row for row in jc.auto.sensitivity(model, PARAMS, spec, examples)}
    assert rows.keys() == PARAMS.keys()
    whole = validate.evaluate(model, PARAMS, INPUTS, targets, measured)
    for name, row in rows.items():
        alone = jc.quantize.quantize(PARAMS, spec, select=jc.matching(name))[0]
        without = validate.evaluate(jc.materialized(model), alone, INPUTS, targets, measured)
        np.testing.assert_allclose(
            row.loss_increase, without.mean_loss - whole.mean_loss, rtol=1e-3, atol=1e-6
        )
        assert np.isnan(row.accuracy_change)


def test_the_first_metric_puts_leaves_in_order_the_worst_first():
    measured = [validate.metrics.r2(), validate.metrics.mean_squared_error()]
    examples = validate.Examples(INPUTS[:, 0], INPUTS[:, 0] @ np.ones((4, 5)), measured)
    rows = jc.auto.sensitivity(model, PARAMS, jc.quantize.formats.int2(), examples)
    changes = [row.changes["r2"] for row in rows]
    assert changes == sorted(changes)
    assert [set(row.changes) for row in rows] == [{"r2", "mean_squared_error"}] * 2
    assert np.isnan([rows[0].loss_increase, rows[0].accuracy_change]).all()


def criterion_scores(criterion):
    return criterion.score(criterion.init(PARAMS), PARAMS)


BATCHES = [(INPUTS[:4], jnp.maximum(TOKENS[:4], 0))]
VERBS = {
    "snip": lambda: criterion_scores(prune.criteria.snip(model, PARAMS, of_tokens, BATCHES)),
    "woodfisher": lambda: prune.woodfisher(
        model, PARAMS, of_tokens, BATCHES, 0.5, fisher=prune.FisherBlocks(damping=1.0)
    )[0],
    "taylor": lambda: importance.taylor(of_tokens, BATCHES)(
        model, PARAMS, graph.couplings(model, PARAMS, INPUTS)
    ),
}


@pytest.mark.parametrize("name", VERBS)
def test_verbs_that_take_a_loss_take_labels_of_tokens(name):
    leaves = jax.tree.leaves(VERBS[name]())
    assert leaves
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)


def losses(values, name="loss") -> validate.Evaluation:
    values = np.asarray(values, np.float32)
    metric = validate.metrics.mean_of(lambda y, t: y, name, higher_is_better=name != "loss")
    score = validate.Score(metric, values)
    marks = validate.leakage.fingerprints(np.arange(values.size))
    return validate.Evaluation({name: score}, marks, marks)


def test_a_comparison_says_what_its_interval_allows():
    reference, noise = RANDOM.uniform(1, 2, 40), RANDOM.uniform(-1, 1, 40)

    def against(values, name="loss"):
        return validate.compare_scores(losses(reference, name), losses(values, name), name)

    worse = against(reference + 0.5 + 0.1 * noise)
    better = against(reference - 0.5 + 0.1 * noise)
    gain = against(reference + 0.5 + 0.1 * noise, "score")
    unclear, same = against(reference + noise), against(reference)
    assert worse.verdict.startswith("worse: loss higher by 0.")
    assert better.verdict.startswith("better: loss lower by 0.")
    assert gain.verdict.startswith("better: score higher by 0.")
    assert unclear.verdict.startswith(
        "not decided: the interval of the loss difference reaches from −0."
    )
    assert same.verdict == "no difference on these examples"
    for each in (worse, better, gain, unclear):
        assert each.interval[0] <= each.difference <= each.interval[1]
        record = json.loads(json.dumps(each.to_json()))
        assert (record["verdict"], record["difference"]) == (each.verdict, each.difference)


def test_the_losses_of_a_classifier_are_compared_too():
    def fn(params, x):
        return params * x

    one, other = (validate.evaluate(fn, scale, jnp.eye(5), np.arange(5)) for scale in (1.0, 2.0))
    by_loss, by_both = validate.compare_scores(one, other, "loss"), validate.compare(one, other)
    assert by_loss.interval == by_both.loss_interval


def largest(statistics, counts):
    return np.max(np.where(counts > 0, statistics, -np.inf), axis=-1)


LARGEST = validate.metrics.Metric("largest", lambda outputs, targets: outputs, largest)


def test_figures_that_are_no_means_are_compared_on_the_same_resamples():
    """A constant shift of the largest value shifts it in each resample."""
    values = RANDOM.standard_normal(30).astype(np.float32)
    marks = validate.leakage.fingerprints(np.arange(30))
    one, other = (
        validate.Evaluation({"largest": validate.Score(LARGEST, shifted)}, marks, marks)
        for shifted in (values, values + np.float32(0.5))
    )
    found = validate.compare_scores(one, other, "largest")
    rounding = 4 * np.finfo(np.float32).eps * np.abs(values).max()
    np.testing.assert_allclose(found.interval, 0.5, rtol=0, atol=rounding)
    assert found.verdict.startswith("better: largest higher by 0.5")
    assert str(found) == f"largest +0.5 [+0.5, +0.5] on 30 examples: {found.verdict}"
    low, high = one["largest"].interval()
    assert low < one["largest"].value == high == values.max()


def test_what_half_of_the_resamples_leave_undefined_has_no_interval():
    """Each of two examples is missing in a quarter of the resamples."""
    both = validate.metrics.Metric(
        "both",
        lambda outputs, targets: outputs,
        lambda statistics, counts: np.where(np.all(counts > 0, axis=-1), 1.0, np.nan),
    )
    defined = validate.Score(both, np.ones(2, np.float32)).interval()
    assert defined == (1.0, 1.0)
    with pytest.raises(ValueError, match=r"both: only \d+ of 1999 bootstrap samples of 5 exam"):
        validate.Score(both, np.ones(5, np.float32)).interval()


def evaluated(targets, *measured, fn=model, **options):
    return validate.evaluate(fn, PARAMS, INPUTS, targets, measured, **options)


def of(function, name="figure"):
    return validate.metrics.Metric(name, function)


NUMBER = validate.metrics.loss(of_numbers)
REFUSED = {
    "per token": (
        lambda: evaluated(TOKENS, validate.metrics.loss(jc.distill.outputs.hard_targets)),
        r"loss: function gives shape \(7, 3\) for 7 examples; one number per example",
    ),
    "a mean": (
        lambda: evaluated(NUMBERS, validate.metrics.loss(lambda y, t: jnp.mean((y - t) ** 2))),
        r"loss: function gives shape \(\) for 7 examples",
    ),
    "other examples": (
        lambda: evaluated(NUMBERS[:5], NUMBER),
        r"evaluate\(targets of 5 examples, inputs of 7\) needs the same in both",
    ),
    "tokens by the metrics of classes": (
        lambda: validate.evaluate(model, PARAMS, INPUTS, TOKENS),
        r"loss\(logits of shape \(7, 3, 5\)\) needs .* Reshape answers to tokens",
    ),
    "tokens to ignore": (
        lambda: validate.Examples(INPUTS, TOKENS, [NUMBER], ignore=-100).judge(model, PARAMS),
        r"Examples\(ignore=-100\) .* targets of shape \(7,\), not int64\[7, 3\]\. Of tokens",
    ),
    "no metric": (lambda: evaluated(NUMBERS), r"evaluate\(metrics of names \[\]\) needs one"),
    "one name twice": (
        lambda: evaluated(NUMBERS, NUMBER, NUMBER),
        r"metrics of names \['loss', 'loss'\]\) needs .* another name\. Rename one",
    ),
    "statistics without examples": (
        lambda: evaluated(NUMBERS, of(lambda y, t: y.sum())),
        r"figure: per_example gives shapes \(\), and must give one array whose first axis",
    ),
    "statistics of others": (
        lambda: evaluated(NUMBERS, of(lambda y, t: y[:3])),
        r"figure: per_example gives statistics of \{3\} examples for 7",
    ),
    "an AUC of one class": (
        lambda: evaluated(np.zeros(7), validate.metrics.roc_auc(), fn=lambda params, x: x[:, 0, 0]),
        r"^roc_auc of 7 examples is not defined: it needs a positive and a negative example",
    ),
    "outputs of NaN": (
        lambda: evaluated(NUMBERS, NUMBER, fn=lambda params, x: jnp.log(model(params, x))),
        r"evaluate\(fn\): the outputs of \d of 7 examples hold NaN or \+inf, the first is",
    ),
    "a loss that is not finite": (
        lambda: evaluated(NUMBERS, validate.metrics.loss(lambda y, t: -jnp.log(0 * y[:, 0, 0]))),
        r"loss is not finite for 7 of 7 examples, the first is example 0: inf",
    ),
    "not finite": (
        lambda: losses([0.0, np.inf]),
        r"loss is not finite for 1 of 2 examples, the first is example 1: inf",
    ),
    "no example": (lambda: losses([]), r"loss: per_example gives shapes \(0,\)"),
    "other lengths": (
        lambda: validate.compare_scores(losses([1.0, 2.0]), losses([1.0]), "loss"),
        r"compare_scores\(reference of 2 examples, candidate of 1\)",
    ),
    "a metric that was not measured": (
        lambda: validate.compare_scores(losses([1.0, 2.0]), losses([1.0, 2.0]), "accuracy"),
        r"compare_scores\(reference with the metrics loss\) needs 'accuracy'\. Evaluate with",
    ),
    "a figure that overflows": (
        lambda: validate.metrics.perplexity()(np.array([[[0, 1e4]]], np.float32), np.array([[0]])),
        r"^perplexity of 1 examples is infinite",
    ),
    "an accuracy of one's own": (
        lambda: losses([0.5], "accuracy").predictions,
        r"Evaluation: the metric 'accuracy' is not that of validate.metrics",
    ),
    "a summary of shape (n,)": (
        lambda: validate.Score(
            validate.metrics.Metric("bad", lambda y, t: y, lambda statistics, counts: statistics),
            np.ones(3),
        ),
        r"Metric\(bad\): summary gives shape \(3,\) for counts of shape \(1, 3\)",
    ),
    "another name": (
        lambda: validate.Evaluation(
            {"a": losses([1.0])["loss"]}, *[validate.leakage.fingerprints(np.arange(1))] * 2
        ),
        r"Evaluation\(scores\): the score 'a' is of the metric 'loss'",
    ),
    "other examples in it": (
        lambda: validate.Evaluation(
            losses([1.0]), *[validate.leakage.fingerprints(np.arange(2))] * 2
        ),
        r"Evaluation\(fingerprints of shape \(2, 16\), scores of \{'loss': 1\} examples\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_judged_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_shown_in_a_line():
    assert repr(losses([1.0, 2.0])) == "Evaluation(loss 1.5 of 2 examples)"
    assert repr(losses([1.0, 2.0])["loss"]) == "Score(loss 1.5 of 2 examples)"


def test_an_evaluation_prints_accuracy_first_with_its_interval():
    evaluation = classifier(np.arange(40) >= 4, np.linspace(0, 1, 40))
    low, high = evaluation["accuracy"].interval()
    below, above = evaluation["loss"].interval()
    assert str(evaluation).splitlines() == [
        f"accuracy 90.00% ({low:.2%} to {high:.2%})",
        f"loss 0.5 ({below:.4g} to {above:.4g})",
        "40 examples; 95 % intervals in parentheses",
    ]
    assert str(classifier([True])).splitlines()[1:] == [
        "loss 0",
        "1 example; 95 % intervals in parentheses",
    ]


def test_printing_draws_no_samples(monkeypatch):
    """A correlation has no interval but the bootstrap's, which takes long."""
    monkeypatch.setattr("jaxcompress.validate.scores.resampled_interval", None)
    pairs = {"output": np.arange(4.0), "target": np.arange(4.0)}
    score = validate.Score(validate.metrics.spearman(), pairs)
    assert str(score) == "spearman 1"


def test_what_was_not_measured_is_named():
    with pytest.raises(KeyError, match="the evaluation has no 'accuracy', but loss"):
        _ = losses([1.0]).accuracy
    with pytest.raises(ValueError, match=r"Score.per_example: largest is no mean"):
        _ = validate.Score(LARGEST, np.ones(3)).per_example
    assert "accuracy" not in losses([1.0])


@pytest.mark.parametrize("right", [0, 3, 10])
def test_shares_of_one_class_have_wilsons_interval(right):
    """Ten of each class; a bootstrap of ten right answers has no width at all."""
    labels = np.arange(20) // 10
    logits = np.eye(2)[np.where(np.arange(20) < 10 + right, labels, 0)].astype(np.float32)
    low, high = validate.wilson(right, 10)
    ends = {
        "recall": (low, high),
        # No answer is wrongly 1, so Jaccard's index J has the same ten examples.
        "f1": (2 * low / (1 + low), 2 * high / (1 + high)),
        "precision": validate.wilson(right, right) if right else (0.0, 1.0),
    }
    for name, expected in ends.items():
        metric = getattr(validate.metrics, name)()
        score = validate.Score(metric, jax.device_get(metric.measured(logits, labels)))
        assert score.interval() == expected
