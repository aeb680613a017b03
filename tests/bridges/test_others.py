"""Equinox, Haiku and plain JAX need no bridge: one line gives `(fn, params)`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc


def of_equinox(x):
    equinox = pytest.importorskip("equinox")
    model = equinox.nn.MLP(3, 2, 4, depth=1, key=jax.random.key(0))
    params, static = equinox.partition(model, equinox.is_inexact_array)
    # Static first: where it holds nothing, `combine` takes a whole quantized leaf.
    return lambda params, x: jax.vmap(equinox.combine(static, params))(x), params


def of_haiku(x):
    haiku = pytest.importorskip("haiku")
    model = haiku.without_apply_rng(haiku.transform(lambda x: haiku.nets.MLP([4, 2])(x)))
    return model.apply, model.init(jax.random.key(0), x)


def of_jax(x):
    return lambda params, x: jnp.tanh(x @ params[0]) @ params[1], [
        jnp.ones((3, 4)),
        jnp.ones((4, 2)),
    ]


MODELS = [of_equinox, of_haiku, of_jax]


@pytest.mark.parametrize("reduce", MODELS)
def test_a_model_reduces_to_a_function_and_its_params(reduce, x):
    fn, params = reduce(x)
    assert fn(params, x).shape == (6, 2)
    weights = [name for name, chosen in jc.named_leaves(jc.weights()(params)).items() if chosen]
    assert len(weights) == 2
    gradients = jax.grad(lambda params: fn(params, x).sum())(params)
    assert jax.tree.structure(gradients) == jax.tree.structure(params)


@pytest.mark.parametrize("reduce", MODELS)
def test_quantized_leaves_go_in_as_they_are(reduce, quantized, x):
    fn, params = reduce(x)
    params = quantized(params)
    np.testing.assert_allclose(fn(params, x), fn(jc.materialize(params), x), rtol=0, atol=1e-6)
