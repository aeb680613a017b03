"""Running statistics: which leaves they are in each framework, and that none trains."""

import equinox
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import jaxcompress as jc

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
KEY = jax.random.key(0)


def from_nnx():
    rngs = nnx.Rngs(0)
    layers = nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
    return jc.bridges.nnx.functional(nnx.Sequential(*layers))


def from_linen():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, train=False):
            x = linen.BatchNorm(use_running_average=not train)(linen.Dense(5)(x))
            return linen.Dense(4)(x)

    return jc.bridges.linen.functional(Net(), Net().init(KEY, X), training={"train": True})


def from_haiku():
    net = haiku.transform_with_state(
        lambda x, train: haiku.BatchNorm(True, True, 0.9)(haiku.Linear(4)(x), train)
    )
    modes = {"evaluation": {"train": False}, "training": {"train": True}}
    return jc.bridges.haiku.stateful(net, *net.init(KEY, X, True), **modes)


def from_equinox():
    class Net(equinox.Module):
        dense: equinox.nn.Linear
        norm: equinox.nn.BatchNorm

        def __init__(self, key):
            self.dense = equinox.nn.Linear(3, 4, key=key)
            self.norm = equinox.nn.BatchNorm(4, "batch", mode="batch")

        def __call__(self, x, state, *, key=None):
            return self.norm(self.dense(x), state)

    return jc.bridges.equinox.stateful(*equinox.nn.make_with_state(Net)(KEY))


every_framework = pytest.mark.parametrize("make", [from_nnx, from_linen, from_haiku, from_equinox])


def squared(outputs, targets):
    return jnp.mean((outputs - targets) ** 2, axis=-1)


@every_framework
def test_they_are_what_training_mode_moves(make):
    model = make()
    _, after = model.train_fn(model.params, X, key=KEY)
    _, after = model.train_fn(after, 2 * X + 1, key=KEY)
    moved = jax.tree.map(lambda old, new: bool((old != new).any()), model.params, after)
    assert jax.tree.leaves(moved) == jax.tree.leaves(model.statistics(model.params))
    assert any(jax.tree.leaves(moved))


@every_framework
@pytest.mark.parametrize(
    "seen_as",
    [
        lambda fn: fn,
        jax.jit,
        jc.materialized,
        lambda fn: jc.quantize.fake_quantize_model(fn, jc.quantize.int8()),
    ],
    ids=["itself", "jit", "materialized", "fake quantized"],
)
def test_none_trains_through_the_model_in_evaluation_mode(make, seen_as):
    model = make()
    objective = jc.train.objectives.supervised(seen_as(model.fn), squared)
    examples, plan = (X, np.ones((8, 4), np.float32)), jc.train.Plan(steps=2, batch_size=8)
    floating = jc.all_of(model.statistics, jc.core.selectors.inexact())
    names = [name for name, is_one in jc.named_leaves(floating(model.params)).items() if is_one]
    with pytest.raises(ValueError, match=f"leaves {', '.join(names)} are running statistics"):
        jc.train.fit(jc.train.Recipe(objective, optax.adam(0.1)), model.params, examples, plan)
    weights = jc.none_of(model.statistics)
    recipe = jc.train.Recipe(objective, optax.adam(0.1), select=weights)
    before = jc.named_leaves(model.params)
    after = jc.named_leaves(jc.train.fit(recipe, model.params, examples, plan).params)
    moved = [name for name in before if (before[name] != after[name]).any()]
    assert moved
    assert not set(moved) & set(names)


def test_a_smaller_model_keeps_them_apart_too():
    model = from_linen()
    fn = lambda params, x: model.fn(params, x)[..., :2]  # noqa: E731
    unmarked = jc.train.objectives.supervised(fn, squared)
    assert not any(jax.tree.leaves(jc.core.statistics.statistics_of(unmarked)(model.params)))
    coupled = jc.graph.couplings(model.fn, model.params, X)
    removed = coupled.removal({coupled.families[0].name: [0]})
    small = jc.graph.surgery.shrink(model.fn, removed)
    objective = jc.train.objectives.supervised(small, squared)
    params = jc.graph.surgery.slice_params(model.params, removed)
    recipe = jc.train.Recipe(objective, optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"leaves batch_stats/BatchNorm_0/mean, .* statistics"):
        jc.train.steps.initial(recipe, params, KEY)
