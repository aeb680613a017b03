"""Any loss per example: of tokens, of numbers, of trees, judged and compared."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import graph, prune, validate
from jaxcompress.structure import importance

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
    found = validate.evaluate_loss(model, PARAMS, INPUTS, targets, loss, batch_size=3)
    np.testing.assert_allclose(found.loss, by_hand(kind), rtol=1e-5)
    np.testing.assert_allclose(found.mean_loss, np.mean(by_hand(kind)), rtol=1e-5)
    assert found.n == 7
    low, high = found.mean_loss_interval
    assert low < found.mean_loss < high
    again = validate.Losses.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.loss, found.loss)


def test_the_sensitivity_of_leaves_is_measured_by_the_examples_loss():
    targets, loss = KINDS["tokens"]
    examples = validate.Examples(INPUTS, targets, batch_size=4, loss=loss)
    spec = jc.quantize.formats.int2()
    rows = {row.name: row for row in jc.auto.sensitivity(model, PARAMS, spec, examples)}
    assert rows.keys() == PARAMS.keys()
    whole = validate.evaluate_loss(model, PARAMS, INPUTS, targets, loss)
    for name, row in rows.items():
        alone = jc.quantize.quantize(PARAMS, spec, select=jc.matching(name))[0]
        without = validate.evaluate_loss(jc.materialized(model), alone, INPUTS, targets, loss)
        np.testing.assert_allclose(
            row.loss_increase, without.mean_loss - whole.mean_loss, rtol=1e-3, atol=1e-6
        )
        assert np.isnan(row.accuracy_change)


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


def losses(*values: float) -> validate.Losses:
    return validate.Losses(np.array(values, np.float32))


def test_a_comparison_of_losses_says_what_its_interval_allows():
    reference = losses(*RANDOM.uniform(1, 2, 40))
    noise = RANDOM.uniform(-1, 1, 40).astype(np.float32)
    worse = validate.compare_losses(reference, validate.Losses(reference.loss + 0.5 + 0.1 * noise))
    better = validate.compare_losses(reference, validate.Losses(reference.loss - 0.5 + 0.1 * noise))
    unclear = validate.compare_losses(reference, validate.Losses(reference.loss + noise))
    same = validate.compare_losses(reference, reference)
    assert worse.verdict.startswith("loss higher by 0.")
    assert better.verdict.startswith("loss lower by 0.")
    assert unclear.verdict.startswith("no difference of the loss shown: -0.")
    assert same.verdict == "no difference on these examples"
    for each in (worse, better, unclear):
        assert each.interval[0] <= each.difference <= each.interval[1]
        assert json.loads(json.dumps(each.to_json()))["verdict"] == each.verdict


def test_the_losses_of_a_classifier_are_compared_too():
    labels = np.arange(5)
    one, other = (
        validate.evaluate(lambda params, x: params * x, scale, jnp.eye(5), labels)
        for scale in (1.0, 2.0)
    )
    by_loss, by_both = validate.compare_losses(one, other), validate.compare(one, other)
    assert by_loss.interval == by_both.loss_interval


REFUSED = {
    "per token": (
        lambda: validate.evaluate_loss(
            model, PARAMS, INPUTS, TOKENS, jc.distill.outputs.hard_targets
        ),
        r"evaluate_loss\(loss=...\) gives shape \(7, 3\) for 7 examples; one number per example",
    ),
    "a mean": (
        lambda: validate.evaluate_loss(
            model, PARAMS, INPUTS, NUMBERS, lambda y, t: jnp.mean((y - t) ** 2)
        ),
        r"evaluate_loss\(loss=...\) gives shape \(\) for 7 examples",
    ),
    "other examples": (
        lambda: validate.evaluate_loss(model, PARAMS, INPUTS, NUMBERS[:5], of_numbers),
        r"evaluate_loss\(targets of 5 examples, inputs of 7\) needs the same in both",
    ),
    "tokens without a loss": (
        lambda: validate.evaluate(model, PARAMS, INPUTS, TOKENS),
        r"evaluate\(labels of shape \(7, 3\)\) needs .* For other targets take evaluate_loss",
    ),
    "not finite": (lambda: losses(0.0, np.inf), "1 of 2 losses are not finite, the first is loss"),
    "no example": (lambda: losses(), r"needs the shape \(n,\), n >= 1"),
    "other lengths": (
        lambda: validate.compare_losses(losses(1.0, 2.0), losses(1.0)),
        r"compare_losses\(reference of 2 examples, candidate of 1\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_loss_per_example_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()
