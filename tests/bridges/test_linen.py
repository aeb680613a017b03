"""Linen modules as pure functions: the same numbers, and dropout in training alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import core, linen

import jaxcompress as jc
from jaxcompress.bridges import linen as bridge


class Network(linen.Module):
    """Dense, batch norm, dropout, dense; the hidden layer is sowed."""

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.Dense(4)(x)
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = linen.Dropout(0.5, deterministic=not train)(x)
        self.sow("intermediates", "hidden", x)
        return linen.Dense(2)(x)


@pytest.fixture
def module() -> Network:
    return Network()


@pytest.fixture
def variables(module, x, key):
    return module.init(key, x, train=False)


@pytest.fixture
def model(module, variables):
    return bridge.functional(
        module, variables, evaluation={"train": False}, training={"train": True}
    )


def test_evaluation_is_the_modules_own(model, module, variables, x):
    np.testing.assert_array_equal(
        model.fn(model.params, x), module.apply(variables, x, train=False)
    )


def test_the_params_are_every_collection(model):
    assert list(jc.named_leaves(model.params)) == [
        "batch_stats/BatchNorm_0/mean",
        "batch_stats/BatchNorm_0/var",
        "BatchNorm_0/bias",
        "BatchNorm_0/scale",
        "Dense_0/bias",
        "Dense_0/kernel",
        "Dense_1/bias",
        "Dense_1/kernel",
    ]
    assert model.restore(model.params) is model.params


def test_frozen_variables_give_a_plain_dict(module, variables, model):
    frozen = bridge.functional(module, core.freeze(variables))
    assert jax.tree.structure(frozen.params) == jax.tree.structure(model.params)


def test_training_is_the_modules_own_and_moves_statistics_alone(model, module, variables, x, key):
    outputs, new = model.train_fn(model.params, x, key=key)
    expected, updated = module.apply(
        variables,
        x,
        train=True,
        rngs={"dropout": jax.random.fold_in(key, 0)},
        mutable=["batch_stats"],
    )
    np.testing.assert_array_equal(outputs, expected)
    jax.tree.map(np.testing.assert_array_equal, new["batch_stats"], updated["batch_stats"])
    assert jax.tree.structure(new) == jax.tree.structure(model.params)
    assert new["params"] is model.params["params"]
    moved = jax.tree.map(lambda old, new: bool((old != new).all()), model.params, new)
    assert all(jax.tree.leaves(moved["batch_stats"]))


def test_dropout_follows_the_key_in_training_alone(model, x, key):
    first, again = (model.train_fn(model.params, x, key=key)[0] for _ in range(2))
    other, _ = model.train_fn(model.params, x, key=jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(model.fn(model.params, x), model.fn(model.params, x))


def test_streams_are_named_and_independent(x, key):
    class Noise(linen.Module):
        @linen.compact
        def __call__(self, x):
            return tuple(jax.random.normal(self.make_rng(name), x.shape) for name in ("one", "two"))

    model = bridge.functional(Noise(), {}, rngs=("one", "two"))
    (one, two), new = model.train_fn(model.params, x, key=key)
    assert new == model.params == {}
    assert (one != two).all()


def test_a_module_without_statistics_passes_everything_through(x, key):
    module = linen.Dense(2)
    model = bridge.functional(module, module.init(key, x))
    outputs, new = model.train_fn(model.params, x, key=key)
    np.testing.assert_array_equal(outputs, model.fn(model.params, x))
    assert jax.tree.leaves(new) == jax.tree.leaves(model.params)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({}, r"training=\{\}\): Norm would run in evaluation mode .* train=False. Pass training="),
        ({"method": "other"}, r"deterministic=True. Pass training=\{'deterministic': False\}"),
    ],
)
def test_training_with_a_switch_left_at_its_default_is_refused(training, message, x, key):
    class Norm(linen.Module):
        def setup(self):
            self.norm = linen.BatchNorm()

        def __call__(self, x, train=False):
            return self.norm(x, use_running_average=not train)

        def other(self, x, deterministic=True):
            return self.norm(x, use_running_average=deterministic)

    variables = Norm().init(key, x)
    evaluation = {name: value for name, value in training.items() if name == "method"}
    model = bridge.functional(Norm(), variables, evaluation=evaluation, training=training)
    assert model.fn(model.params, x).shape == x.shape
    with pytest.raises(ValueError, match=message):
        model.train_fn(model.params, x, key=key)
    # Given by keyword or by place it is the caller's word, whichever mode it says.
    frozen = bridge.functional(Norm(), variables, training={"train": False})
    jax.tree.map(
        np.testing.assert_array_equal, frozen.train_fn(variables, x, key=key)[1], variables
    )
    _, moved = bridge.functional(Norm(), variables).train_fn(variables, x, True, key=key)
    assert (moved["batch_stats"]["norm"]["mean"] != variables["batch_stats"]["norm"]["mean"]).all()


def test_each_function_is_traced_once(model, x, key):
    traces = []

    @jax.jit
    def step(params, x, key):
        traces.append(1)
        outputs, new = model.train_fn(params, x, key=key)
        return model.fn(new, x) + outputs, new

    _, new = step(model.params, x, key)
    step(new, x, jax.random.key(1))
    assert len(traces) == 1


def test_weights_train_beside_statistics(model, x, key):
    trainable, frozen = jc.partition(model.params, jc.none_of(jc.matching("batch_stats/*")))

    def loss(trainable):
        return model.train_fn(jc.combine(trainable, frozen), x, key=key)[0].sum()

    gradients = jax.grad(loss)(trainable)
    assert jax.tree.structure(gradients) == jax.tree.structure(trainable)
    # The sum over six examples and the last bias: six each.
    np.testing.assert_array_equal(gradients["params"]["Dense_1"]["bias"], [6.0, 6.0])


def equal_to_dense(model, params, x, key):
    """Both functions give what they give for arrays; the new params of the second."""
    dense = jc.materialize(params)
    np.testing.assert_array_equal(model.fn(params, x), model.fn(dense, x))
    outputs, new = model.train_fn(params, x, key=key)
    np.testing.assert_array_equal(outputs, model.train_fn(dense, x, key=key)[0])
    assert jax.tree.structure(new) == jax.tree.structure(params)
    return new


def test_quantized_leaves_go_in_as_they_are(model, quantized, x, key):
    params = quantized(model.params)
    new = equal_to_dense(model, params, x, key)
    assert new["params"]["Dense_0"]["kernel"] is params["params"]["Dense_0"]["kernel"]


def test_a_module_that_maps_over_its_params_meets_arrays(quantized, x, key):
    negated = linen.map_variables(
        linen.Dense, "params", lambda tree: jax.tree.map(jnp.negative, tree), init=True
    )
    model = bridge.functional(negated(2), negated(2).init(key, x))
    equal_to_dense(model, quantized(model.params), x, key)


def test_boxed_parameters_keep_their_box(x, key):
    initialiser = linen.with_partitioning(linen.initializers.ones, (None, "model"))
    module = linen.Dense(2, kernel_init=initialiser)
    model = bridge.functional(module, module.init(key, x))
    assert list(jc.named_leaves(model.params)) == ["bias", "kernel"]
    np.testing.assert_array_equal(
        model.fn(model.params, x), jnp.broadcast_to(x.sum(1, keepdims=True), (6, 2))
    )
