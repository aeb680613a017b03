"""Examples that a mesh splits, by automatic or explicit axes, are judged alike."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxcompress as jc
from jaxcompress import validate

N, KEY = 32, jax.random.key(0)
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int32)
PARAMS = {"w": jnp.eye(3, 2)}


def model(params, x):
    return x @ params["w"]


def loss(params, example):
    x, label = example
    return optax.softmax_cross_entropy_with_integer_labels(model(params, x), label)


def fit(examples, weights, key):
    def total(params):
        return jnp.sum(weights * jax.vmap(loss, (None, 0))(params, examples))

    return jax.tree.map(lambda p, g: p - 0.1 * g, PARAMS, jax.grad(total)(PARAMS))


def signal(params, examples):
    return validate.membership.scaled_confidence(model(params, examples[0]), examples[1])


def recipe():
    objective = jc.train.objectives.supervised(model, jc.distill.outputs.hard_targets)
    return jc.train.Recipe(objective, optax.sgd(0.1))


PRIVATE = jc.train.SubsampledGaussian(
    clip=1.0, noise_multiplier=1.0, batch_size=8, population=N, steps=2
)
VERBS = {
    "evaluate": lambda data, weights: validate.evaluate(model, PARAMS, *data, batch_size=12).loss,
    "cross_validate": lambda data, weights: validate.cross_validate(
        fit, signal, data, validate.splits.k_fold(N, folds=4), key=KEY
    ).out_of_fold("score"),
    "shadows": lambda data, weights: (
        validate.membership.shadows(
            fit, signal, data, validate.membership.halves(2, N, KEY), KEY
        ).signals
    ),
    "layer_fidelity": lambda data, weights: (
        validate.comparisons.layer_fidelity(model, PARAMS, {"w": jnp.eye(3, 2) + 0.1}, data[0])[
            0
        ].relative_error
    ),
    "fitting": lambda data, weights: jc.train.fitting(
        recipe(), lambda key: PARAMS, steps=3, batch_size=8
    )(data, weights, KEY)["w"],
    "private_fit": lambda data, weights: jax.jit(
        jc.train.private_fit(loss, lambda key: PARAMS, optax.sgd(0.1), PRIVATE)
    )(data, weights, KEY)["w"],
}


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("name", VERBS)
def test_split_examples_are_judged_as_whole_ones(name, axis_type, mesh):
    sharding = NamedSharding(mesh(data=8, axis_type=axis_type), PartitionSpec("data"))
    weights = jnp.ones(N)
    data, split_weights = jax.device_put(((X, LABELS), weights), sharding)
    found, expected = VERBS[name](data, split_weights), VERBS[name]((X, LABELS), weights)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
