"""NNX modules as pure functions: the same numbers, no side effect, and a way back."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcompress as jc
from jaxcompress.bridges import nnx as bridge


class Network(nnx.Module):
    """Linear, batch norm, two dropouts, linear, and a table of integers."""

    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dropouts = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])
        self.last = nnx.Linear(4, 2, rngs=rngs)
        self.offset = nnx.Variable(jnp.arange(2)[None])

    def __call__(self, x):
        x = self.norm(self.first(x))
        for dropout in self.dropouts:
            x = dropout(x)
        return self.last(x) + self.offset[...]  # (examples, 2) + (1, 2)


@pytest.fixture
def module() -> Network:
    return Network(nnx.Rngs(0))


@pytest.fixture
def model(module):
    return bridge.functional(module)


def equal(one, two) -> bool:
    """The same structure and the same numbers in every leaf."""
    same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), one, two)
    return all(jax.tree.leaves(same))


def test_evaluation_is_the_modules_own(model, module, x):
    module.eval()
    np.testing.assert_array_equal(model.fn(model.params, x), module(x))


def test_the_params_are_the_floating_variables(model):
    assert isinstance(model.params, nnx.State)
    assert list(jc.named_leaves(model.params)) == [
        "first/bias",
        "first/kernel",
        "last/bias",
        "last/kernel",
        "norm/bias",
        "norm/mean",
        "norm/scale",
        "norm/var",
    ]


def test_neither_the_module_nor_the_params_are_written_to(model, module, x, key):
    before = jax.tree.map(np.asarray, (model.params, nnx.state(module, nnx.BatchStat)))
    model.fn(model.params, x)
    _, new = model.train_fn(model.params, x, key=key)
    restored = model.restore(new)
    restored.first.kernel[...] = jnp.zeros((3, 4))
    assert equal((model.params, nnx.state(module, nnx.BatchStat)), before)
    assert (jc.named_leaves(new)["first/kernel"] != 0).any()
    assert not module.norm.use_running_average
    assert not module.dropouts[0].deterministic


def test_later_changes_of_the_module_are_not_seen(model, module, x):
    before = model.fn(model.params, x)
    module.last.bias[...] = module.last.bias[...] + 1
    module.offset[...] = module.offset[...] + 1
    np.testing.assert_array_equal(model.fn(model.params, x), before)


def test_training_moves_the_statistics_alone(model, x, key):
    _, new = model.train_fn(model.params, x, key=key)
    assert jax.tree.structure(new) == jax.tree.structure(model.params)
    old, new = jc.named_leaves(model.params), jc.named_leaves(new)
    moved = [name for name in old if not np.array_equal(old[name], new[name])]
    assert moved == ["norm/mean", "norm/var"]
    hidden = np.asarray(x @ old["first/kernel"])
    # Momentum 0.9 from mean 0; a few roundings of numbers below 4.
    np.testing.assert_allclose(new["norm/mean"], 0.1 * hidden.mean(0), atol=4e-6, rtol=0)


def test_dropout_follows_the_key_in_training_alone(model, x, key):
    first, again = (model.train_fn(model.params, x, key=key)[0] for _ in range(2))
    other, _ = model.train_fn(model.params, x, key=jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(model.fn(model.params, x), model.fn(model.params, x))


def test_streams_given_in_the_call_start_from_the_key(key):
    class Called(nnx.Module):
        def __init__(self, rngs):
            self.own, self.called = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5)

        def __call__(self, x, rngs):
            return self.own(x), self.called(x, rngs=rngs)

    rngs = nnx.Rngs(0)
    model = bridge.functional(
        Called(nnx.Rngs(0)), evaluation={"rngs": None}, training={"rngs": rngs}
    )
    run = jax.jit(lambda key: model.train_fn(model.params, jnp.ones((1, 64)), key=key)[0])
    outputs = run(key)
    assert equal(outputs, run(key))
    assert not equal(outputs[0], outputs[1])
    assert not equal(outputs[1], run(jax.random.fold_in(key, 1))[1])
    assert int(rngs.default.count[...]) == 0


def test_each_dropout_has_a_stream_of_its_own(key):
    class Twice(nnx.Module):
        def __init__(self, rngs):
            self.one, self.two = (nnx.Dropout(0.5, rngs=rngs) for _ in range(2))

        def __call__(self, x):
            return self.one(x), self.two(x)

    model = bridge.functional(Twice(nnx.Rngs(0)))
    (one, two), _ = model.train_fn(model.params, jnp.ones(64), key=key)
    assert (one != two).any()


def test_a_recurrent_module_runs_while_traced(key):
    # A cell counts random numbers in evaluation too, and may not write to our counter.
    module = nnx.RNN(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)))
    model = bridge.functional(module)
    x = jnp.ones((2, 5, 3))
    np.testing.assert_allclose(jax.jit(model.fn)(model.params, x), module(x), atol=1e-6, rtol=0)
    jax.jit(model.train_fn)(model.params, x, key=key)


def test_stacked_layers_get_a_key_each(key):
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def layers(rngs):
        return nnx.Dropout(0.5, rngs=rngs)

    class Stack(nnx.Module):
        def __init__(self, rngs):
            self.layers = layers(rngs)

        def __call__(self, x):
            return nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))(self.layers, x)

    model = bridge.functional(Stack(nnx.Rngs(0)))
    outputs, _ = model.train_fn(model.params, jnp.ones(64), key=key)
    assert len(np.unique(outputs, axis=0)) == 3


def test_what_was_kept_for_looking_at_is_no_parameter(module, model, x, key):
    module.seen = nnx.Intermediate(jnp.zeros(7))
    again = bridge.functional(module)
    assert jax.tree.structure(again.params) == jax.tree.structure(model.params)
    _, new = again.train_fn(again.params, x, key=key)
    assert jax.tree.structure(new) == jax.tree.structure(model.params)


def test_switches_of_the_call_are_keywords(key):
    class Switched(nnx.Module):
        def __call__(self, x, train):
            return x + 1 if train else x

    model = bridge.functional(Switched(), evaluation={"train": False}, training={"train": True})
    assert model.fn(model.params, 1) == 1
    assert model.train_fn(model.params, 1, key=key)[0] == 2


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
    statistics = jc.matching("norm/mean", "norm/var")
    trainable, frozen = jc.partition(model.params, jc.none_of(statistics))

    def loss(trainable):
        return model.train_fn(jc.combine(trainable, frozen), x, key=key)[0].sum()

    gradients = jax.grad(loss)(trainable)
    assert jax.tree.structure(gradients) == jax.tree.structure(trainable)
    # The sum over six examples and the last bias: six each.
    np.testing.assert_array_equal(jc.named_leaves(gradients)["last/bias"], [6.0, 6.0])


def test_the_restored_module_is_the_model_with_these_params(model, x, key):
    _, new = model.train_fn(model.params, x, key=key)
    restored = model.restore(new)
    assert isinstance(restored, Network)
    restored.eval()
    np.testing.assert_array_equal(restored(x), model.fn(new, x))


def test_quantized_leaves_go_in_as_they_are(model, quantized, x, key):
    params = quantized(model.params)
    dense = jc.materialize(params)
    np.testing.assert_array_equal(model.fn(params, x), model.fn(dense, x))
    outputs, new = model.train_fn(params, x, key=key)
    np.testing.assert_array_equal(outputs, model.train_fn(dense, x, key=key)[0])
    assert jax.tree.structure(new) == jax.tree.structure(params)

    restored = model.restore(params)
    restored.eval()
    np.testing.assert_array_equal(restored(x), model.fn(params, x))
    bridged = bridge.functional(restored)
    assert jax.tree.structure(bridged.params) == jax.tree.structure(params)
    assert isinstance(jc.named_leaves(bridged.params)["first/kernel"], jc.QTensor)
    np.testing.assert_array_equal(bridged.fn(bridged.params, x), model.fn(params, x))


class Negated(nnx.Module):
    """Maps over the variables of its layer in its own call."""

    def __init__(self):
        self.layer = nnx.Linear(3, 2, use_bias=False, rngs=nnx.Rngs(0))

    def __call__(self, x):
        graph, state = nnx.split(self.layer)
        return nnx.merge(graph, jax.tree.map(jnp.negative, state))(x)


def test_a_module_that_maps_over_its_params_meets_arrays(quantized, x, key):
    model = bridge.functional(Negated())
    params = quantized(model.params)
    expected = x @ -jc.named_leaves(params)["layer/kernel"].materialize()
    outputs, new = model.train_fn(params, x, key=key)
    np.testing.assert_allclose(model.fn(params, x), expected, rtol=1e-6)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    assert jax.tree.structure(new) == jax.tree.structure(params)


def test_another_kind_of_model_is_named():
    with pytest.raises(TypeError, match=r"nnx.functional\(model of type dict\).*linen.functional"):
        bridge.functional(cast(Any, {}))
