"""The path of `cumulative_sensitivity` against separate quantizations."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc

NAMES = ("a", "b", "c")


def model(params, x):
    for name in NAMES:
        x = x + jnp.tanh(x @ params[name])
    return x


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    params = {name: jnp.asarray(rng.normal(size=(6, 6)), jnp.float32) for name in NAMES}
    # Of one leaf a single large weight makes the scale of its whole column coarse.
    params["b"] = params["b"].at[0].multiply(30.0)
    x = jnp.asarray(rng.normal(size=(60, 6)), jnp.float32)
    return params, jc.validate.Examples(x, np.asarray(model(params, x).argmax(-1)))


def loss_of(params, examples, names):
    chosen = jc.matching(*names)
    quantized, _ = jc.quantize.quantize(params, jc.quantize.int4(), select=chosen)
    return examples.judge(model, jc.materialize(quantized)).mean_loss


def test_steps_are_those_of_separate_quantizations(case):
    params, examples = case
    path = jc.auto.cumulative_sensitivity(model, params, jc.quantize.int4(), examples)
    original = examples.judge(model, params).mean_loss
    names = [step.name for step in path.steps]
    alone = {name: loss_of(params, examples, [name]) - original for name in NAMES}
    assert names == sorted(NAMES, key=alone.__getitem__)
    for count, step in enumerate(path.steps, 1):
        together = loss_of(params, examples, names[:count]) - original
        np.testing.assert_allclose((step.alone, step.together), (alone[step.name], together))
        dense, small = 4 * 36, jc.quantize.quantize({"w": params[step.name]}, jc.quantize.int4())[0]
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(small))
        assert step.saved_bytes == dense - held
    without = {
        name: loss_of(params, examples, [each for each in NAMES if each != name]) - original
        for name in NAMES
    }
    assert path.exception == min(without, key=without.__getitem__)
    np.testing.assert_allclose(path.kept, without[path.exception])
    np.testing.assert_allclose(path.won_back, path.steps[-1].together - path.kept)
    assert path.original == pytest.approx(original)
    assert (path.metric, path.left_out) == ("loss", {})
    record = json.loads(json.dumps(path.to_json()))
    assert record["exception_bytes"] == path.exception_bytes > 0
    assert f"Leaving {path.exception} as it is" in str(path)


def test_accuracy_counts_the_other_way(case):
    params, examples = case
    examples = examples._replace(metrics=[jc.validate.metrics.accuracy()])
    path = jc.auto.cumulative_sensitivity(model, params, jc.quantize.int4(), examples)
    assert path.higher_is_better
    alone = [step.alone for step in path.steps]
    assert alone == sorted(alone, reverse=True)
    assert path.won_back >= 0


def test_one_leaf_is_its_own_exception(case):
    params, examples = case
    path = jc.auto.cumulative_sensitivity(
        model, params, jc.quantize.int4(), examples, select=jc.matching("b")
    )
    (step,) = path.steps
    assert step.alone == step.together
    assert (path.exception, path.kept) == ("b", 0.0)
