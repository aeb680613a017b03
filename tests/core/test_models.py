"""Which functions pass for a model, and which for one in training mode."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

import jaxcompress
from jaxcompress.core.models import check_model, check_train_fn

jc: Any = jaxcompress  # a checker of types refuses some of these before they are made
X, KEY = jnp.ones((3, 2)), jax.random.key(0)
LOSS = jc.distill.outputs.hard_targets
OBJECTIVES = jc.train.objectives


def fn(params, x, scale=1.0):
    return scale * x @ params["kernel"]


def train_fn(params, *inputs, key):
    return fn(params, *inputs), params


@functools.wraps(train_fn)
def seeded(params, *inputs):
    return train_fn(params, *inputs, key=KEY)[0]


class Layer(nnx.Module):
    def __init__(self):
        self.kernel = nnx.Param(jnp.eye(2))

    def __call__(self, x):
        return x @ self.kernel


PARAMS = {"kernel": jnp.eye(2)}


@pytest.mark.parametrize(
    "model",
    [
        fn,
        jax.jit(fn),
        seeded,
        functools.partial(train_fn, key=KEY),
        jc.materialized(fn),
        lambda params, *inputs, **rest: inputs,
        jnp.add,
        jc.bridges.nnx.functional(Layer()).fn,
    ],
)
def test_a_model_that_needs_nothing_but_params_and_inputs_passes(model):
    check_model("predict", model, 1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (train_fn, "predict(fn=train_fn) asks for the keyword 'key', which"),
        (jax.jit(train_fn), "predict(fn=train_fn) asks for the keyword 'key'"),
        (lambda params, x, *, train: x, "asks for the keyword 'train'"),
        (lambda x: x, "cannot be called with params and 1 input. Pass the model, fn(params,"),
        (lambda params, x, labels: x, "cannot be called with params and 1 input"),
        (Layer(), "cannot be called with params and 1 input"),
        (None, "predict(fn=None) must be a function"),
    ],
)
def test_another_is_refused_by_name(model, said):
    with pytest.raises(TypeError, match=re.escape(said)):
        check_model("predict", model, 1)


@pytest.mark.parametrize(
    "trained",
    [train_fn, jax.jit(train_fn), lambda params, x, key: x, lambda *inputs, **rest: inputs],
)
def test_a_train_fn_takes_a_key(trained):
    check_train_fn("recalibrate", trained)


SWAPPED = {
    "supervised": lambda: OBJECTIVES.supervised(train_fn, LOSS),
    "supervised_with_state": lambda: OBJECTIVES.supervised_with_state(fn, LOSS),
    "recalibrate": lambda: jc.recalibrate(fn, PARAMS, [(X,)], key=KEY),
    "evaluate": lambda: jc.validate.evaluate(train_fn, PARAMS, X, jnp.zeros(3, int)),
    "predict": lambda: jc.validate.predict(train_fn, PARAMS, X),
    "evaluating": lambda: jc.validate.cross_validation.evaluating(train_fn),
    "axes": lambda: jc.graph.axes(train_fn, PARAMS, X),
    "kfac_layers": lambda: jc.optimizers.kfac_layers(train_fn, PARAMS, X),
}


@pytest.mark.parametrize("caller", SWAPPED)
def test_the_other_mode_is_refused_by_name(caller):
    with pytest.raises(TypeError, match=rf"^{caller}\((train_)?fn=\w+\) .* keyword 'key'"):
        SWAPPED[caller]()


def test_a_module_in_place_of_a_model_is_told_of_bridges():
    with pytest.raises(TypeError, match=r"^axes\(fn=Layer.*params and 1 input. .* a bridge gives"):
        jc.graph.axes(Layer(), PARAMS, X)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (lambda params, x: x, r"gives a traced float32\[3, 2\], no pair. Pass train_fn"),
        (lambda params, x: (x, {}), "gives other new params .* a leaf at 'kernel' and the second"),
    ],
)
def test_what_a_train_fn_gives_is_refused_by_name(result, said):
    def trained(params, x, key):
        return result(params, x)

    with pytest.raises(TypeError, match=rf"^recalibrate\(train_fn\) {said}"):
        jc.recalibrate(trained, PARAMS, [(X,)], key=KEY)
    objective = OBJECTIVES.supervised_with_state(trained, LOSS)
    recipe = jc.train.Recipe(objective, optax.sgd(0.1))
    with pytest.raises(TypeError, match=rf"supervised_with_state\(train_fn\) {said}"):
        jc.train.fit(recipe, PARAMS, (X, jnp.zeros(3, int)), jc.train.Plan(steps=1, batch_size=3))
